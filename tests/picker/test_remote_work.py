"""The headers by which a sidecar is told what is done elsewhere: the picker's own, whatever a client writes there."""

import random

import pytest

from infscale.client_headers import TRUSTABLE, ignored
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.ext_proc.messages import HeadersReply, Incoming, RequestBody, RequestHeaders
from picker.remote_work import RemoteStage, RemoteWork, remote_document
from picker.request import Headers
from tests.picker.scheduling.test_disaggregation import BOTH, PREFILLING, DisaggregatedBench, text

PREFILL, ENCODE = "x-prefiller-host-port", "x-encoder-hosts-ports"
MEDIA = (
    b'{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"look"},'
    b'{"type":"image_url","image_url":{"url":"https://pictures.example/1.png"}}]}]}'
)
TEXT = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'
FORGED = [(PREFILL, b"10.6.6.6:1"), (ENCODE, b"10.6.6.6:2"), (PREFILL, b"10.6.6.6:3")]


def asked(
    bench: DisaggregatedBench, body: bytes | None, *forged: tuple[str, bytes], echo: bool = False
) -> tuple[dict[str, str], tuple[str, ...]]:
    """What is set in the headers of a request, and what is taken out of them."""
    settings = ExchangeSettings(ignored_headers=ignored(TRUSTABLE), echo_request_headers=echo)
    exchange = Exchange(settings, bench.director, random.Random(1))
    path = "/v1/models" if body is None else "/v1/chat/completions"
    method = b"GET" if body is None else b"POST"
    given = Headers([(":method", method), (":path", path.encode()), *forged])
    sends = exchange.receive(Incoming(RequestHeaders(given, end_of_stream=body is None)), 0.1)
    if body is not None:
        sends = exchange.receive(Incoming(RequestBody(body, end_of_stream=True)), 0.1)
    reply = sends[0]
    assert isinstance(reply, HeadersReply)
    assert len({name for name, _ in reply.set_headers}) == len(reply.set_headers)
    return {name: value.decode() for name, value in reply.set_headers}, reply.remove_headers


@pytest.mark.parametrize("echo", [False, True], ids=["plain", "as the reference"])
@pytest.mark.parametrize("forged", [[], FORGED], ids=["nothing sent", "forged"])
@pytest.mark.parametrize(
    ("parameters", "body", "told"),
    [
        ("", TEXT, set()),
        (PREFILLING, TEXT, {PREFILL}),
        (BOTH, TEXT, {PREFILL}),
        (BOTH, MEDIA, {PREFILL, ENCODE}),
        ("deciders: {encode: always-disagg-multimodal-decider}", MEDIA, {ENCODE}),
        (BOTH, None, set()),
    ],
    ids=["decode", "prefill", "no media", "both", "encode", "no body"],
)
def test_the_sidecar_is_told_by_the_picker_alone(
    parameters: str, body: bytes | None, told: set[str], forged: list[tuple[str, bytes]], echo: bool
) -> None:
    bench = DisaggregatedBench(text(parameters))
    found, removed = asked(bench, body, *forged, echo=echo)
    assert told <= found.keys()
    assert {PREFILL, ENCODE} - told == set(removed)
    assert not any("10.6.6.6" in value for value in found.values())
    members = [each.authority for each in bench.state.endpoints]
    assert found.get(PREFILL, members[0]) in members[:2]
    assert found.get(ENCODE, members[4]) in members[4:]


def test_a_configuration_without_such_a_handler_says_nothing_of_it() -> None:
    bench = DisaggregatedBench("apiVersion: llm-d.ai/v1\nkind: EndpointPickerConfig\nplugins: [{type: queue-scorer}]\n")
    found, removed = asked(bench, TEXT, *FORGED, echo=True)
    assert not {PREFILL, ENCODE} & (found.keys() | set(removed))


def test_media_may_be_encoded_in_several_places_and_a_prompt_is_computed_in_one() -> None:
    stages = [RemoteStage("prefill", "p", ("a:1", "b:1")), RemoteStage("encode", "e", ("c:1", "d:1"))]
    work = RemoteWork("disagg", "disagg-profile-handler", tuple(stages))
    assert work.headers == ((PREFILL, b"a:1"), (ENCODE, b"c:1,d:1"))
    assert (work.unset_headers, work.decision_type) == ((), "encode-prefill-decode")
    assert remote_document(stages[:1], {"a:1": "llm/a"}) == [
        {
            "stage": "prefill",
            "profile": "p",
            "endpoints": [{"endpoint": "llm/a", "authority": "a:1"}, {"endpoint": None, "authority": "b:1"}],
        }
    ]
