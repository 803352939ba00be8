"""Where the files of a capture lie, stage by stage: `<asset>/<experiment>/<capture>/<hash of all that made them>…`.

A file that exists is right, so nothing is ever stale; what a later load replaced is deleted after that load.
"""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mt_pipeline.captures.naming import experiment_of, file_name_of
from mt_pipeline.pipeline.versions import CODE_VERSIONS
from mt_pipeline.rows.packets import Sources
from mt_pipeline.tshark import documents

TSHARK_JSON, ENDPOINTS, ENRICHMENT = "tshark_json", "endpoints", "enrichment"
_LEFT = ".left.parquet"


def reports_folder(data: Path) -> Path:
    """Name the folder of the reports of experiments."""
    return data / "reports"


def report_file(data: Path, experiment: str) -> Path:
    """Name the report of an experiment, written anew by each run."""
    return reports_folder(data) / f"{experiment}.html"


@dataclass(frozen=True)
class CaptureFiles:
    """The files of one capture below the data folder.

    Attributes:
        data: the data folder.
        key: the capture key.
        follows: what was taken up of the file before it in its rotation (`rotations.py`); it made the names, so what is made of these too.
    """

    data: Path
    key: str
    follows: str = ""

    @property
    def workplace(self) -> Path:
        """The folder for what is only needed while documents are made; what a killed run left there is deleted with `keep_only`."""
        return self._folder(TSHARK_JSON)

    def documents(self, inputs: str) -> Path:
        """Name the documents that these inputs make."""
        return self._folder(TSHARK_JSON) / f"{inputs}{documents.SUFFIX}"

    def packets(self, inputs: str) -> Path:
        """Name the typed packets of these documents; written before the endpoints."""
        return self._of_endpoints(inputs, "packets")

    def sums(self, inputs: str) -> Path:
        """Name the sums of these packets by second and conversation; written before the endpoints."""
        return self._of_endpoints(inputs, "sums")

    def names(self, inputs: str) -> Path:
        """Name what the streams of these documents were called; written before the endpoints."""
        return self._of_endpoints(self._named(inputs), "names")

    def left(self, inputs: str) -> Path:
        """Name what they leave to the next file of the rotation; written before the endpoints. It holds no columns, so it outlives their table."""
        return self._folder(ENDPOINTS) / f"{self._named(inputs)}{_LEFT}"

    def endpoints(self, inputs: str) -> Path:
        """Name the endpoints of these documents."""
        return self._of_endpoints(self._named(inputs), "endpoints")

    def enrichment(self, inputs: str) -> Path:
        """Name the answers for these endpoints, written anew by each run."""
        return self._folder(ENRICHMENT) / f"{self._named(inputs)}.parquet"

    def sources(self, inputs: str) -> Sources:
        """Name what the rows of these documents are made of."""
        return Sources(
            self.packets(inputs), self.sums(inputs), self.names(inputs), self.enrichment(inputs)
        )

    def keep_only(self, inputs: str) -> None:
        """Delete what other inputs or another column table made, and what a killed run left half written."""
        sources = self.sources(inputs)
        kept = {
            self.documents(inputs),
            self.left(inputs),
            self.endpoints(inputs),
            sources.packets,
            sources.sums,
            sources.names,
            sources.answers,
        }
        for asset in (TSHARK_JSON, ENDPOINTS, ENRICHMENT):
            for path in self._listed(asset):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif path not in kept:
                    path.unlink(missing_ok=True)

    def delete_packets(self) -> int:
        """Delete the typed packets and what is made with them, of whatever release, but for what is left to the next file. Returns the bytes."""
        size = 0
        # The endpoints first, as they say that all are there.
        for path in sorted(
            self._listed(ENDPOINTS), key=lambda path: ".endpoints." not in path.name
        ):
            if path.is_file() and not path.name.endswith(_LEFT):
                size += path.stat().st_size
                path.unlink()
        return size

    def delete(self) -> int:
        """Delete all files of the capture. Returns how many bytes they had."""
        size = self.size()
        for asset in (TSHARK_JSON, ENDPOINTS, ENRICHMENT):
            shutil.rmtree(self._folder(asset), ignore_errors=True)
            with suppress(OSError):  # other captures of the experiment have files there
                self._folder(asset).parent.rmdir()
        return size

    def size(self) -> int:
        """Sum the bytes of all files of the capture."""
        return sum(
            file.stat().st_size
            for asset in (TSHARK_JSON, ENDPOINTS, ENRICHMENT)
            for file in self._listed(asset)
            if file.is_file()
        )

    def _named(self, inputs: str) -> str:
        return f"{inputs}-{self.follows}" if self.follows else inputs

    def _of_endpoints(self, inputs: str, what: str) -> Path:
        # These hold columns, so the column table made them too.
        return self._folder(ENDPOINTS) / f"{inputs}-{CODE_VERSIONS['endpoints']}.{what}.parquet"

    def _folder(self, asset: str) -> Path:
        return self.data / asset / experiment_of(self.key) / file_name_of(self.key)

    def _listed(self, asset: str) -> list[Path]:
        folder = self._folder(asset)
        return list(folder.iterdir()) if folder.is_dir() else []
