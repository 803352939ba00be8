"""How our own list of services and the user's file go together; `test_services.py` has the list."""

from pathlib import Path

import pytest

from mt_pipeline.enrichment.models import Facts
from mt_pipeline.enrichment.offline.provider import Offline


def of(name: str, apps: Path | None = None) -> tuple[str | None, str | None]:
    [facts] = Offline(apps=apps).look_up("name", [name])
    return (facts.app_tag, facts.app_category_tag) if facts else (None, None)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("api-global.netflix.com", ("netflix", "streaming-media")),
        ("fw.ring.com", ("ring", "device-iot")),
        ("youtubei.googleapis.com", ("youtube", "streaming-media")),
        ("www.googleapis.com", ("google", "portal")),
        ("time.apple.com", ("ntp", "technology")),
        ("notnetflix.com", (None, None)),
        ("com", (None, None)),
    ],
)
def test_well_known_names_have_an_application_out_of_the_box(
    name: str, known: tuple[str | None, str | None]
):
    assert of(name) == known


def test_a_file_of_the_user_wins_over_the_list_which_fills_what_it_does_not_say(tmp_path: Path):
    file = tmp_path / "apps.conf"
    file.write_text(
        "app:1:netify.netflix\ndom:1:netflix.com\n"
        "app:2:lab\ncat:2:education\ndom:2:googleapis.com\n"
        "app:3:zoom\ncat:3:business\ndom:3:meet.example.com\n"
        "app:4:own\ndom:4:own.example.com\ncat:5:nobody\n"
    )
    assert of("www.netflix.com", file) == ("netflix", "streaming-media")
    assert of("youtubei.googleapis.com", file) == ("lab", "education")
    assert of("meet.example.com", file) == ("zoom", "business")
    assert of("own.example.com", file) == ("own", None)
    assert of("www.spotify.com", file) == ("spotify", "streaming-media")


def test_addresses_have_no_application_out_of_the_box():
    [facts] = Offline().look_up("address", ["157.240.1.1"])
    assert facts == Facts(geo_continent="North America", geo_country="United States")
