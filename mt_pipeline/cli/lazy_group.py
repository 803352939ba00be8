"""A click group that imports a command when it runs, so that `--help` and `status` stay quick."""

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import cast

import click


class LazyGroup(click.Group):
    """A group whose commands are modules of a package.

    Command `name` is the attribute `name` of the module `name`.
    """

    def __init__(self, *, package: str, summaries: Mapping[str, str], **options: object) -> None:
        """Make the group.

        Args:
            package: dotted name of the package with the modules.
            summaries: one line of help for each command, by its name.
            options: those of `click.Group`.
        """
        super().__init__(**options)  # type: ignore[arg-type]
        self.summaries = summaries
        commands = _LazyCommands(package, summaries)
        # click reads them and adds none.
        self.commands = cast("MutableMapping[str, click.Command]", commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.summaries[name]) for name in self.list_commands(ctx)])


class _LazyCommands(Mapping[str, click.Command]):
    """Commands by their names, imported on access."""

    def __init__(self, package: str, names: Mapping[str, str]) -> None:
        self._package, self._names = package, names

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._names:
            raise KeyError(name)
        command: click.Command = getattr(import_module(f"{self._package}.{name}"), name)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
