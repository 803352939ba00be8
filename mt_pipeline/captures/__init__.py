"""The captures room: which files are in the inbox, what they are called, what became of them."""
