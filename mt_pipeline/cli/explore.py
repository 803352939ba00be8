"""`mt-pipeline explore`. The explorer itself is `explorer/`."""

import threading
import webbrowser
from contextlib import suppress
from urllib.parse import urlencode

import click

from mt_pipeline import settings
from mt_pipeline.errors import CommandError

_START_SECONDS = 60


@click.command()
@click.argument("experiment", metavar="[EXPERIMENT]", required=False)
@click.option("--no-browser", is_flag=True, help="Print the address, and open nothing.")
def explore(experiment: str | None, *, no_browser: bool) -> None:
    """Open the explorer in a browser, at an experiment if one is named.

    If the service runs, its explorer is used. Else one is started, with QuestDB if that is ours and
    does not run, until Ctrl-C.
    """
    from mt_pipeline.captures.lookup import check_known
    from mt_pipeline.captures.naming import fold_experiment
    from mt_pipeline.pipeline.workspace import Workspace
    from mt_pipeline.service import explorer_process

    loaded = settings.load()
    workspace = Workspace(loaded.options())
    if experiment is not None:
        check_known(workspace.ledger.records(), experiment=experiment)

    def show() -> None:
        page = explorer_process.link(loaded)
        if experiment is not None:
            page += "&" if "?" in page else "/?"
            page += urlencode({"e": fold_experiment(experiment)})
        click.echo(page)
        if not no_browser:
            webbrowser.open(page)

    if explorer_process.answers(loaded):
        show()
        return
    if reason := explorer_process.in_the_way(loaded):
        raise CommandError(reason)
    with workspace.questdb(), explorer_process.kept(loaded, echo=_warn):
        if not explorer_process.wait_until_it_answers(loaded, seconds=_START_SECONDS):
            raise CommandError("the explorer does not start; its messages are above")
        show()
        click.echo("Ctrl-C stops it.")
        with suppress(KeyboardInterrupt):  # that is how it ends
            threading.Event().wait()


def _warn(line: str) -> None:
    click.echo(line, err=True)
