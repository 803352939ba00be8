"""Tests of the enrichment room."""
