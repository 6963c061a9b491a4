"""Lists of values and refusals are written as the API's types are, byte for byte."""

import math
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.answering.metric_lists import external_list, label_selector, object_list, quantity, status
from adapter.answering.provider import ExternalValue, ExternalValues, Kind, ObjectValues
from adapter.api.documents import Clock
from adapter.api.paths import CustomVersion, ExternalRequest, GroupResource, ObjectRequest
from adapter.errors import NotFound, TooManyRequests, Unavailable
from infscale.endpoint import ObjectKey
from infscale.labels import Selector
from infscale.metrics.sample import Reading
from infscale.quantity import parse_quantity
from tests.adapter.support import clock


def listed(version: CustomVersion, metric_labels: str = "", window: float | None = None) -> Any:
    request = ObjectRequest(
        version, GroupResource("pods"), "llm", "*", "m", metric_labels=Selector.parse(metric_labels)
    )
    items = ((ObjectKey("llm", "p"), Reading(1.5, 97.0)), (ObjectKey("llm", "nan"), Reading(math.nan, 97.0)))
    return orjson.loads(object_list(request, ObjectValues(Kind("Pod", "v1"), items, "s1.42", window), clock()))


def test_a_v1beta1_list_has_exactly_these_fields() -> None:
    assert listed(CustomVersion.V1BETA1, window=30.0) == {
        "kind": "MetricValueList",
        "apiVersion": "custom.metrics.k8s.io/v1beta1",
        "metadata": {"resourceVersion": "s1.42"},
        "items": [
            {
                "describedObject": {"kind": "Pod", "namespace": "llm", "name": "p", "apiVersion": "v1"},
                "metricName": "m",
                "timestamp": "2026-08-20T09:59:57Z",
                "window": 30,
                "value": "1500m",
                "selector": None,
            }
        ],
    }


def test_a_v1beta2_item_names_its_metric_with_its_selector() -> None:
    (item,) = listed(CustomVersion.V1BETA2, "model_key=x,pool!=b")["items"]
    assert item["metric"] == {
        "name": "m",
        "selector": {
            "matchLabels": {"model_key": "x"},
            "matchExpressions": [{"key": "pool", "operator": "NotIn", "values": ["b"]}],
        },
    }
    assert "window" not in item
    assert "windowSeconds" not in item
    assert "selector" not in item


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"),
        (1e-7, "0"),
        (-1e-7, "0"),
        (1e-6, "1u"),
        (0.25, "250m"),
        (1000.0, "1k"),
        (85899345920.0, "85899345920"),
        (math.nan, None),
        (math.inf, None),
        (-math.inf, None),
        (1e30, None),
    ],
)
def test_values_are_quantities_and_what_is_none_is_left_out(value: float, written: str | None) -> None:
    assert quantity(value) == written


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_value_is_written_as_a_quantity_near_it_or_not_at_all(value: float) -> None:
    written = quantity(value)
    if written is None:
        assert not abs(value) <= 2**63
    else:
        assert math.isclose(float(parse_quantity(written)), value, rel_tol=1e-9, abs_tol=1e-6)


def test_a_status_says_code_reason_and_message() -> None:
    assert orjson.loads(status(Unavailable("unknown now: 3 s old"))) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "unknown now: 3 s old",
        "reason": "ServiceUnavailable",
        "code": 503,
    }
    assert orjson.loads(status(TooManyRequests("busy")))["details"] == {"retryAfterSeconds": 1}


def test_a_status_can_say_anything() -> None:
    """A message with a lone surrogate is still JSON."""
    assert orjson.loads(status(NotFound("a\udcffb")))["message"] == "a?b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("a=b", {"matchLabels": {"a": "b"}}),
        ("a in (b,c)", {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b", "c"]}]}),
        ("!a", {"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}),
    ],
)
def test_a_selector_is_written_as_a_label_selector(text: str, expected: object) -> None:
    assert label_selector(Selector.parse(text)) == expected


_NAMES = st.one_of(
    st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1, max_size=20),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
_READINGS = st.builds(Reading, st.floats(), st.floats(-1e9, 1e9))
_WINDOWS = st.one_of(st.none(), st.floats(0, 1e6))
_SELECTORS = st.sampled_from(["", "a=b", "a in (b,c),!d"]).map(Selector.parse)
_MOMENT = Clock(1000.0, datetime(2026, 1, 1, tzinfo=UTC))


def encoded(kind: str, api_version: str, revision: str, items: list[dict[str, Any]]) -> bytes:
    metadata = {"resourceVersion": revision} if revision else {}
    items = [{name: value for name, value in each.items() if value is not ...} for each in items]
    return orjson.dumps({"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items})


@given(
    st.lists(st.tuples(st.builds(ObjectKey, st.one_of(st.just("llm"), _NAMES), _NAMES), _READINGS), max_size=8),
    st.builds(Kind, _NAMES, _NAMES),
    st.sampled_from(CustomVersion),
    _NAMES,
    _SELECTORS,
    _WINDOWS,
)
def test_lists_of_objects_are_what_an_encoder_makes_of_the_whole(
    items: list[tuple[ObjectKey, Reading]],
    kind: Kind,
    version: CustomVersion,
    metric: str,
    selector: Selector,
    window: float | None,
) -> None:
    request = ObjectRequest(version, GroupResource("pods"), "llm", "*", metric, metric_labels=selector)
    seconds = ... if window is None else round(window)
    first, chosen = version is CustomVersion.V1BETA1, label_selector(selector)
    plain = [
        {
            "describedObject": {
                "kind": kind.kind,
                **({"namespace": key.namespace} if key.namespace else {}),
                "name": key.name,
                "apiVersion": kind.api_version,
            },
            "metricName" if first else "metric": metric if first else {"name": metric, "selector": chosen},
            "timestamp": _MOMENT.rfc3339(reading.at),
            "window" if first else "windowSeconds": seconds,
            "value": quantity(reading.value),
            "selector": chosen if first else ...,
        }
        for key, reading in items
        if quantity(reading.value) is not None
    ]
    written = object_list(request, ObjectValues(kind, tuple(items), "s1.7", window), _MOMENT)
    assert written == encoded("MetricValueList", f"custom.metrics.k8s.io/{version.value}", "s1.7", plain)


@given(
    st.lists(st.tuples(st.dictionaries(_NAMES, _NAMES, max_size=3), _READINGS), max_size=5),
    _NAMES,
    _WINDOWS,
    st.sampled_from(["", "s1.7"]),
)
def test_external_lists_are_what_an_encoder_makes_of_the_whole(
    items: list[tuple[dict[str, str], Reading]], metric: str, window: float | None, revision: str
) -> None:
    values = ExternalValues(tuple(ExternalValue(*each) for each in items), revision, window)
    plain = [
        {
            "metricName": metric,
            "metricLabels": labels,
            "timestamp": _MOMENT.rfc3339(reading.at),
            "window": ... if window is None else round(window),
            "value": quantity(reading.value),
        }
        for labels, reading in items
        if quantity(reading.value) is not None
    ]
    written = external_list(ExternalRequest("llm", metric), values, _MOMENT)
    assert written == encoded("ExternalMetricValueList", "external.metrics.k8s.io/v1beta1", revision, plain)
