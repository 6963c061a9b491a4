"""Metrics of another adapter: the question, the document, and every way in which it can fail."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.answering.forwarding import Forwarder, Outcome
from adapter.api.documents import constant_documents
from adapter.api.foreign import (
    LIST_PATH,
    MAX_ITEMS,
    MAX_NAMES,
    ForeignMetric,
    NotAList,
    converted,
    question,
    read_names,
)
from adapter.api.paths import Document, ObjectRequest, parse
from adapter.errors import BadRequest, Unavailable
from infscale.kube.api.errors import Conflict, Forbidden, KubeError, NotFound, Rejected, TooLarge, Unreachable
from tests.adapter.support import G1, G2

ITEM = {
    "describedObject": {"kind": "Pod", "namespace": "a", "name": "p", "apiVersion": "/v1"},
    "metricName": "queue_length",
    "timestamp": "2026-01-01T00:00:00Z",
    "window": 60,
    "value": "1500m",
    "selector": {"matchLabels": {"a": "b"}},
}


def listed(*items: Any) -> dict[str, Any]:
    return {"kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta1", "items": list(items)}


def requested(path: str, query: str = "", root: str = G2) -> ObjectRequest:
    request = parse("GET", f"{root}/{path}", query)
    assert isinstance(request, ObjectRequest)
    return request


@pytest.mark.parametrize(
    ("path", "query", "asked", "params"),
    [
        ("namespaces/a/pods/*/m", "", "namespaces/a/pods/*/m", {}),
        ("namespaces/a/pods/p/m", "pretty=true", "namespaces/a/pods/p/m", {}),
        ("namespaces/a/metrics/m", "", "namespaces/a/metrics/m", {}),
        ("nodes/*/m", "labelSelector=x", "nodes/*/m", {"labelSelector": "x"}),
        (
            "namespaces/a/ingresses.networking.k8s.io/i/m",
            "metricLabelSelector=b%3Dc,a",
            "namespaces/a/ingresses.networking.k8s.io/i/m",
            {"metricLabelSelector": "a,b=c"},
        ),
        (
            "namespaces/a/pods/*/m",
            "fieldSelector=metadata.name=p",
            "namespaces/a/pods/*/m",
            {"fieldSelector": "metadata.name=p"},
        ),
        ("namespaces/a/pods/q?x/m#", "", "namespaces/a/pods/q%3Fx/m%23", {}),
    ],
)
def test_the_same_is_asked_of_v1beta1(path: str, query: str, asked: str, params: Mapping[str, str]) -> None:
    assert question(requested(path, query)) == (f"{LIST_PATH}/{asked}", params)


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_no_name_leads_to_another_path(name: str, metric: str) -> None:
    try:
        request = requested(f"namespaces/a/pods/{name}/{metric}")
    except Exception:  # not every text is a name
        return
    path, _ = question(request)
    assert path.count("/") == LIST_PATH.count("/") + 5
    assert not {"", ".", ".."} & set(path.split("/")[1:])
    assert "?" not in path
    assert "#" not in path


def test_a_list_is_written_as_v1beta2_has_it() -> None:
    body = converted({**listed(ITEM), "metadata": {"resourceVersion": "5"}})
    assert body is not None
    assert orjson.loads(body) == {
        "kind": "MetricValueList",
        "apiVersion": "custom.metrics.k8s.io/v1beta2",
        "metadata": {"resourceVersion": "5"},
        "items": [
            {
                "describedObject": ITEM["describedObject"],
                "metric": {"name": "queue_length", "selector": {"matchLabels": {"a": "b"}}},
                "timestamp": "2026-01-01T00:00:00Z",
                "windowSeconds": 60,
                "value": "1500m",
            }
        ],
    }


BROKEN: list[Any] = [
    {},
    {"kind": "Status"},
    {"kind": "MetricValueList"},
    {"kind": "MetricValueList", "items": None},
    listed(None),
    listed([]),
    listed({}),
    listed({**ITEM, "describedObject": "p"}),
    listed({**ITEM, "value": None}),
    listed({**ITEM, "value": {"a": 1}}),
    listed(*[ITEM] * (MAX_ITEMS + 1)),
]


@pytest.mark.parametrize("document", BROKEN, ids=range(len(BROKEN)))
def test_what_is_no_list_is_not_passed_on(document: Any) -> None:
    with pytest.raises(NotAList):
        converted(document)


@dataclass
class Other:
    """The API server in front of another adapter."""

    gives: Any = field(default_factory=lambda: listed(ITEM))
    asked: list[str] = field(default_factory=list[str])
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def get(self, path: str, params: Mapping[str, str] = {}) -> dict[str, Any]:
        del params
        self.asked.append(path)
        if self.gate.is_set():
            await asyncio.Event().wait()
        if isinstance(self.gives, Exception):
            raise self.gives
        return self.gives  # type: ignore[no-any-return]


def forwarder(other: Other, *, wanted: bool = True, at_once: int = 64) -> Forwarder:
    return Forwarder(other, lambda: wanted, at_once)


REQUEST = requested("namespaces/a/pods/*/queue_length")


async def test_v1beta1_is_never_passed_on_so_that_no_request_goes_round() -> None:
    other = Other()
    assert await forwarder(other).answer(requested("namespaces/a/pods/*/queue_length", root=G1)) is None
    assert await forwarder(other, wanted=False).answer(REQUEST) is None
    assert other.asked == []


@pytest.mark.parametrize(
    ("gives", "words"),
    [
        (Unreachable("no answer within 5 s"), "it does not answer (no answer within 5 s)"),
        (Forbidden("pods.custom.metrics.k8s.io is forbidden"), "allow it get on custom.metrics.k8s.io"),
        (TooLarge("larger than 8 bytes"), "larger than 8 bytes"),
        (Conflict("odd"), "odd"),
        ({"kind": "Status"}, "it is no MetricValueList"),
    ],
)
async def test_what_fails_is_unavailable_with_its_cause(gives: Any, words: str) -> None:
    asking = forwarder(Other(gives))
    with pytest.raises(Unavailable) as caught:
        await asking.answer(REQUEST)
    assert words in str(caught.value)
    assert "the metric queue_length for pods is unknown to infscale" in str(caught.value)
    assert asking.outcomes == {Outcome.FAILED: 1}


@pytest.mark.parametrize("gives", [NotFound("no"), listed()], ids=["404", "empty"])
async def test_what_the_other_does_not_know_either_is_infscale_s_to_refuse(gives: Any) -> None:
    """An empty list would have an HPA report nothing of use."""
    asking = forwarder(Other(gives))
    assert await asking.answer(REQUEST) is None
    assert asking.outcomes == {Outcome.UNKNOWN: 1}


async def test_a_request_that_the_other_refuses_is_refused_in_its_words() -> None:
    with pytest.raises(BadRequest, match="no such selector"):
        await forwarder(Other(Rejected("no such selector"))).answer(REQUEST)


async def test_one_that_hangs_holds_a_bounded_number_and_gives_them_back() -> None:
    other = Other()
    other.gate.set()
    asking = forwarder(other, at_once=3)
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(asking.answer(REQUEST)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="3 requests wait for it already"):
            await asking.answer(REQUEST)
        for each in waiting:
            each.cancel()
    other.gate.clear()
    assert await asking.answer(REQUEST) is not None


def resources(*names: Any) -> dict[str, Any]:
    return {"kind": "APIResourceList", "resources": [{"name": name, "namespaced": True} for name in names]}


async def test_what_the_other_lists_is_listed_in_v1beta2_alone() -> None:
    asking = forwarder(Other(resources("pods/queue_length", "jobs.batch/done", "namespaces/queue_length")))
    assert await asking.refresh()
    assert not await asking.refresh()
    assert asking.knows("queue_length")
    documents = constant_documents(["waiting_requests"], "0.1", asking.names)
    names = {each["name"] for each in orjson.loads(documents[Document.CUSTOM_V1BETA2].compact.body)["resources"]}
    assert {"pods/queue_length", "jobs.batch/done", "pods/waiting_requests"} <= names
    assert b"queue_length" not in documents[Document.CUSTOM_V1BETA1].compact.body
    # One scope of each resource, whatever the other says: two would make the whole version stale.
    scopes = {
        (each["name"].partition("/")[0], each["namespaced"])
        for each in orjson.loads(documents[Document.CUSTOM_V1BETA2].compact.body)["resources"]
    }
    assert len({name for name, _ in scopes}) == len(scopes)
    for written in documents.aggregated.values():
        [custom, _] = orjson.loads(written.compact.body)["items"]
        found = {each["version"]: str(each["resources"]) for each in custom["versions"]}
        assert "queue_length" in found["v1beta2"]
        assert "queue_length" not in found["v1beta1"]


async def test_what_is_listed_stays_while_the_other_does_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    other = Other(resources("pods/queue_length"))
    asking = forwarder(other)
    await asking.refresh()
    other.gives = Unreachable("down")
    assert not await asking.refresh()
    assert not await asking.refresh()
    assert asking.knows("queue_length")
    assert caplog.text.count("down") == 1
    other.gives = NotFound("gone")
    assert await asking.refresh()
    assert not asking.knows("queue_length")


def test_odd_names_are_left_out_and_their_number_is_bounded() -> None:
    odd = ["pods", "pods/", "/x", "a/b/c", "pods/\n", "x" * 600 + "/y", 5, None]
    assert read_names(resources("pods/a", *odd)) == (ForeignMetric("pods", "a", True),)
    assert len(read_names(resources(*(f"pods/m{each}" for each in range(MAX_NAMES + 5))))) == MAX_NAMES
    with pytest.raises(NotAList):
        read_names({"kind": "APIResourceList", "resources": 5})


def test_every_error_of_the_client_has_a_way_out() -> None:
    """A kind that is added later must not become a traceback."""
    assert {each.__name__ for each in KubeError.__subclasses__()} == {
        "NotFound",
        "Forbidden",
        "Conflict",
        "Gone",
        "TooLarge",
        "Rejected",
        "Unreachable",
    }
