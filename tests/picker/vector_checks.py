"""The reference's ext_proc cases as protobuf messages, and what is expected of the answers."""

from base64 import b64decode
from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format
from prometheus_client.parser import text_string_to_metric_families

from picker.proto import ext_proc_pb2 as pb
from tests.picker.vector_pool import CASES, FIXTURE

SKIPPED = {
    "session_affinity": "cases in several steps: tests.picker.session_cases",
}
PLAYED = [case for case in CASES if case["source"] not in SKIPPED]


def header_map(values: dict[str, str]) -> pb.HeaderMap:
    return pb.HeaderMap(headers=[pb.HeaderValue(key=key, raw_value=value.encode()) for key, value in values.items()])


def content(case: dict[str, Any], key: str) -> bytes:
    """Text, or bytes that the case has under another name in base64."""
    encoded = case.get(f"{key}_base64")
    return case[key].encode() if encoded is None else b64decode(encoded)


def contents(case: dict[str, Any], key: str) -> list[bytes]:
    """As `content`, of several."""
    encoded = case.get(f"{key}_base64")
    return [each.encode() for each in case.get(key, ())] if encoded is None else list(map(b64decode, encoded))


def bodies(chunks: list[bytes], last_is_end: bool) -> Iterator[pb.HttpBody]:
    for number, chunk in enumerate(chunks):
        end = last_is_end and number == len(chunks) - 1
        yield pb.HttpBody(body=chunk, end_of_stream=end)


def messages(request: dict[str, Any]) -> Iterator[pb.ProcessingRequest]:
    """The case's messages in order, each with the case's metadata."""
    for message in _events(request):
        for namespace, fields in request.get("filter_metadata", {}).items():
            message.metadata_context.filter_metadata[namespace].update(fields)
        yield message


def _events(request: dict[str, Any]) -> Iterator[pb.ProcessingRequest]:
    first = request.get("request_headers_first")
    if first is not None:
        yield pb.ProcessingRequest(request_headers=pb.HttpHeaders(headers=header_map(first)))
    elif not request.get("response_only"):
        end = bool(request.get("end_of_stream_in_headers"))
        yield pb.ProcessingRequest(
            request_headers=pb.HttpHeaders(headers=header_map(request["headers"]), end_of_stream=end)
        )
        for body in bodies(contents(request, "body_chunks"), last_is_end=True):
            yield pb.ProcessingRequest(request_body=body)
    only = first is not None or request.get("response_only")
    response = request if only else request.get("then_response")
    if response:
        yield pb.ProcessingRequest(response_headers=pb.HttpHeaders(headers=header_map(response["response_headers"])))
        for body in bodies(contents(response, "response_body_chunks"), response["last_chunk_eos"]):
            yield pb.ProcessingRequest(response_body=body)
        if response.get("response_trailers"):
            yield pb.ProcessingRequest(response_trailers=pb.HttpTrailers())


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
    assert b"".join(piece.body for piece in streamed) == content(expect, "body")
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
    headers, *pieces = [each for each in answers if not each.HasField("response_trailers")]
    assert set_headers(headers.response_headers.response.header_mutation) == expect["response_set_headers"]
    streamed = [piece.response_body.response.body_mutation.streamed_response for piece in pieces]
    found = [(piece.body, piece.end_of_stream) for piece in streamed]
    assert found == [(content(chunk, "body"), chunk["end_of_stream"]) for chunk in expect["chunks"]]


def check_behaviour(answers: list[pb.ProcessingResponse], expect: dict[str, Any]) -> None:
    assert len(answers) == expect["responses"]
    told = answers[expect.get("on_response_index", 0)].dynamic_metadata
    metadata = json_format.MessageToDict(told)
    if "dynamic_metadata" in expect:
        assert metadata == expect["dynamic_metadata"]
    for namespace, keys in expect.get("dynamic_metadata_has", {}).items():
        assert set(keys) <= set(metadata[namespace])
    for namespace, keys in expect.get("dynamic_metadata_lacks", {}).items():
        assert not set(keys) & set(metadata[namespace])


TOTALS = ("llm_d_epp_request_total", "inference_objective_request_total")
READY = ("llm_d_epp_ready_endpoints", "inference_pool_ready_pods")
TOKENS = {
    "input_tokens_histogram": ("llm_d_epp_request_input_tokens", "inference_objective_input_tokens"),
    "output_tokens_histogram": ("llm_d_epp_request_output_tokens", "inference_objective_output_tokens"),
}
ERRORS = ("llm_d_epp_request_error_total", "inference_objective_request_error_total")


def check_metrics(page: str, case: dict[str, Any]) -> None:
    """What the case expects of the picker's own metrics page, under both names of the reference."""
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    wanted = case.get("metrics", {})
    if (total := wanted.get("request_total")) is not None:
        for name in TOTALS:
            (found,) = [sample for sample in samples if sample.name == name]
            expected = {"model_name": total["model_name"], "target_model_name": total["target_model_name"]}
            assert found.labels.items() >= {**expected, "priority": str(total["priority"])}.items()
            assert found.value == total["value"]
    if "ready_endpoints" in wanted:
        for name in READY:
            (found,) = [sample for sample in samples if sample.name == name]
            assert found.labels == {"name": FIXTURE["pool"]["name"]}
            assert found.value == wanted["ready_endpoints"]
    for histogram in TOKENS.keys() & wanted.keys():
        for name in TOKENS[histogram]:
            parts = {each: [s.value for s in samples if s.name == f"{name}_{each}"] for each in ("sum", "count")}
            assert parts == {each: [wanted[histogram][each]] for each in ("sum", "count")}
    for name in ERRORS if "errors" in wanted else ():
        assert {s.labels["error_code"]: s.value for s in samples if s.name == name} == wanted["errors"]


CHECKS = {
    "route": check_route,
    "immediate": check_immediate,
    "response": check_response,
    "behaviour": check_behaviour,
    "not_asserted": check_behaviour,
}
