"""Tests of mt_pipeline/system."""
