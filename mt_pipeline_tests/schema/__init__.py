"""Tests of mt_pipeline/schema."""
