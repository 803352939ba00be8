"""Tests of mt_pipeline/enrichment/answers."""
