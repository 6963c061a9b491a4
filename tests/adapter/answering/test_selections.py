"""What is remembered of discovery is what discovery says now."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from adapter.answering.selections import Selections
from adapter.api.paths import GroupResource
from infscale.endpoint import DescribedObject, DiscoveryState, ObjectKey
from infscale.labels import Selector
from infscale.metrics.snapshot import PoolSnapshot
from tests.adapter.support import World, described

DEPLOYMENTS = GroupResource("deployments", "apps")


def snapshot_of(world: World, pool: str = "a") -> PoolSnapshot:
    found = world.store.snapshot(ObjectKey("llm", pool))
    assert found is not None
    return found


def test_rows_are_found_once_as_long_as_the_endpoints_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    world, selections = World(a=4), Selections()
    asked: list[Mapping[str, str]] = []

    def matches(_: Selector, labels: Mapping[str, str]) -> bool:
        asked.append(labels)
        return labels["half"] == "1"

    def picked() -> list[bool]:
        # The store chooses members by selectors too; only what answers ask for counts.
        with monkeypatch.context() as patch:
            patch.setattr(Selector, "matches", matches)
            rows: list[bool] = selections.of_pods(snapshot_of(world), None, Selector()).tolist()
        return rows

    for _ in range(3):
        assert picked() == [False, True, False, True]
        world.report("a-0", 100.0)
    assert len(asked) == 4
    world.store.sync(replace(world.state, endpoints=world.state.endpoints[:2]))
    assert picked() == [False, True]


def test_an_object_that_changes_its_selector_has_other_rows() -> None:
    world, selections = World(a=2), Selections()
    for half, expected in (("0", [True, False]), ("1", [False, True]), ("0", [True, False])):
        found = described("deployments", "apps", "Deployment", "d", {"half": half})
        assert selections.of_object(snapshot_of(world), found).tolist() == expected


def names(selections: Selections, state: DiscoveryState, namespace: str) -> list[str]:
    return list(selections.objects(state, DEPLOYMENTS, namespace))


def test_objects_are_those_of_the_state_that_is_asked_about() -> None:
    selections = Selections()
    one = described("deployments", "apps", "Deployment", "one", {"a": "b"})
    other = replace(one, key=ObjectKey("other", "two"))
    first, second = DiscoveryState(objects=(one,)), DiscoveryState(objects=(one, other))
    assert (names(selections, first, "llm"), names(selections, first, "other")) == (["one"], [])
    assert (names(selections, second, "llm"), names(selections, second, "other")) == (["one"], ["two"])
    assert names(selections, DiscoveryState(), "llm") == []


def test_namespaces_are_told_from_all_namespaces() -> None:
    found = [
        DescribedObject("", "v1", "Namespace", "namespaces", ObjectKey(name, name), Selector()) for name in ("a", "b")
    ]
    assert list(Selections().namespaces(DiscoveryState(objects=tuple(found)))) == found
