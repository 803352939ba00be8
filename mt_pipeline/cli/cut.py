"""`mt-pipeline cut`. The work is `api/cutting.py`."""

from pathlib import Path

import click

from mt_pipeline.cli import questions
from mt_pipeline.cli.parameters import NewFile


@click.command()
@click.argument("experiment", metavar="EXPERIMENT")
@questions.chosen
@click.option(
    "--output",
    type=NewFile(dir_okay=True),
    required=True,
    metavar="FILE",
    help="A pcapng; with --each a folder. Its folder must exist.",
)
@click.option("--each", is_flag=True, help="Write a file for each capture to a folder.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
def cut(
    experiment: str,
    where: str | None,
    since: str | None,
    until: str | None,
    output: Path,
    *,
    each: bool,
    force: bool,
) -> None:
    """Write the packets of rows to a pcapng, as they were captured.

    They are in the order of time. A comment on each says its capture and frame number. Nothing is
    written if a capture is gone, or has changed since it was loaded.
    """
    from mt_pipeline.cli.progress_bars import Bars
    from mt_pipeline.frames.link_types import mixed
    from mt_pipeline.report.formatting import size

    if each and output.exists() and not output.is_dir():
        raise click.UsageError(f"{output} is a file: with --each name a folder")
    if not each:
        if output.is_dir() or output.suffix.lower() != ".pcapng":
            raise click.UsageError(f"{output}: name a file that ends with .pcapng")
        questions.check_free(output, force=force)
    with questions.opened() as (_, session), Bars() as bars:
        files = session.cut(
            experiment,
            output,
            where=where,
            since=since,
            until=until,
            each=each,
            replace=force,
            progress=lambda key, done, total: bars.show(key, "cutting", done, total),
        )
    for file in files:
        captures = "1 capture" if file.captures == 1 else f"{file.captures:,} captures"
        packets = "1 packet" if file.packets == 1 else f"{file.packets:,} packets"
        click.echo(f"{file.path}: {packets} of {captures}, {size(file.bytes)}")
        if remark := mixed(file.link_types):
            click.echo(f"{file.path}: {remark}", err=True)
