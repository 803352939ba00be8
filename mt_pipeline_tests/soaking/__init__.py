"""Faults that a pipeline must survive, each over as many captures and for as long as it is told: short in `make test`, long in `make soak`."""
