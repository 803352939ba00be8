"""Web pages of ours, and who may ask them."""
