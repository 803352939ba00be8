"""Names that some program may misread, for folders, files, server names and labels."""

import string

WORDS = (
    *(
        "null",
        "NULL",
        "NaN",
        "nan",
        "None",
        "true",
        "FALSE",
        "infinity",
        "-Infinity",
        "0",
        "-1",
        "1.5",
        "1e3",
        "0x1f",
        "2020-01-01",
        "127.0.0.1",
    ),
    *(
        "'a'",
        '"a"',
        "$1",
        "${x}",
        "$(x)",
        "%s",
        "%(x)s",
        "{}",
        "{0}",
        "[]",
        "[1,2]",
        "{1,2}",
        '{"a":1}',
        "(a)",
        "now()",
        "$now",
        ":x",
        "@x",
        "::",
    ),
    *(
        "--",
        "x--y",
        "# x",
        r"\N",
        r"\x00",
        "<a>",
        "&amp;",
        "a,b",
        "a;b",
        "a=b",
        "a|b",
        "*",
        "**",
        "?",
        "~",
        "_",
        "%",
        " ",
        " a",
        "a ",
        "a  b",
    ),
    *(
        "\N{LEFT SINGLE QUOTATION MARK}a",
        "“a”",
        "«a»",
        "…",
        "\N{FRACTION SLASH}",
        "名前",
        "é",
        "e\N{COMBINING ACUTE ACCENT}",
        "\N{NO-BREAK SPACE}",
        "\N{FULLWIDTH COMMA}",
        "🙂",
    ),
)
"""Words of databases, of shells and of formats, quotes, and what looks like something else."""

PUNCTUATED = tuple(
    name
    for mark in string.punctuation
    if mark not in "/."
    for name in (f"{mark}x", f"x{mark}x", f"x{mark}", mark, f"{mark}x{mark}")
)
"""All ASCII punctuation that may begin a file name: first, in the middle, last, alone, around."""

ODD = (*dict.fromkeys((*PUNCTUATED, *WORDS, ".x.", "x.x", "x.", "a" * 250)),)
"""All of them."""
