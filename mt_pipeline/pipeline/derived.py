"""What is made of the documents of a capture: typed packets, names of streams, endpoints. Which stage asks for them is said in `stages.py`."""

import logging
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from mt_pipeline.captures.identity import CaptureError
from mt_pipeline.packets import continuation, endpoints
from mt_pipeline.packets.conversations import Conversations, conversations
from mt_pipeline.packets.endpoints import Endpoints
from mt_pipeline.pipeline import rotation
from mt_pipeline.pipeline.files import CaptureFiles
from mt_pipeline.pipeline.workspace import Pipeline

log = logging.getLogger(__name__)


class NothingToWorkOnError(CaptureError):
    """A stage was chosen whose input was never made."""


@dataclass
class Distilling:
    """The packets, names and endpoints of one capture. Its lock is held by the caller, who closes this at the end.

    Attributes:
        pipeline: the rooms.
        files: where they lie; with what the capture took up of the file before it in its rotation.
    """

    pipeline: Pipeline
    files: CaptureFiles
    _heard: Conversations | None = None
    _open: ExitStack = field(default_factory=ExitStack)

    @property
    def key(self) -> str:
        """The capture key."""
        return self.files.key

    def close(self) -> None:
        """Give back what was heard."""
        self._open.close()
        self._heard = None

    def listener(self, inputs: str) -> Conversations:
        """Give a listener to tshark: what it hears is taken next."""
        self._heard = self._open.enter_context(conversations(self.files.endpoints(inputs)))
        return self._heard

    def follow(self, follows: str) -> None:
        """Work with the files that are there, made with what was taken up then."""
        self.files = replace(self.files, follows=follows)

    def go_on(self, *, kept: str = "") -> None:
        """Find out what the file before it in its rotation leaves to it now.

        Args:
            kept: what it took up the last time, if that is to stay where nothing is known of the file before.
        """
        before = rotation.before(self.pipeline, self.key)
        self.follow(kept if before is None else before.leaves)

    def distilled(self, inputs: str) -> Endpoints:
        """Make sure of typed packets, names and endpoints: heard from tshark, or read from what is there. The endpoints are written last.

        Raises:
            NothingToWorkOnError: there is nothing to read.
        """
        path, rotates = self.files.endpoints(inputs), rotation.rotates(self.pipeline, self.key)
        if path.exists() and self.files.packets(inputs).exists() and (self.files.left(inputs).exists() or not rotates):
            return endpoints.summary(path)
        left = rotation.left(self.pipeline, self.key, follows=self.files.follows)
        if left is None and self.files.follows:  # what it took up once is not to be had any more
            self.follow("")
            return self.distilled(inputs)
        heard = self._heard or self._read(inputs)
        if not self.files.packets(inputs).exists():
            heard.write_packets(self.files.packets(inputs), self.files.sums(inputs))
        if left is not None:
            log.info("%s: %s streams go on in it", self.key, f"{continuation.take_up(heard, left):,}")
        heard.write_names(self.files.names(inputs))
        if rotates:
            continuation.write_left(heard, self.files.left(inputs), left)
        found = endpoints.write(heard, path)
        self.close()  # gives its memory back before the load needs some
        return found

    def leaves(self, inputs: str) -> str:
        """Say what it leaves to the next file of its rotation."""
        return continuation.leaves(self.files.left(inputs)) if rotation.rotates(self.pipeline, self.key) else ""

    def _read(self, inputs: str) -> Conversations:
        """Read the sums of the typed packets if these are there, else the documents."""
        packets, source = self.files.packets(inputs), self.files.documents(inputs)
        if not packets.exists() and not source.exists():
            raise NothingToWorkOnError(f"{self.key}: {source} is not there; launch it with tshark_json too")
        heard = self.listener(inputs)
        if packets.exists():
            heard.read_sums(self.files.sums(inputs))
        else:
            heard.read(source)
        return heard
