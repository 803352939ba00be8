"""Texts that somebody could choose."""

from mt_pipeline_tests.api.parts import HOSTILE as ASKED

HOSTILE = (*ASKED, "\u202egnp.exe", "line\nbreak", "(one)\t", "'quoted", "null\u2028")
"""Server names. Each is a value, and nothing else."""

LABELS = tuple(
    name.replace("//", "/") for name in HOSTILE if name.isprintable() or name.startswith("\u202e")
)
"""Those that folders can be called: they become values of the dimension `label`."""
