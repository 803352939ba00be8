"""Tests of mt_pipeline/rows."""
