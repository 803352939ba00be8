"""Tests of the room of the state in Postgres."""
