"""What a command of the terminal may end with, beside the errors of the rooms."""


class CommandError(Exception):
    """A command cannot do what it was told: the message is the one line that the terminal says; exit code 1."""
