"""The failure of a run, made of those of its captures."""

import re

import dagster as dg

from mt_pipeline.pipeline.failures import Failed
from mt_pipeline.system.terminal import visible


def failure(failures: list[Failed], captures: int) -> dg.Failure:
    """Return the failure of a run. The run page shows its description first.

    Args:
        failures: the captures that failed, at least one.
        captures: number of captures of the run.
    """
    first = failures[0]
    count = (
        f"{len(failures)} of {captures} captures failed, the others are done"
        if len(failures) < captures
        else f"all {captures} captures failed"
    )
    description = (
        first.text if captures == 1 else f"{count}. {' | '.join(f.text for f in failures[:5])}"
    )
    metadata: dict[str, dg.MetadataValue] = {"captures_failed": dg.MetadataValue.int(len(failures))}
    if captures == 1 and first.tshark_message:
        metadata["tshark_said"] = _block(visible(first.tshark_message, lines=True))
    if captures == 1 and first.tshark_status is not None:
        metadata["tshark_exit_status"] = dg.MetadataValue.int(first.tshark_status)
    if captures > 1:
        metadata["failed"] = dg.MetadataValue.json({f.key: f.reason for f in failures})
    return dg.Failure(description=description, metadata=metadata, allow_retries=False)


def _block(text: str) -> dg.MetadataValue:
    """Return a code block: tshark points at an error in a filter with carets below it."""
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return dg.MetadataValue.md(f"{fence}text\n{text.rstrip()}\n{fence}")
