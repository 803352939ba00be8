"""Makes from the settings what explains rows: providers, devices, networks, companies, parties."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mt_pipeline.devices.inventory import DevicesUnusable
from mt_pipeline.devices.lookup import Devices
from mt_pipeline.enrichment import plugins
from mt_pipeline.enrichment.answers.store import AnswerStore
from mt_pipeline.enrichment.ndpi import inspections
from mt_pipeline.enrichment.netify import client, rate_limit
from mt_pipeline.enrichment.netify.budget import Budget
from mt_pipeline.enrichment.netify.client import Netify
from mt_pipeline.enrichment.offline.provider import Offline
from mt_pipeline.enrichment.owners.companies import Companies
from mt_pipeline.enrichment.owners.first_parties import FirstParties, PartiesUnusable
from mt_pipeline.enrichment.owners.networks import Networks
from mt_pipeline.enrichment.owners.tracker_lists import TrackerLists
from mt_pipeline.enrichment.provider import (
    PaidProvider,
    Provider,
    ProviderStopped,
    ProviderUnusable,
)
from mt_pipeline.errors import SettingsError
from mt_pipeline.pipeline.options import Options
from mt_pipeline.state.postgres import Postgres
from mt_pipeline.system.nearest import did_you_mean

NETIFY, OFFLINE = "netify", "offline"
_BY_CONVERSATION = (inspections.NAME,)
"""Names of providers that read the capture; they are no part of the chain."""


def check(options: Options) -> None:
    """Refuse settings that can never work, before any capture is touched.

    Raises:
        SettingsError: the message names the variable, and the file if it names one.
    """
    devices(options)
    networks(options).close()
    parties(options, companies(options))
    if NETIFY in options.providers:
        _check_netify(options)
    if twice := [name for name in options.providers if options.providers.count(name) > 1]:
        raise SettingsError(f"MT_ENRICHMENT lists {twice[0]} twice: leave one out")
    known = [NETIFY, OFFLINE, *_BY_CONVERSATION, *plugins.names()]
    if unknown := [name for name in options.providers if name not in known]:
        hint = did_you_mean(unknown[0], known) or ";"
        raise SettingsError(
            f"MT_ENRICHMENT: there is no provider {unknown[0]!r}{hint} "
            f"say `none`, or some of {', '.join(known)}"
        )
    if options.inspects and not inspections.is_installed():
        raise SettingsError(
            "MT_ENRICHMENT lists ndpi, but the package nfstream is not installed: "
            "`make ndpi` installs it, or leave ndpi out"
        )
    with ExitStack() as stack:
        for name in _chain(options):
            if name != NETIFY:  # to make it creates files in the data folder
                _make(name, options, stack)


def _chain(options: Options) -> list[str]:
    """List the providers of endpoints, in their order."""
    return [name for name in options.providers if name not in _BY_CONVERSATION]


def _check_netify(options: Options) -> None:
    if not options.netify_api_key:
        raise SettingsError(
            "MT_ENRICHMENT lists netify, but MT_NETIFY_API_KEY is not set: "
            "set the key, or leave netify out"
        )
    try:
        client.check(options.netify_url, options.netify_api_key.get_secret_value().strip())
    except ProviderUnusable as error:
        raise SettingsError(str(error)) from None


def devices(options: Options) -> Devices:
    """Read the inventory of devices; an empty one if the settings name none.

    Raises:
        SettingsError: it cannot be used. The message names the file and the line.
    """
    try:
        return Devices() if options.devices is None else Devices.read(options.devices)
    except DevicesUnusable as error:
        raise SettingsError(str(error)) from None


def networks(options: Options) -> Networks:
    """Open what knows the networks of addresses; close it after use.

    Raises:
        SettingsError: the file of the user cannot be used. The message names it.
    """
    try:
        return Networks(asn_mmdb=options.offline_asn_mmdb)
    except ProviderUnusable as error:
        raise SettingsError(str(error)) from None


def companies(options: Options) -> Companies:
    """Return what knows the companies and trackers of names and networks.

    Raises:
        SettingsError: a list of trackers cannot be used. The message names the file.
    """
    try:
        return Companies(TrackerLists(options.tracker_lists) if options.tracker_lists else None)
    except ProviderUnusable as error:
        raise SettingsError(str(error)) from None


def parties(options: Options, companies: Companies) -> FirstParties:
    """Read the table of first parties; an empty one if the settings name none.

    Args:
        options: the options of the data folder.
        companies: who runs the domains of the table.

    Raises:
        SettingsError: it cannot be used. The message names the file and the line.
    """
    if options.parties is None:
        return FirstParties()
    try:
        return FirstParties.read(options.parties, companies)
    except PartiesUnusable as error:
        raise SettingsError(str(error)) from None


@contextmanager
def opened(
    options: Options, *, run: str
) -> Iterator[tuple[Sequence[Provider], AnswerStore | None]]:
    """Open the providers of the options in their order, and the stored answers if one is paid.

    Args:
        options: the options of the data folder.
        run: id of the run; MT_NETIFY_BUDGET_RUN limits its calls. Empty for none.

    Raises:
        SettingsError: the settings of a provider cannot be used.
        StoreError: the stored answers cannot be opened.
    """
    with ExitStack() as stack:
        providers = [_make(name, options, stack, run) for name in _chain(options)]
        if not any(isinstance(provider, PaidProvider) for provider in providers):
            yield providers, None
            return
        yield providers, stack.enter_context(store(options))


def answers_place(options: Options) -> Path | Postgres:
    """Return where the answers of paid providers are: a folder, or Postgres."""
    return options.state or answers_folder(options)


def answers_folder(options: Options) -> Path:
    """Return the folder of the answers, if they are in the data folder."""
    return options.data_dir / "cache" / "answers"


def store(options: Options) -> AnswerStore:
    """Open the stored answers; create the store if there is none.

    Raises:
        StoreError: they cannot be opened.
    """
    return AnswerStore(
        answers_place(options),
        answer_days=options.answer_days,
        not_found_days=options.not_found_days,
    )


def budget(options: Options, run: str = "") -> Budget:
    """Return the budget of Netify for today, and for a run if its id is given."""
    folder = options.state or options.data_dir / "cache"
    return Budget(
        folder,
        provider=NETIFY,
        run=run,
        per_day=options.netify_budget_day,
        per_run=options.netify_budget_run,
    )


def calls(options: Options) -> dict[str, int]:
    """Return the calls to Netify today, and their limit if there is one.

    Returns:
        `calls_today` and `budget_today`; empty if Netify is not one of the providers.
    """
    if NETIFY not in options.providers:
        return {}
    limit = {} if options.netify_budget_day is None else {"budget_today": options.netify_budget_day}
    try:
        return {"calls_today": budget(options).spent_today(), **limit}
    except ProviderStopped:  # the counts of the run name the reason
        return limit


def _make(name: str, options: Options, stack: ExitStack, run: str = "") -> Provider:
    """Make a provider that is closed with the stack."""
    try:
        provider = _provider(name, options, run)
    except ProviderUnusable as error:
        raise SettingsError(f"MT_ENRICHMENT lists {name}, but {error}") from None
    if callable(close := getattr(provider, "close", None)):
        stack.callback(close)
    return provider


def _provider(name: str, options: Options, run: str) -> Provider:
    if name == NETIFY and options.netify_api_key is not None:
        return Netify(
            url=options.netify_url,
            key=options.netify_api_key.get_secret_value(),
            calls_per_second=options.netify_rate,
            rate_file=options.state or options.data_dir / "cache" / rate_limit.FILE,
            budget=budget(options, run),
        )
    if name == OFFLINE:
        return Offline(city_mmdb=options.offline_city_mmdb, apps=options.offline_apps)
    return plugins.make(name, options.environment)
