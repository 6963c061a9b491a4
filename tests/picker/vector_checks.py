"""The reference's ext_proc cases as protobuf messages, and what is expected of the answers."""

from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format

from picker.proto import ext_proc_pb2 as pb
from tests.picker.vector_pool import CASES

SKIPPED = {
    "grpc": "needs the vllmgrpc-parser, which is not available",
    "session_affinity": "needs the session-affinity plugins, which are not available",
    "request_attribute_reporter": "needs the request-attribute-reporter, which is not available",
}
PLAYED = [case for case in CASES if case["source"] not in SKIPPED]


def header_map(values: dict[str, str]) -> pb.HeaderMap:
    return pb.HeaderMap(headers=[pb.HeaderValue(key=key, raw_value=value.encode()) for key, value in values.items()])


def bodies(chunks: list[str], last_is_end: bool) -> Iterator[pb.HttpBody]:
    for number, chunk in enumerate(chunks):
        end = last_is_end and number == len(chunks) - 1
        yield pb.HttpBody(body=chunk.encode(), end_of_stream=end)


def messages(request: dict[str, Any]) -> Iterator[pb.ProcessingRequest]:
    """The case's messages in order, each with the case's metadata."""
    for message in _events(request):
        for namespace, fields in request.get("filter_metadata", {}).items():
            message.metadata_context.filter_metadata[namespace].update(fields)
        yield message


def _events(request: dict[str, Any]) -> Iterator[pb.ProcessingRequest]:
    if not request.get("response_only"):
        end = bool(request.get("end_of_stream_in_headers"))
        yield pb.ProcessingRequest(
            request_headers=pb.HttpHeaders(headers=header_map(request["headers"]), end_of_stream=end)
        )
        for body in bodies(request.get("body_chunks", []), last_is_end=True):
            yield pb.ProcessingRequest(request_body=body)
    response = request if request.get("response_only") else request.get("then_response")
    if response:
        yield pb.ProcessingRequest(response_headers=pb.HttpHeaders(headers=header_map(response["response_headers"])))
        for body in bodies(response["response_body_chunks"], response["last_chunk_eos"]):
            yield pb.ProcessingRequest(response_body=body)


def set_headers(mutation: pb.HeaderMutation) -> dict[str, str]:
    pairs = [(option.header.key, option.header.raw_value.decode()) for option in mutation.set_headers]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def check_route(answers: list[pb.ProcessingResponse], expect: dict[str, Any]) -> None:
    headers, *pieces = answers
    common = headers.request_headers.response
    assert set_headers(common.header_mutation) == expect["set_headers"]
    assert common.clear_route_cache == expect["clear_route_cache"]
    assert json_format.MessageToDict(headers.dynamic_metadata) == expect["dynamic_metadata"]
    streamed = [piece.request_body.response.body_mutation.streamed_response for piece in pieces]
    assert b"".join(piece.body for piece in streamed) == expect["body"].encode()
    assert [piece.end_of_stream for piece in streamed] == [*[False] * (len(streamed) - 1), expect["body_end_of_stream"]]


def check_immediate(answers: list[pb.ProcessingResponse], expect: dict[str, Any]) -> None:
    (answer,) = answers
    immediate = answer.immediate_response
    assert immediate.status.code == expect["status"]
    assert set_headers(immediate.headers) == expect.get("set_headers", {})
    if "body_prefix" in expect:
        assert immediate.body.startswith(expect["body_prefix"].encode())
    else:
        assert immediate.body == expect["body"].encode()


def check_response(answers: list[pb.ProcessingResponse], expect: dict[str, Any]) -> None:
    headers, *pieces = answers
    assert set_headers(headers.response_headers.response.header_mutation) == expect["response_set_headers"]
    streamed = [piece.response_body.response.body_mutation.streamed_response for piece in pieces]
    found = [{"body": piece.body.decode(), "end_of_stream": piece.end_of_stream} for piece in streamed]
    assert found == expect["chunks"]


def check_behaviour(answers: list[pb.ProcessingResponse], expect: dict[str, Any]) -> None:
    assert len(answers) == expect["responses"]
    metadata = json_format.MessageToDict(answers[0].dynamic_metadata)
    for namespace, keys in expect.get("dynamic_metadata_has", {}).items():
        assert set(keys) <= set(metadata[namespace])
    for namespace, keys in expect.get("dynamic_metadata_lacks", {}).items():
        assert not set(keys) & set(metadata[namespace])


CHECKS = {
    "route": check_route,
    "immediate": check_immediate,
    "response": check_response,
    "behaviour": check_behaviour,
    "not_asserted": check_behaviour,
}
