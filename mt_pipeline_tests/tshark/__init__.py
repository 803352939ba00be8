"""Tests of the tshark room."""
