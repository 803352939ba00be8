"""An open data folder: what `import mt_pipeline as mt` asks, and the commands as well.

It gets its ledger and its sources as arguments. Settings are read elsewhere (`python_api.py`).
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Self

from mt_pipeline.api import columns as names
from mt_pipeline.api import comparison, coverage, records, values
from mt_pipeline.api.cutting import COLUMNS, Cut, Cutter
from mt_pipeline.api.question import Question, Source
from mt_pipeline.api.rows import Rows
from mt_pipeline.api.where import Where
from mt_pipeline.api.where_text import parse
from mt_pipeline.captures.lookup import check_known
from mt_pipeline.captures.naming import fold_experiment
from mt_pipeline.captures.queries import Queries
from mt_pipeline.captures.records import Record, State
from mt_pipeline.captures.store import Inbox
from mt_pipeline.errors import CommandError
from mt_pipeline.frames.cut import Progress
from mt_pipeline.schema.tables import FLOWS, PACKETS, Table
from mt_pipeline.tshark.limits import DEFAULT, Limits

Time = str | date | datetime
"""A time, or a date, which is its midnight; text is ISO 8601. Without a zone it is UTC."""


class ExpiredError(CommandError):
    """The packets of an experiment have expired."""


@dataclass(frozen=True)
class Session:
    """A data folder that can be asked.

    Attributes:
        ledger: its records.
        inbox: where the captures are.
        source: returns what answers questions about an experiment.
        running: has QuestDB running for a block.
        temporary: folder for copies of captures that are in a store.
        limits: of editcap, which converts some captures.
    """

    ledger: Queries
    inbox: Inbox
    source: Callable[[str], Source]
    running: Callable[[], AbstractContextManager[object]]
    temporary: Path
    limits: Limits = DEFAULT
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        """Have QuestDB running until the block ends; start it if it is ours and does not run."""
        self._stack.enter_context(self.running())
        return self

    def __exit__(self, *error: object) -> None:
        """Stop QuestDB if it was started here."""
        self._stack.close()

    def experiments(self) -> Rows:
        """List the experiments: how many captures are loaded, packets and rows.

        Returns:
            Columns `records.EXPERIMENTS`, by name.
        """
        return Rows.of(records.experiments_of(self.ledger.experiments()))

    def captures(self, experiment: str | None = None) -> Rows:
        """List the captures of an experiment, or all, with what made their rows.

        Returns:
            Columns `records.CAPTURES`, by capture key.
        """
        return Rows.of(records.captures_of(self._records(experiment)))

    def flows(
        self,
        experiment: str,
        *,
        where: Where | str | None = None,
        since: Time | None = None,
        until: Time | None = None,
        columns: Sequence[str] | None = None,
    ) -> Rows:
        """Return the flows of an experiment: bytes of each conversation in each second.

        Args:
            experiment: name of its folder, or the folded one.
            where: a condition, as `col("app_tag") == "x"` makes it, or as text.
            since: the earliest time.
            until: the time before which they are.
            columns: names of columns; all by default, in the order of docs/columns.md.

        Returns:
            Rows sorted by time, capture and conversation. Texts are strings, times UTC.

        Raises:
            WhereError: a condition, a column or a time cannot be understood.
            UnknownNameError: there is no such experiment.
        """
        return self.rows(
            self.question(FLOWS, experiment, where=where, since=since, until=until, columns=columns)
        )

    def packets(
        self,
        experiment: str,
        *,
        where: Where | str | None = None,
        since: Time | None = None,
        until: Time | None = None,
        columns: Sequence[str] | None = None,
    ) -> Rows:
        """Return the packets of an experiment, as `flows` returns its flows.

        Returns:
            Rows sorted by time, capture and frame number.

        Raises:
            ExpiredError: they were deleted after MT_KEEP_PACKETS_DAYS.
            WhereError: as for `flows`; UnknownNameError, too.
        """
        return self.rows(
            self.question(
                PACKETS, experiment, where=where, since=since, until=until, columns=columns
            )
        )

    def compare(self, a: str, b: str, *, where: Where | str | None = None) -> comparison.Comparison:
        """Compare the flows of two experiments by application, server name, country and more.

        Args:
            a: the first experiment.
            b: the second.
            where: a condition on the flows of both.
        """
        first, second = (self.question(FLOWS, name, where=where) for name in (a, b))
        return comparison.compare(
            (self.source(first.experiment), first), (self.source(second.experiment), second)
        )

    def coverage(self, experiment: str) -> coverage.Coverage:
        """Count the flows with PUBLIC ends by what is known of the remote ones.

        Args:
            experiment: name of its folder, or the folded one.

        Raises:
            UnknownNameError: there is no such experiment.
        """
        question = self.question(FLOWS, experiment, where=coverage.WITH_PUBLIC_ENDS)
        return coverage.coverage(self.source(question.experiment), question)

    def cut(
        self,
        experiment: str,
        output: str | Path,
        *,
        where: Where | str | None = None,
        since: Time | None = None,
        until: Time | None = None,
        each: bool = False,
        replace: bool = False,
        progress: Progress = lambda *_: None,
    ) -> Sequence[Cut]:
        """Write the packets that match to one pcapng, in the order of time, as they were captured.

        Args:
            experiment: name of its folder, or the folded one.
            output: the file; with `each` a folder, for a file of each capture.
            where: a condition on columns of packets, as for `packets`.
            since: the earliest time.
            until: the time before which they are.
            each: write a file for each capture.
            replace: replace files that exist.
            progress: receives a capture, how many of its packets are read, and of how many.

        Returns:
            The files that were written.

        Raises:
            RefusedError: a capture is gone, or is not as it was when it was loaded; nothing was
                written.
            FrameError: a capture does not have the packets of its rows.
            FileExistsError: a file exists.
            ExpiredError: as for `packets`; WhereError and UnknownNameError, too.
        """
        question = self.question(
            PACKETS, experiment, where=where, since=since, until=until, columns=COLUMNS
        )
        source = self.source(question.experiment)
        cutter = Cutter(
            source,
            question,
            self.ledger,
            self.inbox,
            self.limits,
            progress,
            is_new=not replace,
            temporary=self.temporary,
        )
        path = Path(output)
        return cutter.into_each(path) if each else [cutter.into(path)]

    def question(
        self,
        table: Table,
        experiment: str,
        *,
        where: Where | str | None = None,
        since: Time | None = None,
        until: Time | None = None,
        columns: Sequence[str] | None = None,
    ) -> Question:
        """Check what somebody asks, and return it; see `flows` and `packets`."""
        tree = parse(where) if isinstance(where, str) else where
        question = Question(
            table,
            fold_experiment(experiment),
            names.checked(table, columns),
            None if tree is None else values.check(tree, table),
            None if since is None else values.time_of(since, "since"),
            None if until is None else values.time_of(until, "until"),
        )
        loaded = [record for record in self._records(experiment) if record.state is State.DONE]
        if table is PACKETS and loaded and all(map(_is_expired, loaded)):
            raise ExpiredError(
                f"the packets of {question.experiment} have expired: its flows are stored, "
                "and `mt-pipeline ingest` loads captures again"
            )
        return question

    def rows(self, question: Question) -> Rows:
        """Return the answer to a question, which is asked when the rows are read."""
        return Rows(question.schema, lambda: self.source(question.experiment).rows(question))

    def _records(self, experiment: str | None) -> Sequence[Record]:
        if experiment is None:
            return self.ledger.records()
        found = self.ledger.records(experiment=fold_experiment(experiment))
        if not found:
            check_known(self.ledger.records(), experiment=experiment)
        return found


def _is_expired(record: Record) -> bool:
    return record.packets_expired_at is not None
