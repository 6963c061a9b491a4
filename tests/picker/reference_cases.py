"""The reference's other ext_proc cases, made from what is said of them: with the vectors and those of sessions
(`tests.picker.session_cases`), all 41.

The numbers are those of the reference's list.
"""

from base64 import b64encode
from collections.abc import Sequence
from copy import deepcopy

from infscale.framing.length_prefixed import HEAD_BYTES
from picker.proto import vllm_engine_pb2 as engine
from tests.picker.vector_pool import CASES, FIXTURE, Case

NEEDS_CRDS = 14

_IDENTITY = {"hi": "mom", "x-request-id": "test-request-id"}
_GENERATE = "/vllm.grpc.engine.VllmEngine/Generate"
_BY_NAME = {case["name"]: case for case in CASES}
_GRPC = _BY_NAME["grpc: embedRequest"]["config"]
_REPORTER = _BY_NAME["request-attribute-reporter streaming"]["config"]
_JSON = '{"max_tokens":100,"model":"sql-lora-sheddable","prompt":"test6","temperature":0}'


def _pods(*rows: tuple[int, float, list[str]]) -> list[Case]:
    return [
        {
            "name": f"pod-{number}",
            "ip": f"192.168.1.{number + 1}",
            "port": 8000,
            "waiting_queue": queue,
            "kv_cache_usage": kv,
            "active_models": models,
        }
        for number, (queue, kv, models) in enumerate(rows)
    ]


_THREE = _pods((3, 0.2, []), (0, 0.1, []), (10, 0.2, []))
_LORA = _pods((0, 0.2, ["foo"]), (0, 0.1, ["foo", "sql-lora-1fdg2"]), (10, 0.2, ["foo"]))


def _body(model: str, prompt: str) -> str:
    return f'{{"max_tokens":100,"model":"{model}","prompt":"{prompt}","temperature":0}}'


def _headers(objective: str = "", target: str = "") -> dict[str, str]:
    named = {"x-llm-d-inference-objective": objective, "x-llm-d-model-name-rewrite": target}
    return _IDENTITY | {name: value for name, value in named.items() if value}


def _subset(*authorities: str) -> Case:
    return {"envoy.lb.subset_hint": {"x-gateway-destination-endpoint-subset": list(authorities)}}


def _route(authority: str, content: Case, size: int, **headers: str) -> Case:
    destination = {"x-gateway-destination-endpoint": authority}
    return {
        "kind": "route",
        "set_headers": {**destination, "Content-Length": str(size), **_IDENTITY, **headers},
        "clear_route_cache": True,
        "dynamic_metadata": {"envoy.lb": destination},
        "body_end_of_stream": True,
        **content,
    }


def _routed(authority: str, body: str) -> Case:
    return _route(authority, {"body": body}, len(body))


def _refused(status: int, words: str, reason: str | None = None) -> Case:
    headers = {"x-llm-d-request-dropped-reason": reason} if reason else {}
    return {"kind": "immediate", "status": status, "body": f"inference error: {words}", "set_headers": headers}


def _total(model: str, target: str, priority: int, ready: int | None = None) -> Case:
    total = {"model_name": model, "target_model_name": target, "priority": priority, "value": 1}
    return {"request_total": total} | ({} if ready is None else {"ready_endpoints": ready})


def _framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(HEAD_BYTES - 1) + message


def _base64(*chunks: bytes) -> list[str]:
    return [b64encode(chunk).decode() for chunk in chunks]


def _grpc(name: str, prompt: str, authority: str, objective: str = "", cut: int | None = None, **more: object) -> Case:
    """A request of vLLM's engine for `prompt`, in two chunks if it is `cut`."""
    content = _framed(engine.GenerateRequest(text=prompt).SerializeToString())
    chunks = [content] if cut is None else [content[:cut], content[cut:]]
    request: Case = {"headers": _headers(objective) | {":path": _GENERATE}, "body_chunks_base64": _base64(*chunks)}
    if "filter_metadata" in more:
        request["filter_metadata"] = more.pop("filter_metadata")
    expect = _route(authority, {"body_base64": _base64(content)[0]}, len(content), **{":path": _GENERATE})
    return {"name": f"grpc: {name}", "config": _GRPC, "request": request, "expect": expect, **more}


def _response(chunks: Sequence[str], body: str) -> Case:
    headers = {"content-type": "application/json"}
    return {
        "pods": _pods((4, 0.2, ["sql-lora-1fdg3"])),
        "request": {
            "response_only": True,
            "response_headers": headers,
            "response_body_chunks": list(chunks),
            "last_chunk_eos": True,
        },
        "expect": {
            "kind": "response",
            "response_set_headers": {"x-went-into-resp-headers": "true", **headers},
            "chunks": [{"body": body, "end_of_stream": True}],
        },
    }


def _streamed() -> Case:
    """Case 32: a stream of two messages, whose last counts tokens."""
    case = _grpc("response streaming with token usage", "test-stream", "192.168.1.1:8000", _PRIORITY_4)
    chunks = [
        engine.GenerateResponse(chunk=engine.GenerateStreamChunk(prompt_tokens=7, completion_tokens=3)),
        engine.GenerateResponse(complete=engine.GenerateComplete(prompt_tokens=7, completion_tokens=10)),
    ]
    case["request"]["then_response"] = {
        "response_headers": {"content-type": "application/grpc"},
        "response_body_chunks_base64": _base64(*[_framed(each.SerializeToString()) for each in chunks]),
        "last_chunk_eos": False,
        "response_trailers": True,
    }
    # Headers and body of the request, headers of the response, each message, trailers.
    case["expect"] = {"kind": "behaviour", "responses": 6}
    return case | {
        "pods": _pods((4, 0.2, [])),
        "metrics": {
            "input_tokens_histogram": {"sum": 7, "count": 1},
            "output_tokens_histogram": {"sum": 10, "count": 1},
        },
    }


def _scored() -> Case:
    """Case 38: scores are told where they are asked for."""
    case = deepcopy(_BY_NAME["emit-endpoint-scores off (default)"])
    names = ["x-gateway-destination-endpoint", "x-gateway-destination-endpoint-scores"]
    case["expect"] = {"kind": "behaviour", "responses": 2, "dynamic_metadata_has": {"envoy.lb": names}}
    return case | {"name": "emit-endpoint-scores on"}


def _reported() -> Case:
    """Case 40: a cost is told of an answer in one piece."""
    case = deepcopy(_BY_NAME["request-attribute-reporter streaming"])
    document = '{"model":"modelName","usage":{"completion_tokens":10,"prompt_tokens":32,"total_tokens":42}}'
    case["request"]["then_response"] = {
        "response_headers": {"content-type": "application/json", "status": "200"},
        "response_body_chunks": [document],
        "last_chunk_eos": True,
    }
    case["expect"] |= {"responses": 4, "on_response_index": 3}
    return case | {"name": "request-attribute-reporter unary"}


_PRIORITY_4 = "inference-objective-with-priority-4"
_NO_CANDIDATES = "ServiceUnavailable - failed to find endpoint candidates for serving the request"
_ALL = _subset("192.168.1.1:8000", "192.168.1.2:8000", "192.168.1.3:8000")
_NONE = _subset("192.168.1.99:8000")
_PASSTHROUGH = {
    **FIXTURE["config"],
    "plugins": [{"type": each} for each in ("queue-scorer", "kv-cache-utilization-scorer", "passthrough-parser")],
    "schedulingProfiles": [
        {
            "name": "default",
            "plugins": [{"pluginRef": each} for each in ("queue-scorer", "kv-cache-utilization-scorer")],
        }
    ],
    "requestHandler": {"parsers": [{"pluginRef": "passthrough-parser"}]},
}

_MORE: dict[int, Case] = {
    2: {
        "name": "select active lora, low queue",
        "pods": _pods((0, 0.2, ["foo", "bar"]), (0, 0.1, ["foo", "sql-lora-1fdg2"]), (10, 0.2, ["foo", "bar"])),
        "request": {"headers": _headers("sql-lora", "sql-lora-1fdg2"), "body_chunks": [_body("sql-lora", "test2")]},
        "expect": _routed("192.168.1.2:8000", _body("sql-lora-1fdg2", "test2")),
        "metrics": _total("sql-lora", "sql-lora-1fdg2", 2),
    },
    4: {
        "name": "request missing model field",
        "pods": [],
        "request": {"headers": {"content-type": "application/json"}, "body_chunks": ['{"prompt":"hello world"}']},
        "expect": _refused(400, "BadRequest - model not found in request body"),
        "metrics": {"errors": {"BadRequest": 1}},
    },
    6: {
        "name": "passthrough parser success",
        "config": _PASSTHROUGH,
        "pods": _THREE,
        "request": {"headers": _headers("my-model"), "body_chunks": ["passthrough-parser"]},
        "expect": _routed("192.168.1.2:8000", "passthrough-parser"),
        "metrics": _total("", "", 2, ready=3),
    },
    8: {
        "name": "invalid json body",
        "pods": _pods((0, 0.2, ["foo", "bar"])),
        "request": {"headers": {"hi": "mom"}, "body_chunks": ["no healthy upstream"]},
        "expect": {
            **_refused(400, ""),
            "body_prefix": "inference error: BadRequest - error unmarshaling request bodyMap",
        },
        "metrics": {"errors": {"BadRequest": 1}},
    },
    10: {
        "name": "subsetting: select best from subset",
        "pods": _LORA,
        "request": {
            "headers": _headers("sql-lora", "sql-lora-1fdg2"),
            "body_chunks": [_body("sql-lora", "test2")],
            "filter_metadata": _ALL,
        },
        "expect": _routed("192.168.1.2:8000", _body("sql-lora-1fdg2", "test2")),
    },
    12: {
        "name": "subsetting: no pods match",
        "pods": _LORA[:2],
        "request": {
            "headers": _headers("sql-lora", "sql-lora-1fdg2"),
            "body_chunks": [_body("sql-lora", "test2")],
            "filter_metadata": _NONE,
        },
        "expect": _refused(503, _NO_CANDIDATES, "rejected-no-endpoints"),
        "metrics": {"errors": {"ServiceUnavailable": 1}},
    },
    14: {
        "name": "rewrite request model",
        "pods": _pods((0, 0.1, ["foo", "rewritten-model"])),
        "request": {
            "headers": _headers("model-to-be-rewritten"),
            "body_chunks": [_body("model-to-be-rewritten", "test-rewrite")],
        },
        "expect": _routed("192.168.1.1:8000", _body("rewritten-model", "test-rewrite")),
        "metrics": _total("model-to-be-rewritten", "rewritten-model", 0),
    },
    16: {"name": "response buffering: multi-chunk JSON", **_response([_JSON[:34], _JSON[34:]], _JSON)},
    18: {"name": "response buffering: empty EOS chunk (JSON)", **_response([_JSON, ""], _JSON)},
    20: _grpc(
        "select lower queue and kv cache",
        *("test1", "192.168.1.2:8000", _PRIORITY_4),
        pods=_THREE,
        metrics=_total("", "", 4, ready=3),
    ),
    22: _grpc(
        "select lower queue with streaming request",
        *("test-stream", "192.168.1.2:8000", _PRIORITY_4),
        pods=_THREE,
        metrics=_total("", "", 4, ready=3),
    ),
    24: _grpc(
        "split body across chunks",
        *("test3", "192.168.1.1:8000"),
        cut=6,
        pods=_pods((4, 0.2, ["foo", "bar"]), (4, 0.85, ["foo"])),
        metrics=_total("", "", 0),
    ),
    26: _grpc("subsetting: select best from subset", "test2", "192.168.1.2:8000", filter_metadata=_ALL, pods=_LORA),
    28: _grpc("subsetting: no pods match", "test2", "", filter_metadata=_NONE, pods=_LORA[:2])
    | {"expect": _refused(503, _NO_CANDIDATES, "rejected-no-endpoints")},
    30: {
        "name": "grpc: response buffering: invalid gRPC",
        "config": _GRPC,
        "pods": _pods((4, 0.2, [])),
        "request": {
            "response_only": True,
            "response_headers": {"content-type": "application/grpc"},
            "response_body_chunks": ["no healthy upstream"],
            "last_chunk_eos": False,
            "response_trailers": True,
        },
        "expect": {
            "kind": "response",
            "response_set_headers": {"x-went-into-resp-headers": "true", "content-type": "application/grpc"},
            "chunks": [{"body": "no healthy upstream", "end_of_stream": False}],
        },
    },
    32: _streamed(),
    38: _scored(),
    40: _reported(),
}
MORE: list[Case] = [{**case, "source": "made", "number": number} for number, case in _MORE.items()]
"""Cases in the vectors' form, each with its number in the reference's list."""

OF_VECTORS = {
    1: "select lower queue and kv cache",
    3: "no backend pods available",
    5: "select lora despite higher kv cache (affinity)",
    7: "do not shed requests by default",
    9: "split body across chunks",
    11: "subsetting: partial match",
    13: "passthrough: model not in objectives",
    15: "protocol: simple GET (header only)",
    17: "response buffering: invalid JSON",
    19: "response streaming: SSE token counting",
    21: "grpc: embedRequest",
    23: "grpc: do not shed requests by default",
    25: "grpc: no backend pods available",
    27: "grpc: subset partial match",
    29: "grpc: response buffering multi-chunk",
    31: "grpc: response with token usage",
    39: "emit-endpoint-scores off (default)",
    41: "request-attribute-reporter streaming",
}
"""The numbers of those that are in the vectors."""
