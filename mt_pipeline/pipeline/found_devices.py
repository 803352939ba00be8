"""The devices of an experiment that name themselves, of the files of its captures."""

import logging

import pyarrow.parquet

from mt_pipeline.captures.naming import fold_experiment
from mt_pipeline.captures.records import State
from mt_pipeline.devices.found import FoundDevices
from mt_pipeline.devices.listing import together
from mt_pipeline.devices.statements import Device, VendorOf, devices
from mt_pipeline.errors import CommandError
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.workspace import Workspace
from mt_pipeline.system.nearest import did_you_mean
from mt_pipeline.tshark.errors import TsharkError
from mt_pipeline.tshark.vendors import Vendors

log = logging.getLogger(__name__)


class NoCapturesError(CommandError):
    """The experiment has no captures that are loaded."""


def vendors(workspace: Workspace) -> VendorOf:
    """Return what names the vendors of hardware addresses; it names none if tshark is missing."""
    try:
        return Vendors.read(workspace.tshark, workspace.options.data_dir / "cache").of
    except TsharkError as error:  # what it read before is loaded without it
        log.info("vendors of hardware addresses are not known: %s", error)
        return lambda _: None


def found_devices(workspace: Workspace, name: str) -> tuple[FoundDevices, int]:
    """Return the devices of all captures, and the number of captures of which nothing is known.

    Args:
        workspace: the data folder.
        name: name of the experiment: that of its folder, or the folded one.

    Raises:
        NoCapturesError: no capture of the experiment is loaded.
    """
    experiment = fold_experiment(name)
    done = [record for record in workspace.ledger.records() if record.state is State.DONE]
    records = [record for record in done if record.experiment == experiment]
    if not records:
        known = {record.experiment for record in done if record.experiment}
        raise NoCapturesError(
            f"no capture of {name} is loaded{did_you_mean(experiment, known)}; "
            "see `mt-pipeline status`"
        )
    vendor_of = vendors(workspace)
    captures: list[dict[str, Device]] = []
    for record in records:
        files = CaptureFiles(workspace.options.data_dir, record.key, record.follows)
        path = files.known(record.documents or "").announcements
        try:
            captures.append(devices(pyarrow.parquet.read_table(path), vendor_of))
        except FileNotFoundError:
            continue
    found = FoundDevices(together(captures), vendor_of)
    return found, len(records) - len(captures)
