"""Tests of the questdb room."""
