"""Server names that somebody could send."""

from mt_pipeline_tests.api.parts import HOSTILE as ASKED

HOSTILE = (*ASKED, "\u202egnp.exe", "line\nbreak", "(one)\t", "'quoted", "null\u2028")
"""Each is a value, and nothing else."""
