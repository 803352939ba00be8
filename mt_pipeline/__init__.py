"""Network captures of experiments, turned into tables: the version, nothing else."""

__version__ = "0.1.0"
