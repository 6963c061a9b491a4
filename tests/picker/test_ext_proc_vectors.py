"""The reference picker's own ext_proc cases, byte for byte, through the real director."""

from typing import Any

import pytest

from picker.ext_proc import wire_codec as wire
from picker.ext_proc.headers import DESTINATION, DESTINATION_SCORES
from picker.ext_proc.messages import Fail
from picker.proto import ext_proc_pb2 as pb
from tests.picker.vector_checks import CHECKS, PLAYED, SKIPPED, messages
from tests.picker.vector_pool import CASES, Case, VectorPool


def played(case: Case, pool: VectorPool) -> list[pb.ProcessingResponse]:
    """Everything sent in answer to the case, from bytes to bytes."""
    exchange = pool.exchange()
    answers: list[pb.ProcessingResponse] = []
    for message in messages(case["request"]):
        for send in exchange.receive(wire.decode(message.SerializeToString()), 0.01):
            assert not isinstance(send, Fail), send
            answers.append(pb.ProcessingResponse.FromString(wire.encode(send)))
    exchange.closed(1.0)
    return answers


@pytest.mark.parametrize("case", PLAYED, ids=[case["name"] for case in PLAYED])
def test_the_reference_cases(case: Case) -> None:
    pool = VectorPool(case)
    CHECKS[case["expect"]["kind"]](played(case, pool), case["expect"])
    assert len(pool.director.outcomes) == len(pool.director.decisions)
    assert pool.in_flight() == 0.0


COUNTED = [case for case in PLAYED if "request_total" in case.get("metrics", {})]


@pytest.mark.parametrize("case", COUNTED, ids=[case["name"] for case in COUNTED])
def test_models_and_priority_are_those_the_reference_counts(case: Case) -> None:
    pool = VectorPool(case)
    played(case, pool)
    ((request, decision),) = pool.director.decisions
    wanted = case["metrics"]["request_total"]
    assert request.body is not None
    assert request.body.model == wanted["model_name"]
    assert decision.target_model == wanted["target_model_name"]
    assert decision.priority == wanted["priority"]


POD: Case = {
    "name": "pod-0",
    "ip": "192.168.1.1",
    "port": 8000,
    "waiting_queue": 0,
    "kv_cache_usage": 0.1,
    "active_models": [],
}
PASSTHROUGH: dict[str, Any] = {
    "apiVersion": "llm-d.ai/v1alpha1",
    "kind": "EndpointPickerConfig",
    "plugins": [{"type": "passthrough-parser"}, {"type": "queue-scorer"}],
    "schedulingProfiles": [{"name": "default", "plugins": [{"pluginRef": "queue-scorer"}]}],
    "requestHandler": {"parsers": [{"pluginRef": "passthrough-parser"}]},
}


def post(*chunks: str, subset: list[str] | None = None) -> dict[str, Any]:
    hint = {"envoy.lb.subset_hint": {"x-gateway-destination-endpoint-subset": subset}} if subset is not None else {}
    return {"headers": {"x-request-id": "id"}, "body_chunks": list(chunks), "filter_metadata": hint}


def route(body: str) -> dict[str, Any]:
    destination = {"x-gateway-destination-endpoint": "192.168.1.1:8000"}
    return {
        "kind": "route",
        "set_headers": {**destination, "Content-Length": str(len(body)), "x-request-id": "id"},
        "clear_route_cache": True,
        "dynamic_metadata": {"envoy.lb": destination},
        "body": body,
        "body_end_of_stream": True,
    }


def immediate(status: int, body: str, **more: object) -> dict[str, Any]:
    return {"kind": "immediate", "status": status, "body": body, **more}


def response(chunks: list[str], body: str) -> tuple[dict[str, Any], dict[str, Any]]:
    headers = {"content-type": "application/json"}
    request = {"response_only": True, "response_headers": headers, "response_body_chunks": chunks}
    expect = {"response_set_headers": {"x-went-into-resp-headers": "true", **headers}}
    chunk = {"body": body, "end_of_stream": True}
    return {**request, "last_chunk_eos": True}, {"kind": "response", **expect, "chunks": [chunk]}


NO_CANDIDATES = "inference error: ServiceUnavailable - failed to find endpoint candidates for serving the request"
NO_ENDPOINTS = {"x-llm-d-request-dropped-reason": "rejected-no-endpoints"}

# What the reference's description says of its other cases.
DESCRIBED: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]] = {
    "missing model": (
        post('{"prompt":"x"}'),
        immediate(400, "inference error: BadRequest - model not found in request body"),
        None,
    ),
    "invalid json": (
        post("no json"),
        immediate(400, "", body_prefix="inference error: BadRequest - error unmarshaling request bodyMap"),
        None,
    ),
    "subset without match": (
        post('{"model":"m","prompt":"x"}', subset=["10.9.9.9:8000"]),
        immediate(503, NO_CANDIDATES, set_headers=NO_ENDPOINTS),
        None,
    ),
    "passthrough": (post("raw ", "bytes"), route("raw bytes"), PASSTHROUGH),
    "rewrite": (
        post('{"max_tokens":1,"model":"model-to-be-rewritten",', '"prompt":"x"}'),
        route('{"max_tokens":1,"model":"rewritten-model","prompt":"x"}'),
        None,
    ),
    "subset hint of all": (
        post('{"model":"m","prompt":"x"}', subset=["192.168.1.1:8000", "192.168.1.2:8000"]),
        route('{"model":"m","prompt":"x"}'),
        None,
    ),
    "emit endpoint scores": (
        post('{"model":"m","prompt":"x"}'),
        {
            "kind": "behaviour",
            "responses": 2,
            "dynamic_metadata_has": {"envoy.lb": [DESTINATION, DESTINATION_SCORES]},
        },
        None,
    ),
    "response in chunks": (*response(['{"a"', ":1}"], '{"a":1}'), None),
    "response with an empty end": (*response(['{"a":1}', ""], '{"a":1}'), None),
}


@pytest.mark.parametrize("name", DESCRIBED)
def test_what_the_reference_says_of_its_other_cases(name: str) -> None:
    request, expect, config = DESCRIBED[name]
    # A request without a model is refused also while there is no pod.
    pods = [] if name == "missing model" else [POD]
    case: Case = {"pods": pods, "request": request, "config": config, "expect": expect}
    CHECKS[expect["kind"]](played(case, VectorPool(case)), expect)


def test_every_case_is_played_or_has_a_reason() -> None:
    assert {case["source"] for case in CASES} == {case["source"] for case in PLAYED} | set(SKIPPED)
    assert len(PLAYED) >= 11
