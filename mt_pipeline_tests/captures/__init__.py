"""Tests of the captures room."""
