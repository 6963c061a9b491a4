"""Answers from typed requests: forms, refusals, hashes."""

import orjson
import pytest
import yaml

from adapter.answering.responder import Responder, refusal
from adapter.api.documents import constant_documents
from adapter.api.negotiation import Preferences
from adapter.api.paths import Document, DocumentRequest, parse
from adapter.errors import TooManyRequests, Unavailable
from tests.adapter.support import E1, G2, clock, golden_world

DOCUMENTS = constant_documents(["queue_depth"], "0.1.0")
RESPONDER = Responder(golden_world(), DOCUMENTS)
PODS = f"{G2}/namespaces/default/pods/*/queue_depth"


@pytest.mark.parametrize("target", [PODS, f"{E1}/namespaces/default/queue_depth_external"])
def test_every_form_of_a_list_says_the_same(target: str) -> None:
    request = parse("GET", target)
    plain = RESPONDER.answer(request, clock())
    as_yaml = RESPONDER.answer(request, clock(), Preferences("application/yaml"))
    pretty = RESPONDER.answer(parse("GET", target, "pretty=true"), clock())
    assert orjson.loads(plain.body) == yaml.safe_load(as_yaml.body) == orjson.loads(pretty.body)
    assert b"\n  " in pretty.body
    assert b"\n" not in plain.body
    assert (plain.content_type, as_yaml.content_type) == ("application/json", "application/yaml")


def test_a_refusal_is_written_in_the_form_that_was_asked_for() -> None:
    reply = RESPONDER.answer(parse("GET", PODS + "s"), clock(), Preferences("application/yaml"))
    assert (reply.code, reply.content_type) == (404, "application/yaml")
    assert yaml.safe_load(reply.body)["reason"] == "NotFound"


def test_what_cannot_be_written_is_refused_in_json() -> None:
    for request in (parse("GET", PODS), DocumentRequest(Document.GROUPS)):
        reply = RESPONDER.answer(request, clock(), Preferences("application/json;as=Table;g=meta.k8s.io;v=v1"))
        assert (reply.code, reply.content_type) == (406, "application/json")
        assert orjson.loads(reply.body)["reason"] == "NotAcceptable"


def test_only_too_many_requests_asks_to_come_back() -> None:
    """Clients of the API would wait for a 503 with `Retry-After` instead of reporting its cause."""
    assert refusal(TooManyRequests("busy")).headers == {"Retry-After": "1"}
    assert refusal(Unavailable("cold")).headers == {}


def test_a_document_asked_for_by_its_hash_may_be_kept_for_ever() -> None:
    document = Document.OPENAPI_CUSTOM_V1BETA2
    named = RESPONDER.answer(DocumentRequest(document, content_hash=DOCUMENTS[document].content_hash), clock())
    other = RESPONDER.answer(DocumentRequest(document, content_hash="0123"), clock())
    assert "immutable" in named.headers["Cache-Control"]
    assert "Cache-Control" not in other.headers
    assert named.body == other.body
