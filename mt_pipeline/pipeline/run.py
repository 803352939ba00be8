"""What the captures of a run share. Providers, answers and devices are opened once, when needed."""

from collections.abc import Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from mt_pipeline.devices.found import FoundDevices
from mt_pipeline.devices.lookup import Devices
from mt_pipeline.devices.statements import VendorOf
from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.owners.remote_ends import RemoteEnds
from mt_pipeline.enrichment.provider import Provider
from mt_pipeline.pipeline import providers
from mt_pipeline.pipeline.found_devices import vendors
from mt_pipeline.pipeline.observer import Observer
from mt_pipeline.pipeline.workspace import Workspace

STAGES = ("tshark_json", "endpoints", "netify_enrichment", "questdb_packets")
"""The stages of a capture, in order. Each has the name of the asset that it makes."""

BYTES_PER_RUN = 200_000_000
"""Bytes of captures that share a run: ten seconds of work, so the start of a run costs little."""


@dataclass
class Run:
    """A run over captures. A context manager: it closes what it opened.

    Attributes:
        workspace: the data folder.
        observer: receives a record of each stage that is done.
        id: of the run, for the ledger.
        stages: the stages to run, some of STAGES.
        display_filter: a filter in tshark's language; only packets that match become rows.
        as_of: load the answers of that moment; None for those of now.
        skips_done: skip captures that are already loaded in their present form.
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
        """The providers in their order, and the stored answers if one of the providers is paid.

        Raises:
            SettingsError: the settings of a provider cannot be used.
            StoreError: the stored answers cannot be opened.
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

    @cached_property
    def vendors(self) -> VendorOf:
        """Names the vendors of hardware addresses."""
        return vendors(self.workspace)

    def devices_in(self, announcements: Path) -> Devices:
        """Return the inventory, and the devices of a capture that name themselves.

        Args:
            announcements: the file of what they say.
        """
        inventory = self.devices
        found = FoundDevices.read(announcements, self.vendors, taken=inventory.labels)
        return inventory.with_found(found)

    @cached_property
    def remote_ends(self) -> RemoteEnds:
        """Who runs the remote ends of flows.

        Raises:
            SettingsError: a file of the settings cannot be used.
        """
        options = self.workspace.options
        networks, companies = providers.networks(options), providers.companies(options)
        self._open.callback(networks.close)
        return RemoteEnds(networks, companies, providers.parties(options, companies))

    @property
    def includes_load(self) -> bool:
        """Whether captures are loaded. Without a load, the ledger gets no verdict on them."""
        return STAGES[-1] in self.stages
