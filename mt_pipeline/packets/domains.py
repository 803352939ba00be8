"""Registrable domains of server names: `www.example.co.uk` is of `example.co.uk`. By the public suffix list in the package tldextract."""

from functools import cache, lru_cache

import tldextract


@cache
def _extractor() -> tldextract.TLDExtract:
    # Neither a newer list from the network nor a folder to keep it in. Suffixes that are of a company, such as github.io, are no suffixes here.
    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


@lru_cache(maxsize=100_000)
def registrable_domain(name: str | None) -> str | None:
    """Return the domain that someone registered; the name itself, lower-cased, where none can be told, as of addresses and names at home."""
    if name is None:
        return None
    name = name.lower().rstrip(".")
    return _extractor().extract_str(name).top_domain_under_public_suffix or name or None
