"""Tests of mt_pipeline/demo."""
