"""Tests of several machines, which are hosts in namespaces."""
