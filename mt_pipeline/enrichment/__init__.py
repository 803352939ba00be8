"""The enrichment room: endpoints in, what providers say of them out."""
