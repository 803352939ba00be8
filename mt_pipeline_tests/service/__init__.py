"""Tests of mt_pipeline/service."""
