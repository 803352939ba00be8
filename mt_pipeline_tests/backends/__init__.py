"""Tests of mt_pipeline/backends."""
