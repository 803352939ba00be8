"""The members of a cluster, in the shared state: the head with its versions, and the workers.

A worker says every few seconds that it is there. Postgres's clock says how long ago that was.
"""

from dataclasses import astuple, dataclass

from mt_pipeline.state.postgres import Postgres
from mt_pipeline.state.tables import Tables

SIGN_SECONDS = 10
"""How often a worker says that it is there."""

_GONE_SECONDS = 45
_FORGOTTEN_DAYS = 1

_MADE_BY = (
    "CREATE TABLE IF NOT EXISTS head "
    "(is_it boolean PRIMARY KEY CHECK (is_it), package text, tshark text)",
    "CREATE TABLE IF NOT EXISTS workers (name text PRIMARY KEY, host text NOT NULL, "
    "slots integer NOT NULL, memory bigint NOT NULL, seen_at timestamptz NOT NULL)",
)


@dataclass(frozen=True)
class Versions:
    """What must be the same on all machines: another one makes all documents anew.

    Attributes:
        package: ours, with what its stages make.
        tshark: of the program; None if there is none.
    """

    package: str
    tshark: str | None


@dataclass(frozen=True)
class Worker:
    """A worker.

    Attributes:
        name: its own, also if several are on one machine.
        host: name of its machine.
        slots: runs at a time.
        memory: bytes that programs of its machine may take.
    """

    name: str
    host: str
    slots: int
    memory: int


class Members:
    """The members of one cluster.

    Args:
        postgres: the shared state.
    """

    def __init__(self, postgres: Postgres) -> None:
        self._tables = Tables(postgres, "the members of the cluster", _MADE_BY)

    def lead(self, versions: Versions) -> None:
        """Record the versions of the head, as it starts.

        Raises:
            StateError: as for all of these.
        """
        with self._tables.transaction() as execute:
            execute(
                "INSERT INTO head VALUES (true, ?, ?) ON CONFLICT (is_it) "
                "DO UPDATE SET package = excluded.package, tshark = excluded.tshark",
                *astuple(versions),
            )

    def head(self) -> Versions | None:
        """Return the versions of the head; None if there was none yet."""
        with self._tables.transaction(writes=False) as execute:
            rows = execute("SELECT package, tshark FROM head")
        return Versions(*rows[0]) if rows else None

    def sign(self, worker: Worker) -> None:
        """Record that a worker is there."""
        with self._tables.transaction() as execute:
            execute(
                "INSERT INTO workers VALUES (?, ?, ?, ?, now()) "
                "ON CONFLICT (name) DO UPDATE SET seen_at = now()",
                *astuple(worker),
            )
            execute(
                "DELETE FROM workers WHERE seen_at < now() - make_interval(days => ?)",
                _FORGOTTEN_DAYS,
            )

    def leave(self, worker: Worker) -> None:
        """Record that a worker has ended."""
        with self._tables.transaction() as execute:
            execute("DELETE FROM workers WHERE name = ?", worker.name)

    def workers(self) -> list[Worker]:
        """Return the workers that are there, by name."""
        with self._tables.transaction(writes=False) as execute:
            rows = execute(
                "SELECT name, host, slots, memory FROM workers "
                "WHERE seen_at > now() - make_interval(secs => ?) ORDER BY name",
                _GONE_SECONDS,
            )
        return [Worker(*row) for row in rows]
