"""Tests of mt_pipeline/enrichment/offline."""
