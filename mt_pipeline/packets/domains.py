"""Registrable domains of server names: `www.example.co.uk` belongs to `example.co.uk`.

The public suffix list is the copy in the package tldextract.
"""

from functools import cache, lru_cache

import tldextract


@cache
def _extractor() -> tldextract.TLDExtract:
    # Never fetch a newer list, and need no cache folder. Private suffixes such as github.io do not
    # count as suffixes.
    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


@cache
def public_suffixes() -> frozenset[str]:
    """Return all suffixes under which anyone may have a domain, such as `com` and `co.uk`."""
    return frozenset(_extractor().tlds)


@lru_cache(maxsize=100_000)
def registrable_domain(name: str | None) -> str | None:
    """Return the registrable domain of a name.

    A name without one, such as an address or a name of a home network, is returned in lower case.
    """
    if name is None:
        return None
    name = name.lower().rstrip(".")
    return _extractor().extract_str(name).top_domain_under_public_suffix or name or None
