"""Our bytes against Envoy's own stubs, in both directions."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker.errors import WireError
from picker.ext_proc import wire_codec as wire
from picker.ext_proc.messages import (
    BodyMode,
    BodyReply,
    Event,
    HeadersReply,
    ImmediateReply,
    Incoming,
    Modes,
    Reply,
    Reported,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    TrailersReply,
    Unchanged,
)

_PEER = Path(__file__).with_name("peer_ext_proc.py")


def ask_peer(questions: list[tuple[str, object]]) -> list[Any]:
    done = subprocess.run(
        [sys.executable, str(_PEER)], input=json.dumps(questions), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def option(name: str, value: bytes) -> dict[str, object]:
    return {"header": {"key": name, "raw_value": b64(value)}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


REPLIES: dict[str, tuple[Reply, dict[str, object]]] = {
    "route": (
        HeadersReply(
            "request",
            (("x-gateway-destination-endpoint", b"10.0.0.1:8000"), ("odd", b"\xff")),
            clear_route_cache=True,
            lb_metadata={"x-gateway-destination-endpoint": "10.0.0.1:8000", "scores": {"10.0.0.1:8000": 0.5}},
        ),
        {
            "request_headers": {
                "response": {
                    "header_mutation": {
                        "set_headers": [
                            option("x-gateway-destination-endpoint", b"10.0.0.1:8000"),
                            option("odd", b"\xff"),
                        ]
                    },
                    "clear_route_cache": True,
                }
            },
            "dynamic_metadata": {
                "envoy.lb": {"x-gateway-destination-endpoint": "10.0.0.1:8000", "scores": {"10.0.0.1:8000": 0.5}}
            },
        },
    ),
    "route with a revision": (
        HeadersReply("request", clear_route_cache=True, lb_metadata={"a": "b"}, revision="s.7"),
        {
            "request_headers": {"response": {"clear_route_cache": True}},
            "dynamic_metadata": {"envoy.lb": {"a": "b"}, "infscale": {"revision": "s.7"}},
        },
    ),
    "response headers": (
        HeadersReply("response", remove_headers=("content-length",)),
        {"response_headers": {"response": {"header_mutation": {"remove_headers": ["content-length"]}}}},
    ),
    "a cookie beside those that are there": (
        HeadersReply("response", (("set-cookie", b"a=1"), ("x-a", b"1"))),
        {
            "response_headers": {
                "response": {
                    "header_mutation": {
                        "set_headers": [
                            # Envoy goes by the older field: with the newer one alone it overwrites.
                            {"header": {"key": "set-cookie", "raw_value": b64(b"a=1")}, "append": True},
                            option("x-a", b"1"),
                        ]
                    }
                }
            }
        },
    ),
    "request body": (
        BodyReply("request", b"abc", end_of_stream=True),
        {
            "request_body": {
                "response": {"body_mutation": {"streamed_response": {"body": b64(b"abc"), "end_of_stream": True}}}
            }
        },
    ),
    "empty response body": (
        BodyReply("response", b""),
        {"response_body": {"response": {"body_mutation": {"streamed_response": {}}}}},
    ),
    "unchanged body": (Unchanged("response"), {"response_body": {"response": {}}}),
    "request trailers": (TrailersReply("request"), {"request_trailers": {}}),
    "response trailers": (TrailersReply("response"), {"response_trailers": {}}),
    "numbers with trailers": (
        Reported(TrailersReply("response"), {"envoy.lb": {"cost": 10.0}}),
        {"response_trailers": {}, "dynamic_metadata": {"envoy.lb": {"cost": 10}}},
    ),
    "numbers with a body": (
        Reported(BodyReply("response", b"abc", end_of_stream=True), {"a": {"x": 0.0, "y": 2.0}, "b": {"x": 1e9}}),
        {
            "response_body": {
                "response": {"body_mutation": {"streamed_response": {"body": b64(b"abc"), "end_of_stream": True}}}
            },
            "dynamic_metadata": {"a": {"x": 0, "y": 2}, "b": {"x": 1e9}},
        },
    ),
    "immediate": (
        ImmediateReply(429, (("retry-after", b"1"),), b"full", "ResourceExhausted"),
        {
            "immediate_response": {
                "status": {"code": "TooManyRequests"},
                "headers": {"set_headers": [option("retry-after", b"1")]},
                "body": b64(b"full"),
                "details": "ResourceExhausted",
            }
        },
    ),
}

HEADERS = {"headers": {"headers": [{"key": "Hi", "raw_value": b64(b"\xff")}, {"key": "b", "value": "text"}]}}
DUPLEX = {"request_body_mode": "FULL_DUPLEX_STREAMED", "response_body_mode": "NONE"}
SUBSET = "x-gateway-destination-endpoint-subset"


def hint(value: object) -> dict[str, object]:
    metadata = {"filter_metadata": {"envoy.lb.subset_hint": {SUBSET: value}}}
    return {"request_trailers": {}, "metadata_context": metadata}


MESSAGES: dict[str, tuple[dict[str, object], Incoming]] = {
    "first": (
        {"request_headers": {}, "protocol_config": DUPLEX},
        Incoming(RequestTrailers(), modes=Modes(BodyMode.FULL_DUPLEX_STREAMED, BodyMode.NONE)),
    ),
    "request body": (
        {"request_body": {"body": b64(b"abc"), "end_of_stream": True}},
        Incoming(RequestBody(b"abc", end_of_stream=True)),
    ),
    "request trailers": ({"request_trailers": {}}, Incoming(RequestTrailers())),
    "response body": ({"response_body": {"body": b64(b"abc")}}, Incoming(ResponseBody(b"abc"))),
    "response trailers": ({"response_trailers": {}}, Incoming(ResponseTrailers())),
    "observability": (
        {"request_trailers": {}, "observability_mode": True},
        Incoming(RequestTrailers(), observability=True),
    ),
    "attributes": (
        {"request_trailers": {}, "attributes": {"envoy.filters.http.ext_proc": {"request.id": "x"}}},
        Incoming(RequestTrailers()),
    ),
    "subset list": (hint(["a:1", " b "]), Incoming(RequestTrailers(), subset=("a:1", "b"))),
    "subset text": (hint("a:1, b"), Incoming(RequestTrailers(), subset=("a:1", "b"))),
    "subset empty list": (hint([]), Incoming(RequestTrailers(), subset=())),
    "subset empty text": (hint(""), Incoming(RequestTrailers(), subset=())),
    "subset null": (hint(None), Incoming(RequestTrailers())),
    "subset of another kind": (hint(5), Incoming(RequestTrailers(), subset=())),
    "subset of other kinds": (hint([5, {"a": 1}]), Incoming(RequestTrailers(), subset=())),
    "other namespace": (
        {"request_trailers": {}, "metadata_context": {"filter_metadata": {"envoy.lb.subset_hint": {"other": "x"}}}},
        Incoming(RequestTrailers()),
    ),
    "served, as an attribute": (
        {
            "response_trailers": {},
            "attributes": {"envoy.filters.http.ext_proc": {"upstream.address": "10.0.0.3:8000"}},
        },
        Incoming(ResponseTrailers(), served="10.0.0.3:8000"),
    ),
    "served": (
        {
            "response_trailers": {},
            "metadata_context": {
                "filter_metadata": {"envoy.lb": {"x-gateway-destination-endpoint-served": "10.0.0.2:8000"}}
            },
        },
        Incoming(ResponseTrailers(), served="10.0.0.2:8000"),
    ),
}


@pytest.fixture(name="peer_reads", scope="module")
def _peer_reads() -> dict[str, object]:
    answers = ask_peer([("response", wire.encode(reply).hex()) for reply, _ in REPLIES.values()])
    return dict(zip(REPLIES, answers, strict=True))


@pytest.fixture(name="peer_writes", scope="module")
def _peer_writes() -> dict[str, bytes]:
    headers = {"request_headers": {**HEADERS, "end_of_stream": True}}, {"response_headers": HEADERS}
    documents = {name: document for name, (document, _) in MESSAGES.items()}
    documents |= {"request headers": headers[0], "response headers": headers[1]}
    answers = ask_peer([("make-request", document) for document in documents.values()])
    return {name: bytes.fromhex(answer) for name, answer in zip(documents, answers, strict=True)}


@pytest.mark.parametrize("name", REPLIES)
def test_the_peer_reads_what_we_write(peer_reads: dict[str, object], name: str) -> None:
    assert peer_reads[name] == REPLIES[name][1]


@pytest.mark.parametrize("name", [name for name in MESSAGES if name != "first"])
def test_we_read_what_the_peer_writes(peer_writes: dict[str, bytes], name: str) -> None:
    assert wire.decode(peer_writes[name]) == MESSAGES[name][1]


def test_the_first_message_says_the_modes(peer_writes: dict[str, bytes]) -> None:
    assert wire.decode(peer_writes["first"]).modes == Modes(BodyMode.FULL_DUPLEX_STREAMED, BodyMode.NONE)


@pytest.mark.parametrize("name", ["request headers", "response headers"])
def test_header_names_are_lowered_and_raw_values_kept(peer_writes: dict[str, bytes], name: str) -> None:
    event: Event = wire.decode(peer_writes[name]).event
    assert isinstance(event, RequestHeaders | ResponseHeaders)
    assert list(event.headers) == [("hi", b"\xff"), ("b", b"text")]
    assert event.end_of_stream is (name == "request headers")


@pytest.mark.parametrize("data", [b"", b"\xff", b"not protobuf", b"\x5a\x02\x08\x63"], ids=repr)
def test_anything_else_is_a_wire_error(data: bytes) -> None:
    with pytest.raises(WireError):
        wire.decode(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_crash_the_decoder(data: bytes) -> None:
    try:
        wire.decode(data)
    except WireError:
        return
