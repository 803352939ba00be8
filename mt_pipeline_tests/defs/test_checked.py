"""What was checked of the captures of a run, summed up."""

from contextlib import suppress
from dataclasses import dataclass, field

import dagster as dg
import pytest

from mt_pipeline.defs import checks
from mt_pipeline.defs.checked import Checked


@dataclass
class Context:
    """Takes events, as that of a run does."""

    events: list[dg.AssetCheckEvaluation] = field(default_factory=list)

    def log_event(self, event: dg.AssetCheckEvaluation) -> None:
        self.events.append(event)


def told(*counts: tuple[int, int]) -> dg.AssetCheckEvaluation:
    """Check captures of so many packets, of which the capture has so many."""
    context = Context()
    with Checked.told(context) as checked:
        for number, (packets, counted) in enumerate(counts):
            checked.add(checks.packets_read(f"x/{number}.pcap", packets=packets, counted=counted, display_filter=""))
    [evaluation] = context.events
    return evaluation


def test_one_capture_is_told_as_it_is():
    assert told((3, 4)) == checks.packets_read("x/0.pcap", packets=3, counted=4, display_filter="")


def test_several_that_pass_are_counted_and_their_numbers_summed_up():
    evaluation = told((3, 3), (5, 5), (0, 0))
    assert evaluation.passed
    assert evaluation.description == "all 3 captures, the last of them x/2.pcap: 0 packets read, the capture has 0"
    assert {name: number.value for name, number in evaluation.metadata.items()} == {"captures": 3, "failed": 0, "packets": 8, "counted": 8}
    assert (evaluation.asset_key, evaluation.check_name, evaluation.severity) == (
        dg.AssetKey("tshark_json"),
        "packets_read",
        dg.AssetCheckSeverity.WARN,
    )


@pytest.mark.parametrize("wrong", [1, 10, 12])
def test_those_that_fail_are_named_the_first_ones_of_many(wrong: int):
    evaluation = told((1, 1), *[(0, number) for number in range(1, wrong + 1)], (2, 2))
    assert not evaluation.passed
    first, *lines = evaluation.description.split("\n")
    assert first == f"{wrong} of {wrong + 2} captures:"
    assert lines[:10] == [f"x/{number}.pcap: 0 packets read, the capture has {number}" for number in range(1, min(wrong, 10) + 1)]
    assert lines[10:] == (["… and 2 more"] if wrong == 12 else [])
    assert evaluation.metadata["failed"].value == wrong


def test_checks_of_different_names_are_told_apart_also_if_the_run_ends_early_and_nothing_checked_is_nothing_told():
    context = Context()
    with Checked.told(context):
        pass
    assert context.events == []
    with suppress(KeyboardInterrupt), Checked.told(context) as checked:
        checked.add(
            checks.packets_read("x/a.pcap", packets=1, counted=1, display_filter=""),
            dg.AssetCheckEvaluation(dg.AssetKey("questdb_packets"), "rows_stored", True),
        )
        raise KeyboardInterrupt
    assert [one.check_name for one in context.events] == ["packets_read", "rows_stored"]
