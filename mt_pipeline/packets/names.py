"""SQL of what counts as the name of a host."""


def host_name(text: str) -> str:
    """Build the SQL of a name of a host as it is compared: lower case, without a final dot.

    It is NULL for what others may write in the place of a name: addresses, markup, blanks.

    Args:
        text: SQL of a text.
    """
    name = f"rtrim(lower({text}), '.')"
    return (
        f"CASE WHEN regexp_full_match({name}, '[a-z0-9_]([a-z0-9_.-]{{0,251}}[a-z0-9_])?') "
        f"AND NOT regexp_full_match({name}, '[0-9.]+') THEN {name} END"
    )


def http_host_name(text: str) -> str:
    """Build the SQL of the name in a Host header, without its port; see `host_name`.

    Args:
        text: SQL of a text.
    """
    return host_name(f"regexp_replace({text}, ':[0-9]+$', '')")
