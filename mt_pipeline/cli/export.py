"""`mt-pipeline export`. The work is `api/export.py`."""

from pathlib import Path

import click

from mt_pipeline.cli import questions
from mt_pipeline.cli.parameters import NewFile


@click.command()
@click.argument("experiment", metavar="EXPERIMENT")
@click.option("--flows", "table", flag_value="flows", help="A row for each second (the default).")
@click.option("--packets", "table", flag_value="packets", help="A row for each packet.")
@questions.chosen
@click.option(
    "--columns", metavar="NAMES", help="Only these columns, comma-separated, in this order."
)
@click.option(
    "--output",
    type=NewFile(),
    required=True,
    metavar="FILE",
    help="Its ending is the format: .csv, .parquet or .jsonl; the folder must exist.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def export(
    experiment: str,
    table: str | None,
    where: str | None,
    since: str | None,
    until: str | None,
    columns: str | None,
    output: Path,
    *,
    force: bool,
) -> None:
    """Write rows of an experiment to a file.

    The file is whole, or is not there. In CSV, texts that a spreadsheet would take for a formula
    begin with a quote.
    """
    from mt_pipeline.api import export as exporting
    from mt_pipeline.cli.progress_bars import Bars
    from mt_pipeline.pipeline.provenance import made
    from mt_pipeline.schema.tables import FLOWS, PACKETS

    try:
        exporting.writer_of(output)
    except exporting.FormatError as error:
        raise click.UsageError(str(error)) from None
    questions.check_free(output, force=force)
    with questions.opened() as (workspace, session), Bars() as bars:
        question = session.question(
            PACKETS if table == "packets" else FLOWS,
            experiment,
            where=where,
            since=since,
            until=until,
            columns=None if columns is None else [name.strip() for name in columns.split(",")],
        )
        written = exporting.write(
            session.rows(question),
            output,
            made(workspace, question),
            replace=force,
            progress=lambda rows: bars.show(question.experiment, "exporting", rows),
        )
    click.echo(f"{output}: {written:,} rows of {question.table.view(question.experiment)}")
