"""Names the files of a capture: `<stage>/<experiment>/<capture>/<hash of all inputs>…`.

The name contains the hash of all inputs, so a file that exists is never stale. Each load deletes
the files of earlier loads at its end.
"""

import shutil
from contextlib import suppress
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from mt_pipeline.captures.naming import experiment_of, file_name_of
from mt_pipeline.enrichment.ndpi import inspections
from mt_pipeline.packets.inheritance import HANDED_ON
from mt_pipeline.packets.said import SaidFiles
from mt_pipeline.pipeline.versions import CODE_VERSIONS
from mt_pipeline.rows.sources import Sources
from mt_pipeline.tshark import documents

TSHARK_JSON, ENDPOINTS, ENRICHMENT = "tshark_json", "endpoints", "enrichment"
_LEFT = ".left.parquet"
_LEFT_SAID = ".{}.left.parquet"
_INSPECTIONS = ".inspections.parquet"


def reports_folder(data: Path) -> Path:
    """Return the folder of the reports."""
    return data / "reports"


def report_file(data: Path, experiment: str) -> Path:
    """Return the report of an experiment. Each run replaces it."""
    return reports_folder(data) / f"{experiment}.html"


@dataclass(frozen=True)
class CaptureFiles:
    """The files of one capture below the data folder.

    Attributes:
        data: the data folder.
        key: the capture key.
        follows: what the capture took up from the file before it in its rotation (`rotation.py`).
            Names, endpoints and answers depend on it.
    """

    data: Path
    key: str
    follows: str = ""

    @property
    def workplace(self) -> Path:
        """The folder of temporary files. `keep_only` deletes those that a killed run left."""
        return self._folder(TSHARK_JSON)

    def documents(self, inputs: str) -> Path:
        """Return the documents of these inputs."""
        return self._folder(TSHARK_JSON) / f"{inputs}{documents.SUFFIX}"

    def packets(self, inputs: str) -> Path:
        """Return the typed packets. They are written before the endpoints."""
        return self._of_endpoints(inputs, "packets")

    def sums(self, inputs: str) -> Path:
        """Return the sums by second and conversation. They are written before the endpoints."""
        return self._of_endpoints(inputs, "sums")

    def said(self, inputs: str) -> SaidFiles:
        """Return what the packets say of names and devices, written before the endpoints."""
        kinds = (field.name for field in fields(SaidFiles))
        return SaidFiles(*(self._of_endpoints(inputs, kind) for kind in kinds))

    def names(self, inputs: str) -> Path:
        """Return the names of the streams. They are written before the endpoints."""
        return self._of_endpoints(self._named(inputs), "names")

    def left(self, inputs: str) -> Path:
        """Return what is left to the next file of the rotation, written before the endpoints.

        It has no columns of the tables, so its name does not depend on their version.
        """
        return self._folder(ENDPOINTS) / f"{self._named(inputs)}{_LEFT}"

    def left_said(self, inputs: str, kind: str) -> Path:
        """Return what packets said that is left to the next file; see `left`.

        Args:
            inputs: of the documents.
            kind: one of `inheritance.HANDED_ON`.
        """
        return self._folder(ENDPOINTS) / f"{self._named(inputs)}{_LEFT_SAID.format(kind)}"

    def known(self, inputs: str) -> SaidFiles:
        """Return what is known: what the packets say, and what the file before left."""
        own = self.said(inputs)
        kinds = HANDED_ON if self.follows else ()
        return replace(
            own, **{kind: self._of_endpoints(self._named(inputs), kind) for kind in kinds}
        )

    def endpoints(self, inputs: str) -> Path:
        """Return the endpoints."""
        return self._of_endpoints(self._named(inputs), "endpoints")

    def enrichment(self, inputs: str) -> Path:
        """Return the answers for the endpoints. Each run replaces them."""
        return self._folder(ENRICHMENT) / f"{self._named(inputs)}.parquet"

    def inspections(self, inputs: str) -> Path:
        """Return what nDPI found in the conversations, if that is installed."""
        return self._folder(ENRICHMENT) / f"{inputs}-{inspections.version()}{_INSPECTIONS}"

    def sources(self, inputs: str) -> Sources:
        """Return the files that the rows are made of, without what nDPI found."""
        return Sources(
            packets=self.packets(inputs),
            sums=self.sums(inputs),
            said=self.known(inputs),
            names=self.names(inputs),
            answers=self.enrichment(inputs),
        )

    def keep_only(self, inputs: str) -> None:
        """Delete the files of other inputs or versions, and the temporary files."""
        sources = self.sources(inputs)
        current = {
            self.documents(inputs),
            self.left(inputs),
            self.endpoints(inputs),
            sources.packets,
            sources.sums,
            *astuple(sources.said),
            *astuple(self.said(inputs)),
            *(self.left_said(inputs, kind) for kind in HANDED_ON),
            sources.names,
            sources.answers,
        }
        for asset in (TSHARK_JSON, ENDPOINTS, ENRICHMENT):
            for path in self._listed(asset):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif path not in current and not _is_inspection(path, inputs):
                    path.unlink(missing_ok=True)

    def delete_packets(self) -> int:
        """Delete the typed packets and what is made of them, except what is left to the next file.

        Returns:
            The bytes that were freed.
        """
        size = 0
        # The endpoints first: they mark the others as complete.
        for path in sorted(
            self._listed(ENDPOINTS), key=lambda path: ".endpoints." not in path.name
        ):
            if path.is_file() and not path.name.endswith(_LEFT):
                size += path.stat().st_size
                path.unlink()
        return size

    def delete(self) -> int:
        """Delete all files of the capture. Return their bytes."""
        size = self.size()
        for asset in (TSHARK_JSON, ENDPOINTS, ENRICHMENT):
            shutil.rmtree(self._folder(asset), ignore_errors=True)
            with suppress(OSError):  # the folder has files of other captures
                self._folder(asset).parent.rmdir()
        return size

    def size(self) -> int:
        """Return the bytes of all files of the capture."""
        return sum(
            file.stat().st_size
            for asset in (TSHARK_JSON, ENDPOINTS, ENRICHMENT)
            for file in self._listed(asset)
            if file.is_file()
        )

    def _named(self, inputs: str) -> str:
        return f"{inputs}-{self.follows}" if self.follows else inputs

    def _of_endpoints(self, inputs: str, what: str) -> Path:
        # They have columns of the tables, so their names contain the version of these.
        return self._folder(ENDPOINTS) / f"{inputs}-{CODE_VERSIONS['endpoints']}.{what}.parquet"

    def _folder(self, asset: str) -> Path:
        return self.data / asset / experiment_of(self.key) / file_name_of(self.key)

    def _listed(self, asset: str) -> list[Path]:
        folder = self._folder(asset)
        return list(folder.iterdir()) if folder.is_dir() else []


def _is_inspection(path: Path, inputs: str) -> bool:
    """Return whether a file has what nDPI found; it may be used again when nDPI is."""
    return path.name.startswith(inputs) and path.name.endswith(_INSPECTIONS)
