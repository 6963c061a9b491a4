"""Every request that is answered at once is counted, once, by its pool, its reason and its status."""

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType

import pytest

from infscale.telemetry.histogram import Histogram
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.ext_proc.messages import ImmediateReply, Incoming, RequestBody, RequestHeaders
from picker.parsing import ParserTable
from picker.request import Headers, Reason
from picker.telemetry.counts import PickerCollector
from tests.picker.directing.test_pool_directors import CHAT, CODE, Bench

SETTINGS = ExchangeSettings(max_body_bytes=100, parsers=ParserTable.of(("openai-parser",)))
BODY = b'{"model": "m", "prompt": "x"}'


def counted(bench: Bench) -> dict[tuple[str, str, str], float]:
    """The samples of `infscale_picker_rejections`, by pool, reason and status."""
    families = {
        family.name: family for family in PickerCollector(bench.directors, Histogram((1.0,)), lambda: 0).collect()
    }
    return {
        (sample.labels["pool"], sample.labels["reason"], sample.labels["status"]): sample.value
        for sample in families["infscale_picker_rejections"].samples
    }


def ask(
    bench: Bench,
    body: bytes | None,
    path: str = "/v1/completions",
    headers: Mapping[str, str] = MappingProxyType({}),
    subset: tuple[str, ...] | None = None,
    now: float = 0.1,
) -> ImmediateReply:
    """What one exchange answers at once."""
    exchange = Exchange(SETTINGS, bench.directors, random.Random(1))
    items = ((":path", path.encode()), *((name, value.encode()) for name, value in headers.items()))
    event = RequestHeaders(Headers(items), end_of_stream=body is None)
    sends = exchange.receive(Incoming(event, subset=subset), now)
    if body is not None and not sends:
        sends = exchange.receive(Incoming(RequestBody(body, end_of_stream=True)), now)
    while exchange.pending:
        sends += exchange.go_on(now)
    exchange.closed(now)
    (reply,) = sends
    assert isinstance(reply, ImmediateReply)
    return reply


REFUSED: Mapping[str, tuple[Callable[[Bench], ImmediateReply], Reason, int]] = {
    "bad JSON": (lambda bench: ask(bench, b"{"), Reason.INVALID_JSON, 400),
    "no object": (lambda bench: ask(bench, b"[]"), Reason.INVALID_JSON, 400),
    "bad UTF-8": (lambda bench: ask(bench, b'{"model": "\xff"}'), Reason.INVALID_JSON, 400),
    "missing messages": (
        lambda bench: ask(bench, b'{"model": "m"}', "/v1/chat/completions"),
        Reason.INVALID_REQUEST,
        400,
    ),
    "missing model": (lambda bench: ask(bench, b'{"prompt": "x"}'), Reason.MISSING_MODEL, 400),
    "unknown encoding": (
        lambda bench: ask(bench, BODY, headers={"content-encoding": "br"}),
        Reason.UNSUPPORTED_ENCODING,
        415,
    ),
    "not in its encoding": (
        lambda bench: ask(bench, BODY, headers={"content-encoding": "gzip"}),
        Reason.INVALID_ENCODING,
        400,
    ),
    "announced too large": (
        lambda bench: ask(bench, b"", headers={"content-length": "101"}),
        Reason.BODY_TOO_LARGE,
        413,
    ),
    "too large": (lambda bench: ask(bench, b" " * 101), Reason.BODY_TOO_LARGE, 413),
    "unknown path": (lambda bench: ask(bench, BODY, "/v1/nothing"), Reason.UNKNOWN_PATH, 404),
    "no such endpoint": (lambda bench: ask(bench, BODY, subset=("10.9.9.9:1",)), Reason.NO_ENDPOINTS, 503),
    "without a body": (lambda bench: ask(bench, None, subset=("10.9.9.9:1",)), Reason.NO_ENDPOINTS, 503),
    "an upgrade": (
        lambda bench: ask(
            bench, b"", subset=("10.9.9.9:1",), headers={"upgrade": "websocket", "connection": "upgrade"}
        ),
        Reason.NO_ENDPOINTS,
        503,
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_counted_by_pool_reason_and_status(name: str) -> None:
    refused, reason, status = REFUSED[name]
    bench = Bench(CHAT, CODE, default=CHAT)
    assert refused(bench).status == status
    assert counted(bench) == {("llm/chat", reason.value, str(status)): 1.0}
    refused(bench)
    assert counted(bench) == {("llm/chat", reason.value, str(status)): 2.0}


def test_what_is_for_no_pool_is_counted_too() -> None:
    bench = Bench(CHAT, CODE)
    assert ask(bench, BODY).status == 404
    assert ask(bench, b"{").status == 400
    assert counted(bench) == {("", "unknown_pool", "404"): 1.0, ("", "invalid_json", "400"): 1.0}


@pytest.mark.parametrize("how", ["out of order", "crashed"])
def test_an_exchange_that_fails_before_a_decision_is_counted(how: str) -> None:
    bench = Bench(CHAT)
    exchange = Exchange(SETTINGS, bench.directors, random.Random(1))
    if how == "crashed":
        exchange.receive(Incoming(RequestHeaders(Headers(((":path", b"/v1/completions"),)))), 0.1)
        exchange.failed(0.2)
    else:
        exchange.receive(Incoming(RequestBody(BODY)), 0.1)
    exchange.closed(0.3)
    exchange.failed(0.4)
    assert counted(bench) == {("llm/chat", "internal", "500"): 1.0}


def test_what_is_sent_on_is_not_counted() -> None:
    bench = Bench(CHAT)
    exchange = Exchange(ExchangeSettings(), bench.directors, random.Random(1))
    exchange.receive(Incoming(RequestHeaders(Headers(((":path", b"/v1/completions"),)))), 0.1)
    exchange.receive(Incoming(RequestBody(BODY, end_of_stream=True)), 0.1)
    exchange.closed(0.2)
    assert counted(bench) == {}
