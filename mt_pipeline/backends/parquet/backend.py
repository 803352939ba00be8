"""A data set of Parquet files as a back end, behind the interface of `backends/backend.py`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mt_pipeline.backends.backend import Location
from mt_pipeline.backends.loads import Load, Loaded, Stored, StoredCounts
from mt_pipeline.backends.parquet import dataset
from mt_pipeline.backends.parquet.stored_counts import stored_counts
from mt_pipeline.backends.parquet.writer import DEFAULT_LIMITS, Limits


@dataclass(frozen=True)
class ParquetFiles:
    """A data set of Parquet files.

    Attributes:
        folder: of the data set.
        limits: what its writers may have open or create.
    """

    folder: Path
    limits: Limits = DEFAULT_LIMITS

    @property
    def name(self) -> str:
        """Return its name."""
        return "Parquet"

    def early_rows(self, capture: str, experiment: str) -> None:
        """Return None: readers see whole captures only."""

    def load(self, loads: Sequence[Load]) -> Sequence[tuple[Loaded, Stored]]:
        """Load captures, one after the other."""
        return [dataset.load(self.folder, load, limits=self.limits) for load in loads]

    def remove(self, capture: str) -> int:
        """Delete the files of a capture."""
        return dataset.remove(self.folder, capture)

    def expire(self, capture: str) -> int:
        """Delete the files of a capture's packets."""
        return dataset.remove(self.folder, capture, flows=False)

    def forget(self, experiment: str) -> None:
        """Do nothing: the folders of an experiment go with its last file."""

    def stored(self, *, thorough: bool) -> Mapping[str, StoredCounts]:
        """Count what the files store."""
        return stored_counts(self.folder, thorough=thorough)

    def location(self, loaded: Loaded, *, capture: str, experiment: str) -> Location:
        """Return the pattern of the files."""
        pattern = self.folder / "*" / f"experiment={experiment}" / "*" / dataset.name_of(capture)
        return Location("parquet", str(pattern))
