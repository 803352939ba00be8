"""Tests of the defs room."""
