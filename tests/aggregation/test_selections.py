"""Rows that are remembered are those of the endpoints that discovery says now."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from infscale.aggregation.selections import Selections
from infscale.endpoint import ObjectKey
from infscale.labels import Selector
from infscale.metrics.snapshot import PoolSnapshot
from tests.adapter.support import World, described


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
            (part,) = selections.of_pods([snapshot_of(world)], None, Selector())
        assert part.rows is not None
        rows: list[bool] = part.rows.tolist()
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
        (part,) = selections.of_object([snapshot_of(world)], found)
        assert part.rows is not None
        assert part.rows.tolist() == expected
