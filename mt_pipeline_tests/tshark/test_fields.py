"""The list of fields against what this tshark says of them."""

import subprocess

from mt_pipeline.tshark.fields import FIELDS
from mt_pipeline_tests.tshark.parts import tshark


def test_tshark_knows_every_field_and_text_is_asked_for_once():
    """Regression: a comma in a server name was taken for the separator of two names."""
    listed = subprocess.run(
        [tshark().program, "-G", "fields"], capture_output=True, check=True, text=True
    ).stdout
    kinds = {
        parts[2]: parts[3]
        for parts in (line.split("\t") for line in listed.splitlines())
        if parts[0] == "F"
    }
    assert {name for field in FIELDS for name in field.also} <= kinds.keys()
    assert {field.name for field in FIELDS if kinds[field.name] in ("FT_STRING", "FT_STRINGZ")} <= {
        *(field.name for field in FIELDS if field.first_only),
        "dns.resp.name",  # dns.resp.type tells how many there are
    }


def test_keys_are_the_names_that_elasticsearch_takes():
    keys = [field.key for field in FIELDS]
    assert len(set(keys)) == len(keys)
    assert all(key.replace("_", "a").isalnum() for key in keys)
    assert keys[1] == "frame_time_epoch"
