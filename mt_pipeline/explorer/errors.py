"""What an answer of the explorer may be instead of numbers: a sentence with the cure."""

from mt_pipeline.errors import CommandError


class AskedWrongError(CommandError):
    """An address cannot be understood."""


class UnknownError(CommandError):
    """There is no such experiment, capture or conversation."""


class RefusedDownloadError(CommandError):
    """A download cannot be made as asked; nothing of it was sent."""
