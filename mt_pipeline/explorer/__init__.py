"""The explorer: a page that shows what experiments hold, and the answers that it asks for.

It reads through `api/`, and can do nothing else. Who may ask is decided in `web/`.
"""
