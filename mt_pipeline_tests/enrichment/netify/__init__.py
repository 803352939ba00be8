"""Tests of mt_pipeline/enrichment/netify."""
