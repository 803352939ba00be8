"""Tests of the move of a state."""
