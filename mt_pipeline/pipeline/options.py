"""The options of a data folder, as plain values. `settings.py` makes them, and documents each."""

import hashlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from mt_pipeline.captures.store import Inbox
from mt_pipeline.state.postgres import Postgres


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of one data folder.

    Attributes:
        environment: other variables, for providers that other packages bring.

    Each other attribute is the setting `MT_…` of the same name. Days may be fractions.
    """

    data_dir: Path
    scratch_dir: Path | None
    state_url: str | None
    state_password: SecretStr | None
    broker_url: str | None
    broker_password: SecretStr | None
    dagster_home: Path
    inbox_dir: Inbox
    settle_seconds: float
    keep_documents_days: float | None
    keep_packets_days: float | None
    follow: bool
    rotation: bool
    filter: str
    duplicates: Literal["load", "skip"]
    tshark: str
    tshark_silence_seconds: float
    tshark_seconds: float
    tshark_memory_mb: int | None
    providers: tuple[str, ...]
    enrichment_names: Literal["server", "all"]
    offline_city_mmdb: Path | None
    offline_apps: Path | None
    offline_asn_mmdb: Path | None
    tracker_lists: tuple[Path, ...]
    parties: Path | None
    devices: Path | None
    netify_api_key: SecretStr | None
    netify_url: str
    netify_rate: float
    netify_budget_day: int | None
    netify_budget_run: int | None
    answer_days: float
    not_found_days: float
    backends: tuple[str, ...]
    questdb_host: str | None
    questdb_http_port: int
    questdb_pg_port: int
    questdb_user: str
    questdb_password: SecretStr | None
    questdb_import_dir: Path | None
    questdb_wait_seconds: int
    questdb_console: str | None
    questdb_reader: str
    questdb_reader_password: SecretStr | None
    grafana_url: str | None
    environment: Mapping[str, str] = field(repr=False)

    @property
    def state(self) -> Postgres | None:
        """The database with the state; None if that is in the data folder."""
        if self.state_url is None:
            return None
        password = self.state_password
        return Postgres(self.state_url, password.get_secret_value() if password else None)

    @property
    def temporary(self) -> Path:
        """Folder for temporary files, of this machine and this data folder alone."""
        if self.scratch_dir is None:
            return self.data_dir / "tmp"
        mine = hashlib.sha256(f"{socket.gethostname()} {self.data_dir}".encode()).hexdigest()
        return self.scratch_dir / f"mt-pipeline-{mine[:12]}"

    @property
    def ledger_file(self) -> Path:
        """File of the ledger, if that is in the data folder."""
        return self.data_dir / "ledger.sqlite"

    @property
    def asks_all_names(self) -> bool:
        """Whether paid providers are asked about names that only HTTP or DNS gives, too."""
        return self.enrichment_names == "all"

    @property
    def inspects(self) -> bool:
        """Whether nDPI reads captures, too."""
        return "ndpi" in self.providers

    @property
    def has_questdb(self) -> bool:
        """Whether rows are loaded into QuestDB."""
        return "questdb" in self.backends

    @property
    def embeds_questdb(self) -> bool:
        """Whether rows are loaded into a QuestDB that we start."""
        return self.has_questdb and self.questdb_host is None

    @property
    def questdb_password_file(self) -> Path:
        """File with the password of the embedded QuestDB, if no setting has it."""
        return self.data_dir / "questdb-password"

    @property
    def questdb_reader_password_file(self) -> Path:
        """File with the password of its read-only user, if no setting has it."""
        return self.data_dir / "questdb-reader-password"
