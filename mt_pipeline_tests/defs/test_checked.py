"""What was checked of the captures of a run, summed up."""

from contextlib import suppress
from dataclasses import dataclass, field

import dagster as dg
import pytest

from mt_pipeline.backends.loads import FlowsDiffer, Loaded, RowsMissing, Stored
from mt_pipeline.defs import checks
from mt_pipeline.defs.events import observing
from mt_pipeline_tests.observers import documents_read


def summed_up(*counts: tuple[int, int]) -> dg.AssetCheckEvaluation:
    """Check captures of so many packets, of which the capture has so many."""
    evaluations = checks.Evaluations()
    for number, (packets, counted) in enumerate(counts):
        evaluations.add(read(f"x/{number}.pcap", packets, counted))
    [evaluation] = evaluations.summed_up()
    return evaluation


def read(key: str, packets: int, counted: int) -> dg.AssetCheckEvaluation:
    return checks.packets_read(documents_read(key, packets=packets, counted=counted))


def test_one_capture_is_told_as_it_is():
    assert summed_up((3, 4)) == read("x/0.pcap", 3, 4)


def test_several_that_pass_are_counted_and_their_numbers_summed_up():
    evaluation = summed_up((3, 3), (5, 5), (0, 0))
    assert evaluation.passed
    assert (
        evaluation.description
        == "all 3 captures, the last of them x/2.pcap: 0 packets read, the capture has 0"
    )
    assert {name: number.value for name, number in evaluation.metadata.items()} == {
        "captures": 3,
        "failed": 0,
        "packets": 8,
        "counted": 8,
    }
    assert (evaluation.asset_key, evaluation.check_name, evaluation.severity) == (
        dg.AssetKey("tshark_json"),
        "packets_read",
        dg.AssetCheckSeverity.WARN,
    )


@pytest.mark.parametrize("wrong", [1, 10, 12])
def test_those_that_fail_are_named_the_first_ones_of_many(wrong: int):
    evaluation = summed_up((1, 1), *[(0, number) for number in range(1, wrong + 1)], (2, 2))
    assert not evaluation.passed
    first, *lines = evaluation.description.split("\n")
    assert first == f"{wrong} of {wrong + 2} captures:"
    assert lines[:10] == [
        f"x/{number}.pcap: 0 packets read, the capture has {number}"
        for number in range(1, min(wrong, 10) + 1)
    ]
    assert lines[10:] == (["… and 2 more"] if wrong == 12 else [])
    assert evaluation.metadata["failed"].value == wrong


@dataclass
class Context:
    """Takes events, as that of a run does."""

    events: list[dg.AssetCheckEvaluation] = field(default_factory=list)

    def log_event(self, event: dg.AssetCheckEvaluation) -> None:
        self.events.append(event)


def test_a_run_logs_each_check_once_also_if_it_ends_early_and_nothing_if_nothing_was_checked():
    context = Context()
    with observing(context, grafana=None):
        pass
    assert context.events == []
    loaded = Loaded(rows=1, read=3, skipped={}, replaced=0, has_view=True)
    with suppress(KeyboardInterrupt), observing(context, grafana=None) as observer:
        observer.load_mismatch("x/a.pcap", RowsMissing("missing", "x/a.pcap", loaded))
        observer.load_mismatch("x/b.pcap", RowsMissing("missing", "x/b.pcap", loaded))
        observer.load_mismatch("x/c.pcap", FlowsDiffer("differ", Stored(rows=1)))
        raise KeyboardInterrupt
    assert [(one.check_name, one.passed) for one in context.events] == [
        ("rows_stored", False),
        ("flows_reconciled", False),
    ]
