"""Documents have the shapes of the API server's, checked against recorded answers of prometheus-adapter."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.documents import Clock, constant_documents, label_selector, object_list, quantity, status
from adapter.errors import ApiError, NotFound, TooManyRequests, Unavailable
from adapter.paths import CustomVersion, Document, GroupResource, ObjectRequest, parse
from adapter.provider import Kind, ObjectValues
from adapter.responder import Reply, Responder, refusal
from infscale.endpoint import ObjectKey
from infscale.labels import Selector
from infscale.metrics.published import PUBLISHED
from infscale.metrics.sample import Reading
from infscale.quantity import parse_quantity
from tests.adapter.support import clock, golden_world, vectors

DOCUMENTS = constant_documents(["queue_depth"], "0.1.0")

UNRECORDED = {
    # The recorded server also speaks YAML, refuses Tables, knows users, and has documents of its own making.
    "accept-yaml",
    "accept-table",
    "root",
    "version",
    "apis",
    "v1beta1",
    "v1beta2",
    "external-v1beta1",
}
IGNORED_BY_FIXTURE = {"metric-selector-none", "empty-namespace", "external-empty-namespace"}
DIFFERENT = {
    # Deliberate: an unknown kind of object is not found, a selector that does not parse is the client's fault.
    "unknown-resource": 404,
    "bad-metric-selector": 400,
}


def golden() -> list[Any]:
    return [
        pytest.param(case, id=case["name"])
        for case in vectors("metrics_api_golden.json")["cases"]
        if case["name"] not in UNRECORDED | IGNORED_BY_FIXTURE
        and case["identity"].startswith("client certificate, organisation system:masters")
    ]


def answered(method: str, target: str) -> Reply:
    path, _, query = target.partition("?")
    try:
        request = parse(method, unquote(path), query)
    except ApiError as error:
        return refusal(error)
    return Responder(golden_world(), DOCUMENTS).answer(request, clock())


def shape(document: Any) -> Any:
    """The keys of a document and the values that do not depend on time and place."""
    if isinstance(document, Mapping):
        fixed: dict[str, Any] = dict(document)  # pyright: ignore[reportUnknownArgumentType]
        for name in ("message", "details", "resourceVersion"):
            fixed.pop(name, None)
        shown = {key: shape(value) for key, value in fixed.items()}
        shown |= {name: "…" for name in ("value", "timestamp") if name in shown}
        if "apiVersion" in shown:
            shown["apiVersion"] = shown["apiVersion"].lstrip("/")
        return shown
    if isinstance(document, list):
        return [shape(each) for each in document]  # pyright: ignore[reportUnknownVariableType]
    return document


@pytest.mark.parametrize("case", golden())
def test_answers_have_the_shape_of_the_recorded_ones(case: dict[str, Any]) -> None:
    reply = answered(case["method"], case["path"])
    assert reply.code == DIFFERENT.get(case["name"], case["status"]), reply.body
    if case["name"] in DIFFERENT:
        return
    body = orjson.loads(reply.body)
    assert shape(body) == shape(case["json"])
    if case["status"] == 404:
        assert body["message"].startswith(case["json"]["message"].removesuffix("s"))


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


def test_pretty_documents_say_the_same() -> None:
    request = ObjectRequest(CustomVersion.V1BETA2, GroupResource("pods"), "llm", "*", "m", pretty=True)
    values = ObjectValues(Kind("Pod", "v1"), ((ObjectKey("llm", "p"), Reading(1.0, 1.0)),), "s1.1")
    assert b"\n" in object_list(request, values, clock())


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


def test_timestamps_are_the_reading_s_second_in_utc() -> None:
    moment = Clock(50.0, datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC))
    assert moment.rfc3339(50.0) == "2026-01-01T00:00:00Z"
    assert moment.rfc3339(49.4) == "2025-12-31T23:59:59Z"


def test_a_resource_has_one_scope_in_every_discovery_entry() -> None:
    """Two scopes under one parent make the whole group version stale in the cluster."""
    documents = constant_documents([metric.name for metric in PUBLISHED], "0.1.0")
    for document in (Document.CUSTOM_V1BETA1, Document.CUSTOM_V1BETA2):
        resources = orjson.loads(documents[document].body)["resources"]
        scopes: dict[str, set[bool]] = {}
        for resource in resources:
            scopes.setdefault(resource["name"].split("/")[0], set()).add(resource["namespaced"])
        assert all(len(each) == 1 for each in scopes.values())
        assert scopes["namespaces"] == {False}
        assert scopes["pods"] == {True}
        assert len(resources) == len({each["name"] for each in resources}) == 4 * len(PUBLISHED)


@pytest.mark.parametrize(
    ("document", "kind", "name"),
    [
        (Document.GROUPS, "APIGroupList", None),
        (Document.CUSTOM, "APIGroup", "custom.metrics.k8s.io"),
        (Document.EXTERNAL, "APIGroup", "external.metrics.k8s.io"),
    ],
)
def test_groups_prefer_the_version_every_cluster_knows(document: Document, kind: str, name: str | None) -> None:
    body = orjson.loads(DOCUMENTS[document].body)
    assert body["kind"] == kind
    assert body.get("name") == name
    for group in body.get("groups", [body]):
        assert group["preferredVersion"]["version"] == "v1beta1"
        assert group["preferredVersion"] in group["versions"]


@pytest.mark.parametrize("name", ["v1beta1", "v1beta2", "external-v1beta1"])
def test_resource_entries_have_the_recorded_shape(name: str) -> None:
    recorded = next(each for each in vectors("metrics_api_golden.json")["cases"] if each["name"] == name)
    document = next(each for each in Document if each.value == recorded["path"])
    metric = "queue_depth_external" if "external" in name else "queue_depth"
    ours = orjson.loads(constant_documents([metric], "0.1.0")[document].body)
    assert {key: value for key, value in ours.items() if key != "resources"} == {
        key: value for key, value in recorded["json"].items() if key != "resources"
    }
    assert all(each in ours["resources"] for each in recorded["json"]["resources"])


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


def test_only_too_many_requests_asks_to_come_back() -> None:
    """Clients of the API would wait for a 503 with `Retry-After` instead of reporting its cause."""
    assert refusal(TooManyRequests("busy")).headers == {"Retry-After": "1"}
    assert refusal(Unavailable("cold")).headers == {}


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
