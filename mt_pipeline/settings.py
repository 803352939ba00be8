"""Every MT_* variable once: name, type, default, meaning. `docs/settings.md` is generated from it.

The environment wins over a file `.env` in the project's folder, and that over a folder of secrets.
Only `defs/`, `cli/` and `service/` read settings; the other rooms get arguments.
"""

import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from dotenv import dotenv_values
from pydantic import DirectoryPath, SecretStr, ValidationError, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from mt_pipeline.errors import SettingsError
from mt_pipeline.setting_types import (
    BrokerUrl,
    Calls,
    Console,
    DataFolder,
    Days,
    File,
    Folder,
    Host,
    InboxPlace,
    Megabytes,
    Names,
    Page,
    Port,
    Rate,
    Scratch,
    Seconds,
    Slots,
    SomeSeconds,
    StateUrl,
    User,
    WholeSeconds,
)
from mt_pipeline.system.nearest import did_you_mean

if TYPE_CHECKING:
    from mt_pipeline.captures.store import Inbox
    from mt_pipeline.pipeline.options import Options

PROJECT = Path(__file__).resolve().parents[1]
"""The project's folder: `make setup` installs the package in place."""

PREFIX = "MT_"
"""Prefix of our variables."""

BACKENDS = ("questdb", "parquet")
"""Names of the back ends that rows can be loaded into."""


class Settings(BaseSettings):
    """All settings, read from the environment and `.env`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=PROJECT / ".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    secrets_dir: DirectoryPath | None = None
    """folder with a file for each secret, named as its variable in lower case; none by default"""
    data_dir: DataFolder = PROJECT / "data"
    """folder of everything the pipeline keeps; below the project by default"""
    scratch_dir: Scratch | None = None
    """folder on a disk of this machine for temporary files: what does not fit into memory, copies
    of captures; by default they lie in the data folder"""
    state_url: StateUrl | None = None
    """Postgres that has the state instead of the data folder, for several machines, such as
    `postgresql://user@host/database`, without a password; by default files in the data folder"""
    state_password: SecretStr | None = None
    """password of that user; by default libpq's own ways to know it"""
    broker_url: BrokerUrl | None = None
    """Redis that hands runs to the workers of several machines, such as `redis://host:6379/0`,
    without a password; by default this machine does all"""
    broker_password: SecretStr | None = None
    """password of that Redis"""
    slots: Slots | None = None
    """runs at a time on this machine if there is a broker, 0 for none; by default a run per core"""
    inbox: InboxPlace | None = None
    """watched folder, or `s3://bucket/prefix` in any store that speaks S3, after `make cluster`;
    `inbox` below the data folder by default"""
    settle_seconds: Seconds = 5
    """seconds a capture must be quiet before it is taken"""
    keep_documents_days: Days | None = None
    """days until a night deletes the documents of a loaded capture; by default they stay"""
    keep_packets_days: Days | None = None
    """days after a load or refresh until a night deletes the packets of a capture, but not its
    flows; by default they stay, too"""
    follow: bool = False
    """take growing captures while they are written, whenever there is a tenth more of them"""
    rotation: bool = False
    """keep server names in the next file of a rotation, as `dumpcap -b` or `tcpdump -C` write it"""
    filter: str = ""
    """tshark display filter: only packets that match become rows; none by default"""
    duplicates: Literal["load", "skip"] = "load"
    """captures of one experiment with the same bytes: `load` loads each and says which is a copy,
    `skip` loads the first alone"""
    tshark: str = "tshark"
    """the tshark program, a name on PATH or a path"""
    tshark_silence_seconds: SomeSeconds = 300
    """seconds that tshark may neither read nor compute until it is ended and the capture fails"""
    tshark_seconds: SomeSeconds = 6 * 3600
    """seconds that tshark may take for a capture, six hours by default"""
    tshark_memory_mb: Megabytes | None = None
    """megabytes that tshark may take for a capture; by default all of the machine or container"""
    enrichment: Annotated[tuple[str, ...] | None, NoDecode] = None
    """providers of answers, comma-separated, asked in this order: `netify`, `offline`, `ndpi`
    after `make ndpi`, those of other packages; `none` for nobody; by default `netify` if there is a
    key, then `offline`"""
    enrichment_names: Literal["server", "all"] = "server"
    """names that paid providers such as `netify` are asked about: `server` for those that TLS and
    QUIC say, `all` for hosts of HTTP and names of DNS, too"""
    offline_city_mmdb: File | None = None
    """places for `offline`: MMDB in City or Country layout; by default countries of allocation"""
    offline_apps: File | None = None
    """more applications for `offline`: a file in the format of netifyd's `netify-apps.conf`"""
    offline_asn_mmdb: File | None = None
    """networks of addresses and who runs them: MMDB in ASN layout; by default a table of ours"""
    tracker_lists: Annotated[tuple[File, ...], NoDecode] = ()
    """your lists of trackers, comma-separated paths: EasyList, hosts files, or a domain per line"""
    parties: File | None = None
    """who is the first party of which experiment or device, CSV; none by default"""
    devices: File | None = None
    """your inventory of devices, CSV or TOML, which names ends of packets; none by default"""
    netify_api_key: SecretStr | None = None
    """key of the Netify Data Feeds API; only ever sent in a header"""
    netify_url: str = "https://feeds.netify.ai/api/v2"
    """Netify's API, up to and with `/api/v2`"""
    netify_rate: Rate = 5
    """most calls to Netify a second, over all runs"""
    netify_budget_day: Calls | None = None
    """most calls to Netify a day (UTC), over all runs; 0 for none, by default no limit"""
    netify_budget_run: Calls | None = None
    """most calls to Netify a run; 0 for none, by default no limit"""
    answer_days: Days = 14
    """days before a found answer is asked again"""
    not_found_days: Days = 1
    """days before a not-found answer is asked again"""
    backends: Annotated[tuple[str, ...], NoDecode] = ("questdb",)
    """what rows are loaded into, comma-separated: `questdb`, `parquet` (files in `data/parquet`);
    QuestDB is only started if listed"""
    questdb_host: Host | None = None
    """host of a QuestDB of your own; by default the embedded one is started"""
    questdb_http_port: Port = 9000
    """QuestDB's HTTP port"""
    questdb_pg_port: Port = 8812
    """QuestDB's PostgreSQL port"""
    questdb_user: User = "admin"
    """QuestDB user"""
    questdb_password: SecretStr | None = None
    """password; by default in `data/questdb-password`, or `quest` for a QuestDB of your own"""
    questdb_import_dir: Folder | None = None
    """folder that a QuestDB of your own imports from (its `cairo.sql.copy.root`), if you can write
    there: rows go by files then, and its HTTP may be read-only; by default they go over HTTP"""
    questdb_wait_seconds: WholeSeconds = 900
    """seconds a load waits for a QuestDB of your own to answer; then the capture fails"""
    grafana_url: Page | None = None
    """where browsers reach Grafana, for links to its dashboards, such as `http://127.0.0.1:3001`"""
    questdb_console: Console | None = None
    """where browsers reach QuestDB's console, for links; by default host and HTTP port"""
    questdb_reader: User = "reader"
    """QuestDB user who may only read, for reports and dashboards"""
    questdb_reader_password: SecretStr | None = None
    """password of that user; by default a random one in `data/questdb-reader-password`, and with a
    QuestDB of your own the other user reads, too"""
    dagster_port: Port = 3000
    """port of the Dagster UI, on 127.0.0.1"""
    explorer_port: Port = 3001
    """port of the explorer, on 127.0.0.1"""
    explorer_memory_mb: Megabytes = 1024
    """megabytes of experiments that the explorer holds; of a larger one it shows the beginning"""
    ui_token: bool = False
    """ask for a token at the Dagster UI and the explorer, for machines with several accounts: it is
    in the links that `mt-pipeline run` prints, and in `dagster/ui_token` of the data folder"""
    ui_hosts: Annotated[Names, NoDecode] = ()
    """more names under which browsers reach the Dagster UI and the explorer, comma-separated, with
    the port if the address shows one, such as `dagster.example.org` behind a proxy; by default
    those of this machine alone"""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Add the files of the folder of secrets, which is a setting itself."""
        sources = init_settings, env_settings, dotenv_settings
        folder = next((path for source in sources if (path := source().get("secrets_dir"))), None)
        return *sources, SecretsSettingsSource(
            settings_cls, secrets_dir=folder if folder and Path(folder).is_dir() else None
        )

    @field_validator("enrichment", "backends", "ui_hosts", "tracker_lists", mode="before")
    @classmethod
    def _split(cls, value: str | tuple[str, ...] | None) -> tuple[str, ...] | None:
        if not isinstance(value, str):
            return value
        return tuple(name.strip() for name in value.split(",") if name.strip())

    @field_validator("backends")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not set(value) <= set(BACKENDS) or len(set(value)) < len(value):
            nearest = next((hint for name in value if (hint := did_you_mean(name, BACKENDS))), "")
            raise PydanticCustomError(
                "backends",
                "Input should be some of {known}, each once{nearest}",
                {"known": ", ".join(BACKENDS), "nearest": nearest},
            )
        return value

    @property
    def inbox_dir(self) -> "Inbox":
        """The watched folder, or the store that captures are in."""
        if isinstance(self.inbox, str):
            from mt_pipeline.captures.s3 import Bucket

            return Bucket(self.inbox)
        return self.inbox or self.data_dir / "inbox"

    @property
    def dagster_home(self) -> Path:
        """Dagster's home. That of a cluster is another one: its history is in Postgres."""
        home = self.data_dir / "dagster"
        return home / "cluster" if self.broker_url else home

    @property
    def providers(self) -> tuple[str, ...]:
        """Names of the providers to ask, in order; empty if nobody is asked."""
        if self.enrichment is None:
            return ("netify", "offline") if self.netify_api_key else ("offline",)
        return tuple(name for name in self.enrichment if name != "none")

    @property
    def environment(self) -> dict[str, str]:
        """Variables of `.env` and the environment that are not ours, for other providers."""
        values = {**dotenv_values(PROJECT / ".env"), **os.environ}
        return {
            name: value
            for name, value in values.items()
            if value is not None and not name.upper().startswith(PREFIX)
        }

    def options(self) -> "Options":
        """Return the arguments of the pipeline."""
        # The rooms take time to import, and `--help` needs none.
        from mt_pipeline.pipeline.options import Options

        return Options(**{field.name: getattr(self, field.name) for field in fields(Options)})


def load(**changes: object) -> Settings:
    """Read the settings.

    Args:
        changes: settings that win over those of the environment.

    Raises:
        SettingsError: a value has the wrong form; the message names the variable.
    """
    make: Callable[..., Settings] = Settings
    try:
        return make(**changes)
    except ValidationError as error:
        # The value may be a secret: name the variable and the problem alone.
        lines = [
            f"{PREFIX}{'_'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False)
        ]
        raise SettingsError("; ".join(lines)) from None
