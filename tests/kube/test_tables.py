"""What a watch's cache holds, and when it says that something changed."""

import logging
from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import ObjectKey
from infscale.kube import watched_objects as objects
from infscale.kube.tables import Refusals, Table, read_pod_again
from infscale.kube.watched_objects import PodRecord, key_of
from tests.kube import cluster_objects as made


class Changes:
    """Counts calls."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
def records() -> dict[ObjectKey, PodRecord]:
    return {}


@pytest.fixture
def table(records: dict[ObjectKey, PodRecord], changes: Changes) -> Table[PodRecord]:
    return Table(records, read_pod_again, changes)


def hold(table: Table[PodRecord], items: Collection[made.Json]) -> None:
    """Take a whole list in, as the reflector does."""
    for item in items:
        table.put(item)
    table.retain({key_of(item) for item in items})


def test_a_version_that_means_the_same_changes_nothing(
    table: Table[PodRecord], records: dict[ObjectKey, PodRecord], changes: Changes
) -> None:
    table.put(made.pod())
    (before,) = records.values()
    table.put(made.pod(resourceVersion="2"))
    assert next(iter(records.values())) is before
    assert changes.count == 1


def test_a_list_replaces_what_was_seen(
    table: Table[PodRecord], records: dict[ObjectKey, PodRecord], changes: Changes
) -> None:
    hold(table, [made.pod("a"), made.pod("b")])
    hold(table, [made.pod("b"), made.pod("c")])
    assert {key.name for key in records} == {"b", "c"}
    assert changes.count == 4
    hold(table, [made.pod("c"), made.pod("b")])
    assert changes.count == 4


def test_watches_of_several_namespaces_share_records(
    table: Table[PodRecord], records: dict[ObjectKey, PodRecord], changes: Changes
) -> None:
    other = Table(records, read_pod_again, changes)
    hold(table, [made.pod("a")])
    hold(other, [made.pod("a", namespace="other")])
    hold(table, [])
    assert list(records) == [ObjectKey("other", "a")]


def test_what_is_unknown_can_be_removed(table: Table[PodRecord], changes: Changes) -> None:
    table.remove(made.pod())
    assert changes.count == 0


def test_a_refusal_is_counted_and_said_once(caplog: pytest.LogCaptureFixture, changes: Changes) -> None:
    refusals = Refusals()
    table = Table({}, refusals.reading(objects.POOL), changes)
    bad = made.pool()
    bad["spec"]["targetPorts"] = []
    with caplog.at_level(logging.ERROR):
        table.put(made.pool())
        table.put(bad)
        table.put(bad)
    assert refusals.count == 1
    assert caplog.messages == [
        "InferencePool chat/pool cannot be used, what it said before stays: "
        "spec.targetPorts: expected 1 to 8 ports, got 0"
    ]


EVENTS = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["", "10.0.0.1", None])), max_size=12)


@given(EVENTS)
def test_a_list_and_the_events_that_lead_to_it_hold_the_same(events: list[tuple[str, str | None]]) -> None:
    followed: dict[ObjectKey, PodRecord] = {}
    listed: dict[ObjectKey, PodRecord] = {}
    table = Table(followed, read_pod_again, Changes())
    present: dict[str, made.Json] = {}
    for name, address in events:
        if address is None:
            table.remove(made.pod(name))
            present.pop(name, None)
        else:
            present[name] = made.pod(name, address)
            table.put(present[name])
    hold(Table(listed, read_pod_again, Changes()), present.values())
    assert followed == listed
