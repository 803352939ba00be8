"""Tests of mt_pipeline/devices."""
