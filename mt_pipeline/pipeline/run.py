"""What the captures of one run share. What is dear to open is opened once, when it is first needed."""

from collections.abc import Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from types import TracebackType
from typing import Self

from mt_pipeline.devices.lookup import Devices
from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.provider import Provider
from mt_pipeline.pipeline import providers
from mt_pipeline.pipeline.observer import Observer
from mt_pipeline.pipeline.workspace import Workspace

STAGES = ("tshark_json", "endpoints", "netify_enrichment", "questdb_packets")
"""The stages of a capture in their order, named as the assets that they make."""


@dataclass
class Run:
    """One run over captures; leave it by `with`, which closes what it opened.

    Attributes:
        workspace: the data folder and its rooms.
        observer: watches the run.
        id: of the run; the ledger notes it.
        stages: which of STAGES to take.
        display_filter: only packets that match become rows.
        as_of: load what was known of the endpoints at that moment; None for the present.
        skips_done: skip captures that are loaded in their present form, as nobody asked for another load.
    """

    workspace: Workspace
    observer: Observer
    id: str
    stages: Set[str] = frozenset(STAGES)
    display_filter: str = ""
    as_of: datetime | None = None
    skips_done: bool = False
    _open: ExitStack = field(default_factory=ExitStack, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    @cached_property
    def providers(self) -> tuple[Sequence[Provider], AnswerStore | None]:
        """The providers in their order, and the answers so far if one of them costs something.

        Raises:
            SettingsError: one of them cannot be made.
            StoreError: the answers cannot be opened.
        """
        opened = providers.opened(self.workspace.options, run=self.id)
        return self._open.enter_context(opened)

    @cached_property
    def devices(self) -> Devices:
        """The user's inventory of devices.

        Raises:
            SettingsError: it cannot be used.
        """
        return providers.devices(self.workspace.options)

    @property
    def judges(self) -> bool:
        """Whether it ends with a verdict on each capture: without the last stage there is none."""
        return STAGES[-1] in self.stages
