"""Tests of mt_pipeline/pipeline."""
