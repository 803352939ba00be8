"""Web pages, and who may request them."""
