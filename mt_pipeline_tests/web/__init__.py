"""Tests of `mt_pipeline/web/`."""
