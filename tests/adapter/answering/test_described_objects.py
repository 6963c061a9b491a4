"""The objects that are remembered are those that discovery says now."""

from dataclasses import replace

from adapter.answering.described_objects import DescribedObjects
from adapter.api.paths import GroupResource
from infscale.endpoint import DescribedObject, DiscoveryState, ObjectKey
from infscale.labels import Selector
from tests.adapter.support import described

DEPLOYMENTS = GroupResource("deployments", "apps")


def names(known: DescribedObjects, state: DiscoveryState, namespace: str) -> list[str]:
    return list(known.of(state, DEPLOYMENTS, namespace))


def test_objects_are_those_of_the_state_that_is_asked_about() -> None:
    known = DescribedObjects()
    one = described("deployments", "apps", "Deployment", "one", {"a": "b"})
    other = replace(one, key=ObjectKey("other", "two"))
    first, second = DiscoveryState(objects=(one,)), DiscoveryState(objects=(one, other))
    assert (names(known, first, "llm"), names(known, first, "other")) == (["one"], [])
    assert (names(known, second, "llm"), names(known, second, "other")) == (["one"], ["two"])
    assert names(known, DiscoveryState(), "llm") == []


def test_namespaces_are_told_from_all_namespaces() -> None:
    found = [
        DescribedObject("", "v1", "Namespace", "namespaces", ObjectKey(name, name), Selector()) for name in ("a", "b")
    ]
    assert list(DescribedObjects().namespaces(DiscoveryState(objects=tuple(found)))) == found
