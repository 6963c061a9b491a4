"""Documents of unknown shape are read without errors."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.doctor.reading import api_objects, routing_objects, scaler_objects, workload_objects
from infscale.doctor.reading.plain_json import MAX_ITEMS, MAX_TEXT, Json
from tests.doctor.reading.fake_api import AUTOSCALER, DEPLOYMENT, POD, POOL

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def test_what_is_there_is_read() -> None:
    found = Json({"a": {"b": [1, "x", True]}, "q": "500m", "t": "2026-11-30T12:00:00Z"})
    first, second, third = found.at("a", "b").items()
    assert (first.whole(), second.text(), third.truth()) == (1, "x", True)
    assert (found.at("q").milli(), found.at("t").seconds()) == (500, 1796040000.0)


@given(VALUES)
def test_nothing_that_can_be_in_json_is_an_error(value: Any) -> None:
    found = Json(value)
    found.at("a", "b")
    for read in (found.text, found.whole, found.truth, found.milli, found.seconds, found.items, found.texts):
        read()
    assert isinstance([*found.entries()], list)
    found.selector()
    found.controller()


def test_texts_and_lists_have_limits() -> None:
    assert len(Json("x" * 100_000).text()) == MAX_TEXT
    assert len(Json([1] * 100_000).items()) == MAX_ITEMS
    assert len([*Json({str(at): at for at in range(5_000)}).entries()]) == MAX_ITEMS


def mutated(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """`document` with another value at `path`."""
    if not path:
        return value
    head, *rest = path
    if isinstance(document, dict):
        return {**document, head: mutated(document.get(head), tuple(rest), value)}
    if isinstance(document, list):
        return [mutated(each, tuple(rest), value) if at == head else each for at, each in enumerate(document)]
    return document


def paths(document: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here]
    entries = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, each in entries:
        found += paths(each, (*here, key))
    return found


READERS: Mapping[str, tuple[Any, Callable[[Json], object]]] = {
    "autoscaler": (AUTOSCALER, scaler_objects.autoscaler),
    "deployment": (DEPLOYMENT, lambda item: workload_objects.workload(item, "Deployment")),
    "pod": (POD, lambda item: workload_objects.pod(item, {})),
    "pool": (POOL, routing_objects.pool),
    "route": ({"spec": {"rules": [{"backendRefs": [{"name": "a"}]}], "parentRefs": [{}]}}, routing_objects.route),
    "api service": (
        {"spec": {"service": {"name": "a"}, "caBundle": "x"}, "status": {"conditions": [{"type": "Available"}]}},
        lambda item: api_objects.api_service("v1beta1.custom.metrics.k8s.io", item),
    ),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("odd", [None, 7, -1, "x", [], {}, [None], True, float("nan"), 2**80], ids=repr)
def test_an_object_with_an_odd_value_anywhere_is_read(name: str, odd: Any) -> None:
    document, read = READERS[name]
    for path in paths(document):
        read(Json(mutated(document, path, odd)))
