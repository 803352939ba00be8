"""`mt-pipeline`: the group of commands, and what every error becomes on the terminal.

Each command is the module of its name; it imports Dagster and the databases only when it runs.
An error is one line on stderr, never a traceback; what tshark says of a filter follows below it.
"""

import os
import sys
from pathlib import Path

import click

from mt_pipeline import __version__, settings
from mt_pipeline.cli import unknown_settings
from mt_pipeline.cli.exit_codes import CANCELLED, FAILED, WRONG_USAGE
from mt_pipeline.cli.lazy_group import LazyGroup
from mt_pipeline.errors import CommandError, SettingsError
from mt_pipeline.system import private, terminal

COMMANDS = {
    "cache": "Look after the stored answers.",
    "compact": "Give back the disk space of deleted rows.",
    "compare": "Compare two experiments: what is new, gone, more or less from A to B.",
    "coverage": "Say how much of an experiment's traffic with public addresses is explained.",
    "cut": "Write the packets of rows to a pcapng, as they were captured.",
    "demo": "Load a made-up household of two experiments, for a first look.",
    "devices": "Print the devices of an experiment that name themselves, as an inventory to edit.",
    "explore": "Open the explorer in a browser, at an experiment if one is named.",
    "export": "Write rows of an experiment to a file.",
    "ingest": "Load captures, and wait until their rows can be queried.",
    "mcp": "Answer questions of an assistant over MCP, on standard input and output.",
    "purge": "Delete what was made of captures.",
    "refresh": "Bring the answers of loaded captures up to date.",
    "report": "Write a page about an experiment.",
    "run": "Run the service: QuestDB, the Dagster UI, and the watched folder.",
    "state": "Move the state: what became of each capture, answers, counted calls.",
    "status": "Show the state of every capture.",
    "verify": "Find files and rows that are not as they should be.",
    "worker": "Work for the service of another machine.",
}
"""The commands, each with the first line of its help."""


@click.group(
    cls=LazyGroup,
    package="mt_pipeline.cli",
    summaries=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="mt-pipeline")
def cli() -> None:
    """Turn network captures of experiments into tables that people can ask questions of.

    Exit status: 0 success, 1 something failed, 2 wrong usage or a setting that cannot be used,
    130 cancelled.
    """
    for warning in unknown_settings.warnings():
        click.echo(f"mt-pipeline: warning: {warning}", err=True)


@terminal.shown()
def main() -> None:
    """Run the command line."""
    _require_utf8()
    private.files()
    try:
        cli(standalone_mode=False, prog_name="mt-pipeline")
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(WRONG_USAGE)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "mt-pipeline"
        first, _, below = error.format_message().partition("\n")
        line = f"{first.rstrip('.')} (see `{command} --help`)"
        _exit(line + (f"\n{below}" if below else ""), WRONG_USAGE)
    except click.ClickException as error:
        _exit(error.format_message(), FAILED)
    except CommandError as error:
        _exit(str(error), FAILED)
    except click.Abort:
        _exit("cancelled", CANCELLED)
    except SettingsError as error:
        _exit(str(error), WRONG_USAGE)
    except Exception as error:
        from mt_pipeline.pipeline.failures import sentence

        _exit(sentence(error, folder=_data_folder()), FAILED)


def _data_folder() -> Path | None:
    """Return the data folder, for errors that name no file."""
    try:
        return settings.load().data_dir
    except (SettingsError, OSError):
        return None


def _require_utf8() -> None:
    """Start again in UTF-8 mode if the locale has no UTF-8.

    Otherwise neither Python nor its children would know the names of files.
    """
    if sys.getfilesystemencoding() != "utf-8":
        os.execve(  # noqa: S606
            sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, "PYTHONUTF8": "1"}
        )


def _exit(message: str, code: int) -> None:
    click.echo(f"mt-pipeline: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
