"""Typed packets, conversations and distinct endpoints, made from documents."""
