"""A part of a bucket as an inbox, in any store that speaks S3.

How it is asked, and what its errors mean, is `s3_client.py`.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import IO, cast

from mt_pipeline.captures.naming import CaptureChangedError
from mt_pipeline.captures.s3_client import ATTEMPTS, Listed, Part, asked, client
from mt_pipeline.captures.store import InboxError, Status

SCHEME = "s3://"

_HEAD_BYTES = 64 * 2**10
"""The first part that is asked for: most readers want no more than to see what an object is."""

_PART_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Bucket:
    """A bucket, or the part of one below a prefix.

    Attributes:
        url: `s3://bucket/prefix`, without a slash at the end.
    """

    url: str

    def __str__(self) -> str:
        """Return the URL."""
        return self.url

    @property
    def name(self) -> str:
        """The bucket."""
        return self.url.removeprefix(SCHEME).partition("/")[0]

    @property
    def prefix(self) -> str:
        """What all keys begin with; it ends with a slash unless it is empty."""
        prefix = self.url.removeprefix(SCHEME).partition("/")[2]
        return f"{prefix}/" if prefix else ""

    def objects(self) -> Iterator[tuple[str, Status]]:
        """Yield all objects; see `Store.objects`."""
        more: dict[str, object] = {}
        while True:
            page = self._listed(self.prefix, **more)
            for item in cast("list[Listed]", page.get("Contents", [])):
                yield item["Key"].removeprefix(self.prefix), _status(item["Size"], item)
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def status(self, key: str) -> Status:
        """Return the status of an object; see `Store.status`."""
        # A request for the object alone would not tell a missing bucket from a missing object.
        page = self._listed(self.prefix + key, MaxKeys=1)
        for item in cast("list[Listed]", page.get("Contents", [])):
            if item["Key"] == self.prefix + key:
                return _status(item["Size"], item)
        raise FileNotFoundError(key)

    def open(self, key: str, status: Status) -> io.BufferedReader:
        """Open an object; see `Store.open`."""
        return io.BufferedReader(_Reader(self, key, status), _HEAD_BYTES)

    def _listed(self, prefix: str, **arguments: object) -> Mapping[str, object]:
        wanted = {"Bucket": self.name, "Prefix": prefix, **arguments}
        return asked(lambda: client().list_objects_v2(**wanted), self.url)

    def part(self, key: str, first: int, last: int) -> Part:
        """Ask for the bytes of an object from the first to the last, both counted from 0."""
        wanted = {"Bucket": self.name, "Key": self.prefix + key, "Range": f"bytes={first}-{last}"}
        return asked(lambda: client().get_object(**wanted), self.url, key)


class _Reader(io.RawIOBase):
    """The bytes of an object, part by part. An answer of another content ends it."""

    def __init__(self, bucket: Bucket, key: str, status: Status) -> None:
        self._bucket, self._key, self._status = bucket, key, status
        self._at = self._end = 0
        self._body: IO[bytes] | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        size = min(len(buffer), self._status.size - self._at)
        block = self._read(size) if size else b""
        buffer[: len(block)] = block
        self._at += len(block)
        if self._at == self._end:
            self._release()
        return len(block)

    def close(self) -> None:
        self._release()
        super().close()

    def _read(self, size: int) -> bytes:
        for left in reversed(range(ATTEMPTS)):
            body = self._body or self._part()
            try:
                # It raises an error if the answer breaks off.
                return asked(partial(body.read, size), self._bucket.url, self._key)
            except InboxError:
                self._release()
                if not left:
                    raise
        raise AssertionError

    def _part(self) -> IO[bytes]:
        length = _PART_BYTES if self._at else _HEAD_BYTES
        self._end = min(self._at + length, self._status.size)
        part = self._bucket.part(self._key, self._at, self._end - 1)
        self._body = part["Body"]
        # Without a range there is one answer for all, from the first byte.
        said = part.get("ContentRange", f"bytes 0-/{part['ContentLength']}")
        if _status(int(said.rpartition("/")[2]), part) != self._status:
            raise CaptureChangedError.of(self._key)
        return self._body

    def _release(self) -> None:
        if self._body:
            self._body.close()
            self._body = None


def _status(size: int, item: Listed | Part) -> Status:
    seconds, tag = int(item["LastModified"].timestamp()), item.get("ETag", "")
    digest = hashlib.sha256(tag.encode()).digest()
    return Status(size, seconds * 10**9 + int.from_bytes(digest[:8], "big") % 10**9)
