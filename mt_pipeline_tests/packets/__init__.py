"""Tests of the packets room."""
