"""The experiments that can be chosen: from the ledger, and from memory what was read already."""

from collections.abc import Mapping
from dataclasses import dataclass

from mt_pipeline import __version__
from mt_pipeline.explorer.frame import Frame
from mt_pipeline.explorer.store import Store


@dataclass(frozen=True)
class Links:
    """Other pages of the service.

    Attributes:
        dagster: address of the Dagster UI; None if it is not known.
        console: address of QuestDB's console; None without QuestDB.
        console_user: who signs in there.
        console_password_file: the file with the password; None if it is elsewhere.
    """

    dagster: str | None = None
    console: str | None = None
    console_user: str | None = None
    console_password_file: str | None = None


def experiments(store: Store, links: Links) -> dict[str, object]:
    """Return all experiments by name, the version, and links to other pages."""
    # A page that sees here that captures changed asks for its view at once.
    store.look_again()
    read = {held.experiment: held.frame for held in store.in_memory()}
    return {
        "version": __version__,
        "links": vars(links),
        "experiments": [
            {
                "name": experiment.name,
                "captures": experiment.captures,
                "packets": experiment.rows,
                "loaded": experiment.loaded,
                "failed": experiment.failed,
                "refused": experiment.refused,
                "running": experiment.running > 0,
                "changed": experiment.changed_at,
                **_known(read.get(experiment.name)),
            }
            for experiment in store.session.ledger.experiments()
            if experiment.captures or experiment.refused
        ],
    }


def _known(frame: Frame | None) -> Mapping[str, object]:
    """Return what only flows tell; nothing if they are not in memory."""
    if frame is None or frame.span is None:
        return {}
    flows, (first, last) = frame.flows, frame.span
    return {
        "flows": len(flows.second),
        "bytes": int(flows.sent.sum()) + int(flows.received.sum()),
        "first": first,
        "last": last,
    }
