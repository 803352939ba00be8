"""Tests of mt_pipeline/api."""
