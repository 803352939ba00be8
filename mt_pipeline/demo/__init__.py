"""A small capture set for who has none yet: a household for ten minutes, before and after a change.

`household.py` says who talks to whom, `conversations.py` how a conversation goes, `messages.py`
what is said in it, `frames.py` how it is carried, `files.py` puts it into the inbox. It takes no
packet library: the one that the tests use may not be shipped with the product.
"""
