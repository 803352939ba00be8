"""Tests of the dashboards: how they are written, and what their queries return."""
