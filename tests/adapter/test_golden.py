"""Every case recorded from prometheus-adapter is answered alike, but for deliberate differences.

Cases that need an identity are replayed where identities are known.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import orjson
import pytest
import yaml

from adapter.answering.responder import Reply, Responder, refusal
from adapter.api.documents import AGGREGATED, constant_documents
from adapter.api.negotiation import Preferences
from adapter.api.paths import Document, DocumentRequest, Probe, ProbeRequest, parse
from adapter.errors import ApiError
from tests.adapter.support import clock, golden_world, rows, vectors

DIFFERENT = {row[0].strip("`"): int(row[2][:3]) for row in rows("Differences from the reference adapter")}
"""Names of the cases that differ, and our status code: the README's table."""

MASTERS = "client certificate, organisation system:masters, signed by the cluster CA"
CASES = [
    pytest.param(case, id=case["name"])
    for case in vectors("metrics_api_golden.json")["cases"]
    if case["identity"] in {MASTERS, "no certificate"} and case["status"] not in {401, 403}
]


def responder(case: Mapping[str, Any]) -> Responder:
    external = case["path"].startswith("/apis/external.metrics.k8s.io")
    return Responder(
        golden_world(), constant_documents(["queue_depth_external" if external else "queue_depth"], "0.1.0")
    )


def answered(case: Mapping[str, Any]) -> Reply:
    path, _, query = case["path"].partition("?")
    try:
        request = parse(case["method"], unquote(path), query)
    except ApiError as error:
        return refusal(error)
    return responder(case).answer(request, clock(), Preferences(case["headers"].get("Accept")))


def alike(document: Any) -> Any:
    """The document without what depends on time, and without what differs everywhere, as the README says."""
    if isinstance(document, list):
        return [alike(each) for each in document]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(document, Mapping):
        return document
    shown = {key: alike(value) for key, value in document.items()}  # pyright: ignore[reportUnknownVariableType]
    for name in ("timestamp", "details", "resourceVersion"):
        shown.pop(name, None)
    if "apiVersion" in shown:
        shown["apiVersion"] = str(shown["apiVersion"]).lstrip("/")
    if "message" in shown:
        shown["message"] = str(shown["message"]).partition(";")[0]
    return shown


def recorded(case: Mapping[str, Any]) -> Any:
    if "json" in case:
        return alike(case["json"])
    return alike(yaml.safe_load(case["text"])) if case["text"] != "ok" else "ok"


def written(reply: Reply) -> Any:
    match reply.content_type.partition(";")[0]:
        case "application/json":
            return alike(orjson.loads(reply.body))
        case "application/yaml":
            return alike(yaml.safe_load(reply.body))
        case _:
            return reply.body.decode()


@pytest.mark.parametrize("case", CASES)
def test_recorded_requests_are_answered_alike(case: dict[str, Any]) -> None:
    reply = answered(case)
    name = case["name"].removeprefix("anonymous-")
    assert reply.code == DIFFERENT.get(name, case["status"]), reply.body
    assert reply.content_type == case["response_headers"]["content-type"]
    assert reply.headers.get("X-Content-Type-Options") == case["response_headers"].get("x-content-type-options")
    same = (reply.code, written(reply)) == (case["status"], recorded(case))
    assert same == (name not in DIFFERENT), written(reply)


@pytest.mark.parametrize("name", ["v1beta1", "v1beta2"])
def test_discovery_has_every_recorded_resource(name: str) -> None:
    case = next(each for each in vectors("metrics_api_golden.json")["cases"] if each["name"] == name)
    ours = orjson.loads(answered(case).body)
    assert all(each in ours["resources"] for each in case["json"]["resources"])
    assert ours | {"resources": 0} == case["json"] | {"resources": 0}


@pytest.mark.parametrize("document", Document)
@pytest.mark.parametrize("accept", [None, "application/json", "application/vnd.kubernetes.protobuf,*/*"])
def test_the_aggregator_s_probes_take_every_constant_answer_for_success(document: Document, accept: str | None) -> None:
    """A probe takes a 304 or a redirect for a failure, and then nothing in the cluster gets any metric."""
    available = {code for code, good, _ in vectors("metrics_api_availability.json")["cases"] if good}
    reply = responder({"path": ""}).answer(DocumentRequest(document), clock(), Preferences(accept))
    assert reply.code in available


@pytest.mark.parametrize("probe", Probe)
def test_probes_are_answered_whatever_a_client_takes(probe: Probe) -> None:
    reply = responder({"path": ""}).answer(ProbeRequest(probe), clock(), Preferences("text/html", "*"))
    assert (reply.code, reply.body) == (200, b"ok")


def test_nobody_gets_a_304_unasked() -> None:
    here = responder({"path": ""})
    for document in Document:
        request = DocumentRequest(document)
        etag = here.answer(request, clock()).headers["ETag"]
        assert here.answer(request, clock(), Preferences(None, '"other"')).code == 200
        assert here.answer(request, clock(), Preferences(None, f'"other", W/{etag}')).code == 304
        assert here.answer(request, clock(), Preferences("application/yaml", etag)).code == 200


def test_aggregated_discovery_is_not_modified_for_who_has_it() -> None:
    here = responder({"path": ""})
    accept = ",".join(f"application/json;{each.parameters}" for each in AGGREGATED)
    first = here.answer(DocumentRequest(Document.GROUPS), clock(), Preferences(accept))
    assert (first.code, first.headers["Vary"]) == (200, "Accept")
    assert first.content_type == f"application/json;{AGGREGATED[0].parameters}"
    again = here.answer(DocumentRequest(Document.GROUPS), clock(), Preferences(accept, first.headers["ETag"]))
    assert (again.code, again.body, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    plain = here.answer(DocumentRequest(Document.GROUPS), clock(), Preferences(None, first.headers["ETag"]))
    assert plain.code == 200
