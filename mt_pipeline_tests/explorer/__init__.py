"""The explorer: its numbers, its answers, and who may ask."""
