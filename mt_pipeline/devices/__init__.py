"""Which device of the user an address is."""
