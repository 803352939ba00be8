"""The store of answers in Postgres: text by key, for runs on several machines.

What the text means is in `history.py`. See `records.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from mt_pipeline.enrichment.answers.history import Texts
from mt_pipeline.enrichment.answers.records import BATCH, StoreError
from mt_pipeline.enrichment.answers.usage import Tally
from mt_pipeline.state.postgres import Execute, Postgres, StateError
from mt_pipeline.state.tables import Tables

NAME = "the answers"

# Keys are bytes: a name that somebody imports may have characters that text of Postgres cannot.
TABLES = (
    "CREATE TABLE IF NOT EXISTS answers (key BYTEA PRIMARY KEY, record TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS usage (provider TEXT PRIMARY KEY, hits BIGINT NOT NULL, "
    "misses BIGINT NOT NULL, calls_saved BIGINT NOT NULL)",
)


class PostgresRecords:
    """The records in Postgres, which keeps its tables whole and small by itself."""

    def __init__(self, postgres: Postgres) -> None:
        """Open the tables; create those that are missing.

        Raises:
            StoreError: they cannot be used.
        """
        self._postgres = postgres
        self._tables = Tables(postgres, NAME, TABLES)
        with self._transaction():
            pass

    def __str__(self) -> str:
        return str(self._postgres)

    def close(self) -> None:
        """Do nothing: the connection is that of the process."""

    def reopen(self) -> None:
        """Do nothing: each transaction sees what others wrote."""

    def read(self, keys: Sequence[str]) -> Texts:
        """See `Records.read`."""
        with self._transaction(writes=False) as execute:
            return _read(execute, keys)

    def change(self, keys: Sequence[str], changed: Callable[[Texts], Texts]) -> None:
        """See `Records.change`."""
        with self._transaction() as execute:
            records = changed(_read(execute, keys))
            execute(
                "INSERT INTO answers SELECT * FROM unnest(?::bytea[], ?::text[]) "
                "ON CONFLICT (key) DO UPDATE SET record = excluded.record",
                [encoded(key) for key in records],
                list(records.values()),
            )

    def items(self) -> Iterator[tuple[str, str]]:
        """See `Records.items`."""
        last = b""
        query = f"SELECT key, record FROM answers WHERE key > ? ORDER BY key LIMIT {BATCH}"
        while True:
            with self._transaction(writes=False) as execute:
                rows = execute(query, last)
            if not rows:
                return
            last = bytes(rows[-1][0])
            yield from ((decoded(key), record) for key, record in rows)

    def shrink(self) -> None:
        """Do nothing: Postgres uses the room of deleted text again."""

    def size(self) -> int:
        """See `Records.size`."""
        with self._transaction(writes=False) as execute:
            [(size,)] = execute("SELECT pg_total_relation_size('answers')")
        return int(size)

    def add_usage(self, news: Mapping[str, Tally]) -> None:
        """See `Records.add_usage`."""
        with self._transaction() as execute:
            for provider, tally in news.items():
                execute(
                    "INSERT INTO usage VALUES (?, ?, ?, ?) ON CONFLICT (provider) DO UPDATE SET "
                    "hits = usage.hits + excluded.hits, misses = usage.misses + excluded.misses, "
                    "calls_saved = usage.calls_saved + excluded.calls_saved",
                    provider,
                    tally.hits,
                    tally.misses,
                    tally.calls_saved,
                )

    def usage(self) -> dict[str, Tally]:
        """See `Records.usage`."""
        with self._transaction(writes=False) as execute:
            rows = execute("SELECT provider, hits, misses, calls_saved FROM usage")
        return {provider: Tally(*numbers) for provider, *numbers in rows}

    @contextmanager
    def _transaction(self, *, writes: bool = True) -> Iterator[Execute]:
        try:
            with self._tables.transaction(writes=writes) as execute:
                yield execute
        except StateError as error:
            raise StoreError(str(error)) from None


def _read(execute: Execute, keys: Sequence[str]) -> Texts:
    rows = execute(
        "SELECT key, record FROM answers WHERE key = ANY(?)", [encoded(key) for key in keys]
    )
    return {decoded(key): record for key, record in rows}


def encoded(key: str) -> bytes:
    """Return a key as it is stored."""
    return key.encode(errors="surrogatepass")


def decoded(key: bytes) -> str:
    """Return the key of what is stored."""
    return bytes(key).decode(errors="surrogatepass")
