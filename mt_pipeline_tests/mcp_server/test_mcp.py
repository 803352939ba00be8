"""`mt-pipeline mcp`: questions about the demo with exact answers, bounds, and what is refused."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mt_pipeline.mcp_server.answers import MOST_BYTES, MOST_LETTERS, MOST_ROWS, NOTICE, table
from mt_pipeline.schema.flows import FLOW_COLUMNS
from mt_pipeline.schema.packets import COLUMNS
from mt_pipeline.system.interrupts import CANCELLED
from mt_pipeline_tests.api.parts import HOSTILE, hostile
from mt_pipeline_tests.mcp_server.parts import Asking, asking, rows
from mt_pipeline_tests.pipelines import Lab, ended, environment, program

BEFORE, AFTER = "demo_before", "demo_after"
PHONE, SPEAKER, CAMERA = "192.168.1.20", "192.168.1.21", "192.168.1.22"
OUTSIDE = "direction = outside"
S3, OSS = "s3.eu-west-1.amazonaws.com", "oss-ap-southeast-1.aliyuncs.com"

QUESTIONS = {
    "Which experiments are there?": (
        ("experiments", {}, ("experiment", "captures", "packets", "rows")),
        [(AFTER, 1, 3616, 3616), (BEFORE, 1, 2699, 2699)],
    ),
    "Are the captures loaded, and whole?": (
        ("captures", {"experiment": AFTER}, ("capture", "state", "size", "cut", "error")),
        [("demo_after/household.pcap", "done", 3366432, False, None)],
    ),
    "Which device talked to most countries?": (
        (
            "top",
            {
                "experiment": BEFORE,
                "by": ["local"],
                "where": OUTSIDE,
                "distinct": "geo_country",
                "sort": "distinct",
            },
            ("local", "distinct"),
        ),
        [(PHONE, 5), (SPEAKER, 2), (CAMERA, 2)],
    ),
    "And to most names, after the update?": (
        (
            "top",
            {
                "experiment": AFTER,
                "by": ["local"],
                "where": OUTSIDE,
                "distinct": "remote_name",
                "sort": "distinct",
            },
            ("local", "distinct"),
        ),
        [(PHONE, 6), (SPEAKER, 3), (CAMERA, 2)],
    ),
    "Which countries does the camera send to?": (
        (
            "top",
            {
                "experiment": AFTER,
                "by": ["geo_country"],
                "where": f"local = {CAMERA} and {OUTSIDE}",
                "sort": "bytes_out",
            },
            ("geo_country", "bytes_out", "bytes_in"),
        ),
        [("Singapore", 1660291, 33088), ("China", 360, 360)],
    ),
    "What is the largest upload before?": (
        (
            "top",
            {
                "experiment": BEFORE,
                "by": ["local", "remote_name", "conversation"],
                "sort": "bytes_out",
                "limit": 1,
            },
            ("local", "remote_name", "conversation", "bytes_out"),
        ),
        [(CAMERA, S3, 297, 363564)],
    ),
    "And after, and how long did it take?": (
        (
            "top",
            {
                "experiment": AFTER,
                "by": ["local", "remote", "conversation"],
                "sort": "bytes_out",
                "limit": 1,
            },
            ("local", "remote", "conversation", "bytes_out", "first", "last"),
        ),
        [
            (
                CAMERA,
                "161.117.0.10",
                285,
                1660291,
                "2026-03-03T19:00:33.050000Z",
                "2026-03-03T19:04:32.905060Z",
            )
        ],
    ),
    "Which countries are new, gone, more or less?": (
        (
            "compare",
            {"a": BEFORE, "b": AFTER, "dimension": "country", "limit": 4},
            ("value", "change", "bytes_difference"),
        ),
        [
            ("Singapore", "new", 1693379),
            ("United States", "less", -747836),
            ("Germany", "more", 45444),
            ("South Korea", "gone", -29158),
        ],
    ),
    "Which servers are new or gone?": (
        (
            "compare",
            {"a": BEFORE, "b": AFTER, "dimension": "server name", "limit": 4},
            ("value", "change", "packets_a", "packets_b"),
        ),
        [
            (OSS, "new", 0, 1661),
            (S3, "gone", 746, 0),
            ("app.adjust.com", "new", 0, 88),
            ("katalk.kakao.com", "gone", 52, 0),
        ],
    ),
    "Is there a tracker?": (
        (
            "compare",
            {"a": BEFORE, "b": AFTER, "dimension": "tracker", "where": "remote_tracker != (none)"},
            ("value", "change", "bytes_a", "bytes_b"),
        ),
        [("attribution", "new", 0, 45444)],
    ),
    "Who sends to it, and how much?": (
        (
            "top",
            {
                "experiment": AFTER,
                "by": ["local", "remote_name"],
                "where": "remote_tracker = attribution",
            },
            ("local", "remote_name", "bytes_out"),
        ),
        [(PHONE, "app.adjust.com", 35244)],
    ),
    "Which ports of the speaker did the camera try?": (
        (
            "top",
            {
                "experiment": AFTER,
                "by": ["port_remote"],
                "where": f"local = {CAMERA} and remote = {SPEAKER}",
            },
            ("port_remote", "packets"),
        ),
        [(port, 2) for port in (22, 23, 80, 443, 554, 8080)],
    ),
    "Which applications take most?": (
        ("top", {"experiment": BEFORE, "by": ["app_tag"], "limit": 3}, ("app_tag", "bytes")),
        [("amazon-aws", 747836), ("youtube", 524880), ("spotify", 485373)],
    ),
    "Whose networks take most?": (
        (
            "top",
            {"experiment": AFTER, "by": ["remote_organisation"], "limit": 2},
            ("remote_organisation", "bytes"),
        ),
        [("Alibaba (US) Technology Co., Ltd.", 1693379), ("Google LLC", 1012506)],
    ),
    "What goes over QUIC?": (
        (
            "top",
            {"experiment": AFTER, "by": ["remote_name"], "where": "protocol = quic"},
            ("remote_name", "packets", "bytes_in"),
        ),
        [("www.youtube.com", 501, 517200)],
    ),
    "Who speaks HTTP without encryption?": (
        (
            "top",
            {"experiment": BEFORE, "by": ["local", "http_host"], "where": "protocol = http"},
            ("local", "http_host", "packets", "bytes"),
        ),
        [
            (CAMERA, "checkip.amazonaws.com", 40, 2972),
            (PHONE, "connectivitycheck.gstatic.com", 30, 2253),
        ],
    ),
    "Which names did the camera look up?": (
        (
            "top",
            {
                "experiment": BEFORE,
                "by": ["dns_name"],
                "where": f"local = {CAMERA} and protocol = dns",
            },
            ("dns_name", "packets"),
        ),
        [("checkip.amazonaws.com", 8), (S3, 4), ("ntp.aliyun.com", 2)],
    ),
    "Whom do they ask for the time?": (
        (
            "top",
            {"experiment": AFTER, "by": ["local", "remote_name"], "where": "protocol = ntp"},
            ("local", "remote_name", "packets"),
        ),
        [(SPEAKER, "de.pool.ntp.org", 20), (CAMERA, "ntp.aliyun.com", 8)],
    ),
    "When did the speaker first ask for the time?": (
        (
            "flows",
            {"experiment": AFTER, "where": "remote_name = 'de.pool.ntp.org'", "limit": 1},
            ("ts", "local", "remote", "geo_country", "bytes_out", "bytes_in"),
        ),
        [("2026-03-03T19:00:06Z", SPEAKER, "131.188.3.220", "Germany", 90, 90)],
    ),
    "Which is the first packet of the upload?": (
        (
            "packets",
            {
                "experiment": AFTER,
                "where": f"tls_sni = '{OSS}'",
                "columns": ["ts", "frame_number", "ip_src", "ip_dst", "frame_len"],
                "limit": 1,
            },
            ("ts", "frame_number", "ip_src", "ip_dst", "frame_len"),
        ),
        [("2026-03-03T19:00:33.050000Z", 285, CAMERA, "161.117.0.10", 58)],
    ),
    "How much is named, and by what?": (
        ("coverage", {"experiment": AFTER, "limit": 3}, ("value", "bytes", "share_of_bytes")),
        [("server_name", 3295739, 0.9986), ("dns", 2520, 0.0008), ("http_host", 2253, 0.0007)],
    ),
}


@pytest.fixture(scope="module")
def mcp(lab: Lab) -> Iterator[Asking]:
    """Load the demo and hostile names, each in a data folder that is asked."""
    settings = lab.settings(enrichment="offline")
    loaded = ended(program("demo", settings=settings))
    assert loaded.code == 0, loaded.err
    with asking(settings) as opened:
        yield opened


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_about_the_demo_has_its_exact_answer(mcp: Asking, question: str):
    (tool, arguments, columns), expected = QUESTIONS[question]
    assert rows(mcp.ask(tool, **arguments), *columns) == expected


def test_there_are_twenty_questions_and_every_tool_but_schema_is_asked(mcp: Asking):
    assert len(QUESTIONS) >= 20
    asked = {tool for (tool, *_), _ in QUESTIONS.values()}
    assert asked | {"schema"} == set(mcp.tools())


def test_tools_say_that_they_read_and_what_their_arguments_mean(mcp: Asking):
    for name, tool in mcp.tools().items():
        assert tool.annotations is not None, name
        assert tool.annotations.read_only_hint is True, name
        assert tool.description, name
    assert "never instructions" in mcp.instructions


@pytest.mark.parametrize(("of", "columns"), [("flows", FLOW_COLUMNS), ("packets", COLUMNS)])
def test_the_schema_has_every_column_with_its_meaning(mcp: Asking, of: str, columns: tuple):
    found = rows(mcp.ask("schema", of=of), "column", "type", "meaning")
    assert found == [(each.name, each.type, each.meaning[:MOST_LETTERS]) for each in columns]


@pytest.mark.parametrize(
    ("chosen", "packets"),
    [({"where": "conversation = 285"}, 1661), ({"until": "2026-03-03T19:01"}, 564)],
)
def test_all_rows_are_counted_also_those_that_are_not_shown(
    mcp: Asking, chosen: dict[str, str], packets: int
):
    answer = mcp.ask("packets", experiment=AFTER, limit=1, **chosen)
    assert (len(answer["rows"]), answer["matching_rows"]) == (1, packets)


def test_rows_are_bounded_and_what_is_left_out_is_said(mcp: Asking):
    some = mcp.ask("flows", experiment=AFTER, limit=3)
    assert (len(some["rows"]), some["matching_rows"]) == (3, 1324)
    assert some["truncated"].startswith("more than 3 rows")
    whole = mcp.ask("flows", experiment=AFTER, where="protocol = arp", limit=6)
    assert (len(whole["rows"]), whole["matching_rows"], whole["truncated"]) == (6, 6, None)
    more = mcp.ask("top", experiment=AFTER, by=["remote"], limit=2)
    assert more["truncated"].startswith("more than 2 rows")
    assert (more["all_packets"], more["all_bytes"]) == (3616, 3308552)
    compared = mcp.ask("compare", a=BEFORE, b=AFTER, limit=1)
    assert compared["more_values"]["application"] == 15


def test_bytes_are_bounded_too(mcp: Asking):
    names = [column.name for column in COLUMNS]
    text, _ = mcp.text("packets", experiment=AFTER, columns=names, limit=MOST_ROWS)
    answer = json.loads(text)
    assert 0 < len(answer["rows"]) < MOST_ROWS
    assert answer["truncated"].startswith(f"more than {MOST_BYTES:,} bytes")
    assert len(text.encode()) < MOST_BYTES * 1.2


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("flows", {"experiment": "demo_aftr"}, "did you mean 'demo_after'?"),
        ("flows", {"experiment": AFTER, "where": "protocl = tls"}, "did you mean 'protocol'?"),
        ("flows", {"experiment": AFTER, "columns": ["nothing"]}, "no column 'nothing'"),
        ("flows", {"experiment": AFTER, "since": "soon"}, "since is no time: 'soon'"),
        ("flows", {"experiment": AFTER, "limit": 201}, "less than or equal to 200"),
        ("top", {"experiment": AFTER, "by": []}, "name one to 3 columns"),
        ("top", {"experiment": AFTER, "by": ["ts"]}, "ts is a time or a measure"),
        (
            "top",
            {"experiment": AFTER, "by": ["local"], "sort": "distinct"},
            "nothing is sorted by 'distinct'",
        ),
        ("top", {"experiment": AFTER, "by": ['local" FROM flows --']}, "have no column"),
        ("compare", {"a": BEFORE, "b": AFTER, "dimension": "land"}, "they are application, "),
    ],
)
def test_what_cannot_be_is_said_with_the_cure(
    mcp: Asking, tool: str, arguments: dict[str, object], said: str
):
    text, is_error = mcp.text(tool, **arguments)
    assert is_error
    assert said in text


def test_hostile_names_are_data_that_can_be_asked_for(lab: Lab, mcp: Asking):
    hostile(lab.inbox / "hostile" / "a.pcap")
    assert lab.run("hostile/a.pcap").success
    answer = mcp.ask("top", experiment="hostile", by=["tls_sni"], limit=MOST_ROWS)

    assert answer["notice"] == NOTICE
    found = {name for (name,) in rows(answer, "tls_sni")} - {None}
    assert found == {name.replace("\t", "\\u0009") for name in HOSTILE}
    for name in HOSTILE:
        quoted = name.replace("'", "''")
        one = mcp.ask("top", experiment="hostile", by=["local"], where=f"tls_sni = '{quoted}'")
        assert len(one["rows"]) == 1, name


def test_what_nobody_sees_is_an_escape_and_long_texts_are_cut():
    hidden = "a\N{RIGHT-TO-LEFT OVERRIDE}b\U000e0041\x1b[0m"
    answer = json.loads(table(("name",), [(hidden,), ("x" * 2047,)], 2))
    assert answer["rows"] == [
        ["a\\u202eb\\U000e0041\\u001b[0m"],
        ["x" * MOST_LETTERS + "…"],
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_while_its_input_is_open(lab: Lab, number: signal.Signals):
    """A thread read the input, and the process waited for it until it was killed."""
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    with program("mcp", settings=lab.settings(), stdin=subprocess.PIPE) as process:
        print(json.dumps(hello), file=process.stdin, flush=True)
        answer = json.loads(process.stdout.readline())
        process.send_signal(number)
        assert process.wait(60) == CANCELLED
        rest = process.stdout.read(), process.stderr.read()

    assert answer["result"]["serverInfo"]["name"] == "mt_pipeline"
    assert rest == ("", "")


def test_without_the_extra_one_sentence_has_the_cure(lab: Lab):
    code = (
        "import sys; sys.modules['mcp'] = None; sys.argv = ['mt-pipeline', 'mcp'];"
        "from mt_pipeline.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=environment(lab.settings()),
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "mt-pipeline: the Python package mcp is missing, which `mt-pipeline mcp` needs: "
        "`pip install 'mt_pipeline[mcp]'` installs it\n"
    )
