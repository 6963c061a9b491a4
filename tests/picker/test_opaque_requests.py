"""What no parser reads is placed by load alone and passes on byte for byte: reranking, scoring, audio, and gRPC."""

import base64
from typing import Any

import pytest

from picker.ext_proc import wire_codec as wire
from picker.proto import ext_proc_pb2 as pb
from tests.picker.parsing.test_framed import field, framed, packed
from tests.picker.response.test_grpc_messages import chunk, complete
from tests.picker.vector_checks import check_route, messages
from tests.picker.vector_pool import Case, VectorPool

BUSY, IDLE = "192.168.1.1:8000", "192.168.1.2:8000"
SOUND = b"RIFF\0\0\0\0WAVE\xff\xfe" * 40
MULTIPART = (
    b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + SOUND + b"\r\n--x--\r\n"
)
RERANK = b'{"model":"r","query":"what","documents":["a","b"]}'
PLUGINS = ["queue-scorer", "kv-cache-utilization-scorer", "prefix-cache-scorer"]


def case(parsers: list[str] | None, path: str, body: bytes, content_type: str) -> Case:
    """A busy and an idle endpoint, and a request to `path`; `parsers` None: the default list."""
    pods = [
        {"name": f"pod-{row}", "ip": f"192.168.1.{row + 1}", "port": 8000, "waiting_queue": 9 * (1 - row)}
        | {"kv_cache_usage": 0.9 - 0.8 * row, "active_models": []}
        for row in range(2)
    ]
    config: dict[str, Any] = {
        "apiVersion": "llm-d.ai/v1alpha1",
        "kind": "EndpointPickerConfig",
        "plugins": [{"type": each} for each in (*PLUGINS, *(parsers or ()))],
        "schedulingProfiles": [{"name": "default", "plugins": [{"pluginRef": each} for each in PLUGINS]}],
    }
    if parsers is not None:
        config["requestHandler"] = {"parsers": [{"pluginRef": each} for each in parsers]}
    # Pieces as Envoy cuts them, and the empty end.
    pieces = [body[:7], body[7:], b""]
    headers = {":path": path, "content-type": content_type, "x-request-id": "id"}
    chunks = [base64.b64encode(piece).decode() for piece in pieces]
    destination = {"x-gateway-destination-endpoint": IDLE}
    return {
        "pods": pods,
        "config": config,
        "request": {"headers": headers, "body_chunks_base64": chunks},
        "expect": {
            "set_headers": {**destination, "Content-Length": str(len(body)), **headers},
            "clear_route_cache": True,
            "dynamic_metadata": {"envoy.lb": destination},
            "body_base64": base64.b64encode(body).decode(),
            "body_end_of_stream": True,
        },
    }


def played(pool: VectorPool, case: Case, *more: pb.ProcessingRequest) -> list[pb.ProcessingResponse]:
    exchange = pool.exchange()
    answers = [
        pb.ProcessingResponse.FromString(wire.encode(send))  # type: ignore[arg-type] # a Fail fails the test
        for message in (*messages(case["request"]), *more)
        for send in exchange.receive(wire.decode(message.SerializeToString()), 0.01)
    ]
    exchange.closed(1.0)
    return answers


@pytest.mark.parametrize(
    ("path", "body", "content_type"),
    [
        pytest.param("/v1/rerank", RERANK, "application/json", id="rerank"),
        pytest.param("/rerank", RERANK, "application/json", id="rerank, short"),
        pytest.param("/v1/score", b'{"model":"r","text_1":"a","text_2":"b"}', "application/json", id="score"),
        pytest.param("/pooling", b'{"model":"r","input":"a"}', "application/json", id="pooling"),
        pytest.param("/tokenize", b'{"prompt":"a"}', "application/json", id="tokenize"),
        pytest.param("/v1/audio/transcriptions", MULTIPART, "multipart/form-data; boundary=x", id="transcription"),
        pytest.param("/v1/audio/translations", MULTIPART, "multipart/form-data; boundary=x", id="translation"),
        pytest.param("/v1/audio/speech", b'{"model":"t","input":"a","voice":"v"}', "application/json", id="speech"),
        pytest.param("/vllm.grpc.engine.VllmEngine/HealthCheck", framed(b""), "application/grpc", id="gRPC unread"),
    ],
)
def test_it_goes_where_the_load_is_least(path: str, body: bytes, content_type: str) -> None:
    asked = case(None, path, body, content_type)
    pool = VectorPool(asked)
    for _ in range(2):
        check_route(played(pool, asked), asked["expect"])
    assert {request.body.api for request, _ in pool.director.decisions if request.body} == {"opaque"}
    # No prompt is known, so nothing is learned of what an endpoint has cached.
    assert {decision.prefix_hit_ratio for _, decision in pool.director.decisions} == {None}
    assert pool.in_flight() == 0.0


def test_a_grpc_request_is_read_and_its_answer_counted() -> None:
    message = field(2, packed(range(4096)))
    asked = case(["vllmgrpc-parser"], "/vllm.grpc.engine.VllmEngine/Generate", framed(message), "application/grpc")
    pool = VectorPool(asked)
    headers = [
        pb.HeaderValue(key=":status", raw_value=b"200"),
        pb.HeaderValue(key="content-type", raw_value=b"application/grpc"),
    ]
    stream = chunk(4096, 1), complete(4096, 3, 2048)
    answer = [
        pb.ProcessingRequest(response_headers=pb.HttpHeaders(headers=pb.HeaderMap(headers=headers))),
        *(pb.ProcessingRequest(response_body=pb.HttpBody(body=each)) for each in stream),
        pb.ProcessingRequest(response_trailers=pb.HttpTrailers()),
    ]
    replies = played(pool, asked, *answer)
    check_route(replies[:2], asked["expect"])
    passed = [each.response_body.response.body_mutation.streamed_response.body for each in replies[3:-1]]
    assert passed == [*stream]
    (outcome,) = pool.director.outcomes
    assert (outcome.kind, outcome.prompt_tokens, outcome.completion_tokens) == ("completed", 4096, 3)
    assert outcome.cached_tokens == 2048
    # The prompt counts: the next request with it is known to be cached there.
    played(pool, asked)
    first, second = [decision.prefix_hit_ratio for _, decision in pool.director.decisions]
    assert (first, second) == (0.0, 1.0)
