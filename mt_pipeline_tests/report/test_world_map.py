"""The map: where countries lie."""

from mt_pipeline.enrichment.offline.countries import COUNTRIES
from mt_pipeline.report import world_map


def test_countries_with_parts_of_their_own_lie_where_they_are():
    """Parts of the United Kingdom have its code; without a place of their own they hid it."""
    middles = world_map.middles()
    assert middles["United Kingdom"] == (-2.0, 54.0)
    missing = {name for _, name in COUNTRIES.values()} - middles.keys()
    assert missing == {
        "Antarctica",
        "Bonaire, Sint Eustatius, and Saba",
        "Bouvet Island",
        "Kosovo",
        "U.S. Outlying Islands",
    }
