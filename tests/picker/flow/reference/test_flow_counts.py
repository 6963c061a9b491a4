"""Counts of what waits, by the labels that clients name."""

from hypothesis import given
from hypothesis import strategies as st

from picker.flow.reference.flow_counts import MAX_NAME_CHARACTERS, MAX_SERIES, OTHER, FlowCounts
from picker.flow.reference.queue_outcomes import QueueOutcome

GONE = QueueOutcome.DISPATCHED
FULL = QueueOutcome.REJECTED_CAPACITY


def test_what_waits_is_counted_until_its_wait_ends() -> None:
    counts = FlowCounts()
    labels = counts.labels("a", 3, "pool", "m", "t")
    counts.waits(labels, 100, 0.0002)
    counts.waits(labels, 50, 0.0002)
    counts.ended(labels, GONE, 100, 0.5)
    held = counts.held[labels]
    assert (held.requests, held.size_bytes) == (1, 50)
    assert counts.waited[labels, GONE].total == 0.5
    assert counts.entered["a", "3", GONE].count == 2
    assert counts.outcomes == {(GONE, "3", "pool"): 1}


def test_what_does_not_get_to_wait_is_an_outcome_too() -> None:
    counts = FlowCounts()
    labels = counts.labels("a", 0, "pool", "m", "t")
    counts.refused(labels, FULL, 0.0001)
    assert counts.held == {}
    assert counts.outcomes == {(FULL, "0", "pool"): 1}
    assert counts.entered["a", "0", FULL].count == counts.waited[labels, FULL].count == 1


def test_names_that_are_too_long_have_no_counts_of_their_own() -> None:
    counts = FlowCounts()
    for place in range(3):
        names = ["f", "m", "t"]
        names[place] = "x" * (MAX_NAME_CHARACTERS + 1)
        flow, model, target = names
        assert counts.labels(flow, 1, "pool", model, target) == (OTHER, "1", "pool", OTHER, OTHER)


@given(st.lists(st.integers(0, 3 * MAX_SERIES), max_size=3 * MAX_SERIES))
def test_only_so_many_names_have_counts_of_their_own(flows: list[int]) -> None:
    counts = FlowCounts()
    for flow in flows:
        labels = counts.labels(str(flow), 0, "pool", "m", "t")
        counts.waits(labels, 1, 0.0)
    assert len(counts.held) <= MAX_SERIES + 1
    assert sum(each.requests for each in counts.held.values()) == len(flows)
