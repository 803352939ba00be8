"""Where a wrong display filter is wrong: tshark's carets, under the right columns."""

import re

import pytest

from mt_pipeline.tshark.errors import FilterError
from mt_pipeline.tshark.filters import WIDTH
from mt_pipeline_tests.tshark.parts import tshark


def refused(display_filter: str) -> FilterError:
    with pytest.raises(FilterError) as caught:
        tshark().check_filter(display_filter)
    return caught.value


@pytest.mark.parametrize(
    ("display_filter", "shown", "carets"),
    [
        ("tcp and foo", "tcp and foo", "        ^~~"),
        ("ip.addr == 1.2.3.400 or udp", "ip.addr == 1.2.3.400 or udp", "           ^~~~~~~~~"),
        ("tcp\tand\nfoo", "tcp and foo", "        ^~~"),
        # tshark places carets by bytes: these have two and three, the last ones two columns each.
        ('dns.qry.name == "é" and foo', 'dns.qry.name == "é" and foo', " " * 24 + "^~~"),
        ('dns.qry.name == "日本" and foo', 'dns.qry.name == "日本" and foo', " " * 27 + "^~~"),
        ("tcp and \x1b[31mfoo", "tcp and \\x1b[31mfoo", "        ^~~~"),
        ("tcp and \u202efoo", "tcp and \\u202efoo", "        ^~~~~~"),
    ],
)
def test_the_carets_stand_below_what_is_wrong(display_filter: str, shown: str, carets: str):
    assert refused(display_filter).excerpt.splitlines() == [shown, carets]


def test_the_sentence_holds_neither_the_lines_nor_the_carets():
    """They were joined to one line, in which the caret pointed at nothing."""
    assert re.fullmatch(
        r"display filter not understood: 'tcp and foo'\. tshark: [^^~\n]*foo[^^~\n]*",
        str(refused("tcp and foo")),
    )


def test_where_tshark_does_not_say_where_there_is_no_excerpt():
    error = refused("tcp &&")

    assert error.excerpt == ""
    assert str(error).endswith("tshark: Unexpected end of filter expression.")


@pytest.mark.parametrize("before", [0, 5, 60])
@pytest.mark.parametrize("after", [0, 60])
def test_of_a_long_filter_the_part_around_the_carets_is_shown(before: int, after: int):
    """A terminal wraps a long line, and the caret stands somewhere."""
    shown, carets = refused("tcp or " * before + "foo" + " or udp" * after).excerpt.splitlines()

    assert shown[carets.index("^") : len(carets)] == "foo"
    assert carets.strip() == "^~~"
    assert len(shown) <= WIDTH
    assert shown.startswith("…") == (before > 5)
    assert shown.endswith("…") == (after > 0)
