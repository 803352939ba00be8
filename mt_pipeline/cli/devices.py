"""`mt-pipeline devices`. What it prints is `devices/listing.py`."""

import json
from typing import TYPE_CHECKING

import click

from mt_pipeline import settings

if TYPE_CHECKING:
    from mt_pipeline.devices.found import FoundDevices


@click.command()
@click.argument("experiment", metavar="EXPERIMENT")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def devices(experiment: str, *, as_json: bool) -> None:
    """Print the devices of an experiment that name themselves, as an inventory to edit.

    It is TOML, in the format of MT_DEVICES. What each device says of itself is in comments.
    """
    from mt_pipeline.devices.listing import inventory
    from mt_pipeline.pipeline.found_devices import found_devices
    from mt_pipeline.pipeline.workspace import Workspace

    found, missing = found_devices(Workspace(settings.load().options()), experiment)
    if as_json:
        click.echo(json.dumps(_json(found), indent=2, ensure_ascii=False))
    else:
        click.echo(f"# Devices of {experiment} by their own words: edit them, then see MT_DEVICES.")
        for line in inventory(found):
            click.echo(line)
    if missing:
        captures = "capture is" if missing == 1 else "captures are"
        click.echo(
            f"mt-pipeline: {missing:,} {captures} left out: "
            "the packets have expired, or an earlier release loaded them; load them again",
            err=True,
        )


def _json(found: "FoundDevices") -> list[dict[str, object]]:
    return [
        {
            "label": (named := found.label(hardware)) and named.label,
            "source": named and named.source,
            "hardware": hardware,
            "addresses": device.addresses,
            "is_router": device.is_router,
            "said": [
                {"source": rank.source, "what": rank.what, "text": text}
                for rank, texts in device.said.items()
                for text in texts
            ],
        }
        for hardware, device in found.known.items()
    ]
