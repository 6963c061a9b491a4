"""Documents are read for what they say: what is missing is unknown, what has another form is refused with its place."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.viewing.document_parts import DocumentError
from infscale.viewing.seen_documents import Documents, Seen, seen
from tests.viewing.documents_of_stores import HOSTILE, POOL, documents, looked_at


def test_a_stores_document_is_read_whole() -> None:
    found = looked_at()
    pool = found.pool(POOL)
    assert pool is not None
    first, second, third, fourth = pool.endpoints
    assert (first.fresh, second.fresh, third.age_seconds, fourth.phase) == (True, False, None, "starting")
    assert (first.numbers["waiting_requests"], third.numbers["waiting_requests"]) == (6.0, None)
    assert set(first.models) == {"llama", HOSTILE}
    assert first.models[HOSTILE].running is None
    assert first.lora is not None
    assert first.lora.running == ("sql",)
    assert third.failure is not None
    assert third.failure.cause == "connection refused"
    assert set(pool.by_model) == {"llama", HOSTILE, "sql"}
    assert "only 1 of 3 ready endpoints" in pool.values["waiting_requests"].cause
    assert found.picks is not None
    assert found.picks[0].destinations[1] == ("", "10.0.0.9:8000")
    assert found.autoscalers is not None
    assert found.autoscalers[0].metrics[1].told.cause == "no exporter"


def test_documents_that_are_not_there_are_unknown() -> None:
    found = seen(Documents({"pools": []}))
    assert (found.pools, found.picks, found.autoscalers, found.triggers) == ((), None, None, None)


def test_of_a_trigger_the_reason_of_a_value_is_no_cause_of_a_refusal() -> None:
    found = looked_at().triggers
    assert found is not None
    known, refused, *_ = found
    assert (known.value.value, known.value.cause, known.why[:6]) == (2.25, "", "2 pods")
    assert (refused.value.value, refused.value.cause, refused.why) == (None, "the metric is unknown now", "")


def test_an_older_document_without_loads_of_models_has_their_names() -> None:
    endpoint = {"endpoint": "a/b", "models": ["m"]}
    (pool,) = seen(Documents({"pools": [{"pool": "a/p", "endpoints": [endpoint]}]})).pools
    (only,) = pool.endpoints
    assert (only.models["m"].waiting, only.age_seconds, only.fresh) == (None, None, False)


@pytest.mark.parametrize(
    ("snapshot", "message"),
    [
        ([], "snapshot: expected an object"),
        ({"pools": {}}, "snapshot.pools: expected a list"),
        ({"pools": [3]}, "snapshot.pools[0]: expected an object"),
        ({"pools": [{"pool": 3}]}, "snapshot.pools[0].pool: expected a text"),
        ({"pools": [{"window_seconds": True}]}, "snapshot.pools[0].window_seconds: expected a number"),
        ({"pools": [{"endpoints": [{"fresh": 1}]}]}, "snapshot.pools[0].endpoints[0].fresh: expected true or false"),
        ({"pools": [{"endpoints": [{"models": [1]}]}]}, "snapshot.pools[0].endpoints[0].models: expected texts"),
        ({"pools": [{"values": {"a": 1}}]}, "snapshot.pools[0].values.a: expected an object"),
    ],
)
def test_another_form_is_refused_with_its_place(snapshot: Any, message: str) -> None:
    with pytest.raises(DocumentError, match=message.replace("[", r"\[")):
        seen(Documents(snapshot))


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e300, -1e300])
def test_a_number_that_is_none_is_unknown(value: float) -> None:
    (pool,) = seen(Documents({"pools": [{"window_seconds": value}]})).pools
    assert pool.window_seconds is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@given(st.data())
def test_whatever_stands_in_a_document_it_is_read_or_refused(data: st.DataObject) -> None:
    whole: Any = documents()
    broken = {
        "snapshot": whole.snapshot,
        "picks": whole.picks,
        "autoscalers": whole.autoscalers,
        "triggers": whole.triggers,
    }
    part: Any = broken
    while True:
        key = data.draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
        if not isinstance(part[key], dict | list) or not part[key] or data.draw(st.integers(0, 3)) == 0:
            part[key] = data.draw(_JSON)
            break
        part = part[key]
    with suppress(DocumentError):
        assert isinstance(seen(Documents(**broken)), Seen)
