"""Tests of mt_pipeline/cli."""
