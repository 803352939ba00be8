"""Faults that a pipeline must survive: short forms in `make test`, long ones in `make soak`."""
