"""Typed packets, conversations and distinct endpoints, made from documents."""

from mt_pipeline.system.callable_modules import make_callable

make_callable(__name__)
