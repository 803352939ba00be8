"""Typed packets and answers become rows of packets and flows."""
