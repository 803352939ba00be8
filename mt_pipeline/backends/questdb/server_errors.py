"""Errors of starting the embedded server. Those of a running QuestDB are in `backends/loads.py`."""


class ServerError(Exception):
    """Base of all that can go wrong with the embedded server.

    ServerError
    ├── JarMissing       the jar is missing and cannot be downloaded
    ├── JarDiffers       the jar is not the one we know
    ├── FolderUnusable   the data folder cannot be written, or its disk is full
    ├── FolderInUse      another server runs on the data folder
    ├── PortTaken        a port cannot be listened on
    └── DidNotStart      anything else; the message has what QuestDB printed
    """


class JarMissing(ServerError):
    """The jar is missing and cannot be downloaded."""


class JarDiffers(ServerError):
    """The jar is not the one we know."""


class FolderUnusable(ServerError):
    """The data folder cannot be written, or its disk is full."""


class FolderInUse(ServerError):
    """Another server runs on the data folder."""


class PortTaken(ServerError):
    """A port cannot be listened on."""


class DidNotStart(ServerError):
    """QuestDB ended before it was ready, or never became ready."""
