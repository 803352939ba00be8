"""The captures room: which files are there, settled, what they are called, and what became of them."""
