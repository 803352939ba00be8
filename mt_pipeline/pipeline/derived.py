"""Derives typed packets, names of streams and endpoints from the documents of a capture."""

import logging
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import pyarrow as pa

from mt_pipeline.captures.naming import CaptureError
from mt_pipeline.captures.rotation import Handover
from mt_pipeline.packets import continuation, endpoints, inheritance, together
from mt_pipeline.packets.conversations import Conversations, Follower, conversations
from mt_pipeline.packets.endpoints import Endpoints
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.rotation import Left, Rotation
from mt_pipeline.pipeline.workspace import Workspace

log = logging.getLogger(__name__)


class NoInputError(CaptureError):
    """The input of a stage does not exist."""


@dataclass
class Derived:
    """The typed packets, names and endpoints of a capture.

    The caller holds the capture's lock, and closes this at the end.

    Attributes:
        workspace: the data folder.
        files: the files of the capture. Their names depend on what the capture took up from the
            file before it in its rotation.
        seconds: its share of the time that `make_together` took.
    """

    workspace: Workspace
    files: CaptureFiles
    seconds: float = 0
    _conversations: Conversations | None = None
    _waiting: together.Waiting | None = None
    _open: ExitStack = field(default_factory=ExitStack)

    @property
    def key(self) -> str:
        """The capture key."""
        return self.files.key

    @property
    def _rotation(self) -> Rotation:
        return Rotation(self.workspace, self.key)

    def close(self) -> None:
        """Free the memory of the conversations, and of documents that wait."""
        self._open.close()
        self._conversations = self._waiting = None

    def listener(self, inputs: str, follower: Follower | None = None) -> Conversations:
        """Return the conversations, which receive packets while tshark reads. `make` uses them.

        Args:
            inputs: the hash of all that the documents are made of.
            follower: receives what is made of each block of packets.
        """
        path = self.files.endpoints(inputs)
        self._conversations = self._open.enter_context(conversations(path, follower))
        return self._conversations

    def waiting(self, inputs: str, *, few: int) -> together.Waiting:
        """Return what keeps the documents while tshark reads, for `make_together` or `make`.

        Args:
            inputs: the hash of all that the documents are made of.
            few: how many are kept at most; with more, packets are typed as by `listener`.
        """
        self._waiting = together.Waiting(lambda: self.listener(inputs), few=few)
        return self._waiting

    @property
    def waits(self) -> bool:
        """Whether documents are kept."""
        return self._documents() is not None

    def follow(self, follows: str) -> None:
        """Use the files that depend on what the capture took up at an earlier load."""
        self.files = replace(self.files, follows=follows)

    def continue_rotation(self, *, default: str = "") -> None:
        """Use the files that depend on what the file before this one leaves now.

        Args:
            default: what to take up if nothing is known of the file before.
        """
        self.follow(self._rotation.taken_up(default=default))

    def make(self, inputs: str) -> Endpoints:
        """Write typed packets, names and endpoints, unless they exist. Endpoints are written last.

        Raises:
            NoInputError: there are neither documents nor typed packets.
        """
        path = self.files.endpoints(inputs)
        if self._is_complete(inputs):
            return endpoints.summary(path)
        left = self._rotation.left(self.files.follows)
        if left is None and self.files.follows:  # it was deleted, or replaced
            self.follow("")
            return self.make(inputs)
        found = self._conversations or self._read(inputs)
        if not self.files.packets(inputs).exists():
            files = self.files
            found.write_packets(files.packets(inputs), files.sums(inputs), files.said(inputs))
        if left is not None:
            continued = continuation.take_up(found, left.streams)
            log.info("%s: %s streams go on in it", self.key, f"{continued:,}")
            self._inherit(left, inputs)
            found.read_lookups(self.files.known(inputs).lookups)
        found.write_names(self.files.names(inputs))
        if self._rotation.has_next:
            continuation.write_left(found, self.files.left(inputs), left and left.streams)
            known = self.files.known(inputs)
            for kind in inheritance.HANDED_ON:
                inheritance.leave(kind, getattr(known, kind), self.files.left_said(inputs, kind))
        summary = endpoints.write(found, path)
        self.close()  # the load needs the memory
        return summary

    def small(self, inputs: str) -> together.Small | None:
        """Return the capture as one of several small ones; None if nothing of it waits."""
        documents, files = self._documents(), self.files
        if documents is None or files.packets(inputs).exists():
            return None
        return together.Small(
            documents=documents,
            packets=files.packets(inputs),
            sums=files.sums(inputs),
            said=files.said(inputs),
            names=files.names(inputs),
            endpoints=files.endpoints(inputs),
        )

    def handover(self, inputs: str) -> Handover:
        """Return what the capture took up, and what it leaves to the next file."""
        return self._rotation.handover(self.files, inputs)

    def _inherit(self, left: Left, inputs: str) -> None:
        """Write what packets of the file before and of this one said."""
        own, known = self.files.said(inputs), self.files.known(inputs)
        for kind in inheritance.HANDED_ON:
            inheritance.inherit(getattr(own, kind), left.said(kind), getattr(known, kind))

    def _is_complete(self, inputs: str) -> bool:
        paths = [self.files.endpoints(inputs), self.files.packets(inputs)]
        if self._rotation.has_next:
            paths.append(self.files.left(inputs))
            paths += (self.files.left_said(inputs, kind) for kind in inheritance.HANDED_ON)
        return all(path.exists() for path in paths)

    def _read(self, inputs: str) -> Conversations:
        """Read the sums of the typed packets, or the documents if there are no typed packets."""
        packets, source = self.files.packets(inputs), self.files.documents(inputs)
        if not packets.exists() and not source.exists():
            raise NoInputError(f"{self.key}: {source} is not there; launch it with tshark_json too")
        documents = self._documents()
        found = self.listener(inputs)
        if packets.exists():
            found.read_sums(self.files.sums(inputs), self.files.said(inputs).lookups)
        elif documents is not None:
            found.add(documents)
        else:
            found.read(source)
        return found

    def _documents(self) -> pa.Table | None:
        """Return the documents that wait."""
        return self._waiting.documents() if self._waiting else None


def make_together(captures: Iterable[tuple[Derived, str]]) -> None:
    """Do what `make` does for those whose documents wait; no stream goes on in another of them.

    If that fails, `make` does it for each by itself.

    Args:
        captures: each with the hash of all that its documents are made of.
    """
    started = time.monotonic()
    made = [(derived, small) for derived, inputs in captures if (small := derived.small(inputs))]
    if len(made) < 2:
        return
    together.write([small for _, small in made])
    for derived, _ in made:
        derived.close()
        derived.seconds = (time.monotonic() - started) / len(made)
