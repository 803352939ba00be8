"""Frames of captures, copied byte for byte into one pcapng. It knows no database.

`reader.py` finds frames by their numbers, `sorting.py` puts those of several captures into the
order of time, `writer.py` writes them, and `cut.py` does all that for a list of captures.
"""
