"""What nDPI, a library for deep packet inspection, finds in the conversations of a capture."""
