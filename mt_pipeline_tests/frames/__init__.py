"""Tests of mt_pipeline/frames."""
