"""Moves the state of a data folder into a Postgres, and back."""
