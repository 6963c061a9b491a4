"""Laws of the exchange under any messages in any order."""

import gzip
import itertools
import random
from typing import Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.ext_proc.messages import (
    BodyMode,
    BodyReply,
    Event,
    Fail,
    HeadersReply,
    ImmediateReply,
    Incoming,
    Modes,
    Reported,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    Send,
    TrailersReply,
)
from picker.ext_proc.wire_codec import encode
from picker.request import Headers, Held, Reason, Rejection, Verdict
from picker.response import ReportedAttribute
from picker.response.expressions import Expression
from tests.fakes.director import FakeDirector

_NAMES = st.sampled_from(
    [":path", ":status", "content-type", "content-length", "content-encoding", "connection", "upgrade", "hi"]
)
_VALUES = st.sampled_from(
    [b"/v1/completions", b"/x", b"200", b"application/json", b"text/event-stream", b"9999", b"\xff", b"", b"upgrade"]
)
_BODIES = st.one_of(
    st.sampled_from([b"", b'{"model":"m","prompt":"p"}', b'{"model":"t",', b'data: {"model":"t"}\n', b'"choices":[]}']),
    st.binary(max_size=12),
)
_HEADERS = st.lists(st.tuples(_NAMES, _VALUES), max_size=4).map(lambda items: Headers(tuple(items)))
Act = Literal["step", "let go", "evict"]
_EVENTS: st.SearchStrategy[Event | Act] = st.one_of(
    st.sampled_from(["step", "let go", "evict"]),
    st.builds(RequestHeaders, _HEADERS, st.booleans()),
    st.builds(RequestBody, _BODIES, st.booleans()),
    st.just(RequestTrailers()),
    st.builds(ResponseHeaders, _HEADERS, st.booleans()),
    st.builds(ResponseBody, _BODIES, st.booleans()),
    st.just(ResponseTrailers()),
)
_MODES = st.one_of(
    st.none(),
    st.builds(Modes, st.just(BodyMode.FULL_DUPLEX_STREAMED), st.sampled_from([BodyMode.NONE, BodyMode.STREAMED])),
    st.builds(Modes, st.sampled_from(BodyMode), st.sampled_from(BodyMode)),
)
_CONVERSATIONS = st.one_of(
    st.lists(_EVENTS, max_size=8),
    # Most random orders fail at once; these begin as real ones do.
    st.lists(_EVENTS, max_size=6).map(
        lambda rest: [
            RequestHeaders(Headers(((":path", b"/v1/completions"),))),
            RequestBody(b'{"model":"m","prompt":"p"}', True),
            *rest,
        ]
    ),
)
_REJECTION = Rejection("ServiceUnavailable", "nobody", Reason.NO_ENDPOINTS)
_EVICTED = Rejection("ResourceExhausted", "for others", Reason.EVICTED)


@settings(max_examples=300, deadline=None)
@given(
    events=_CONVERSATIONS,
    modes=_MODES,
    rejected=st.booleans(),
    echo=st.booleans(),
    crashed=st.booleans(),
    large_body_bytes=st.sampled_from([1, 1 << 20]),
    hold=st.booleans(),
    sheddable=st.booleans(),
)
def test_any_order_of_messages_steps_and_verdicts_ends_in_a_legal_state(
    events: list[Event | Act],
    modes: Modes | None,
    rejected: bool,
    echo: bool,
    crashed: bool,
    large_body_bytes: int,
    hold: bool,
    sheddable: bool,
) -> None:
    rejection = _REJECTION if rejected else None
    director = FakeDirector(target_model="t", rejection=rejection, hold=hold, sheddable=sheddable)
    reported = (ReportedAttribute("one", Expression("1")),)
    behaviour = ExchangeSettings(
        echo_request_headers=echo, max_body_bytes=500, attributes=reported, large_body_bytes=large_body_bytes
    )
    exchange = Exchange(behaviour, director, random.Random(1))
    sends: list[Send] = []
    first = True

    def hear(verdict: Verdict) -> None:
        sends.extend(exchange.resume(verdict, 99.0))

    def evict(rejection: Rejection) -> None:
        sends.extend(exchange.evict(rejection, 99.0))

    evicted = False
    for second, event in enumerate(events):
        now = float(second)
        if event == "let go":
            director.let_go()
        elif event == "evict":
            evicted |= director.evict(_EVICTED)
        elif event == "step":
            sends += exchange.go_on(now)
        else:
            sends += exchange.receive(Incoming(event, modes=modes if first else None), now)
            first = False
        if exchange.held is not None:
            exchange.held.listen(hear)
        if exchange.recall is not None:
            exchange.recall.listen(evict)
    waiting = exchange.held is not None
    given_up = director.given_up
    (exchange.failed if crashed else exchange.closed)(100.0)
    assert director.open == 0
    assert director.finished_decisions == director.decisions
    assert len(director.decisions) <= 1
    assert exchange.over
    assert not exchange.pending
    assert exchange.go_on(101.0) == []
    assert director.given_up == given_up + waiting
    assert not director.let_go()
    assert not director.evict(_EVICTED)
    assert [each.kind == "evicted" for each in director.outcomes] == ([evicted] if director.outcomes else [])
    assert not evicted or isinstance(sends[-1], ImmediateReply), "nothing follows the answer that takes it back"
    # What is taken back is no refusal: its decision has an end.
    answered = [send.status for send in sends if isinstance(send, ImmediateReply)][: None if not evicted else -1]
    failed = crashed or any(isinstance(send, Fail) for send in sends)
    begun = any(isinstance(send, HeadersReply) for send in sends)
    undecided = failed and not answered and not director.decisions and not begun
    assert [each.status for each in director.refusals] == (answered or [500] * undecided)
    _check_order(sends)
    for send in sends:
        assert isinstance(send, Fail) or encode(send)


def _check_order(sent: list[Send]) -> None:
    """Headers, body, trailers in each direction; nothing after the last word."""
    sends = [send.reply if isinstance(send, Reported) else send for send in sent]
    for side in ("request", "response"):
        ranks = [_rank(send) for send in sends if _side(send) == side]
        assert ranks == sorted(ranks)
        assert ranks.count(0) <= 1
        assert not ranks or ranks[0] == 0 or side == "response"
    for send in sends[:-1]:
        assert not isinstance(send, Fail | ImmediateReply)
    ends = [send for send in sends if isinstance(send, BodyReply) and send.end_of_stream]
    assert len({send.side for send in ends}) == len(ends)


def _side(send: Send) -> str | None:
    return None if isinstance(send, Fail | ImmediateReply | Reported) else send.side


def _body_bytes(sends: list[Send]) -> int:
    return sum(len(send.body) for send in sends if isinstance(send, BodyReply))


def _rank(send: Send) -> int:
    if isinstance(send, HeadersReply):
        return 0
    return 2 if isinstance(send, TrailersReply) else 1


@settings(max_examples=150, deadline=None)
@given(body=st.binary(min_size=1, max_size=400), cuts=st.lists(st.integers(0, 400), max_size=5), trailers=st.booleans())
def test_bodies_pass_unchanged_however_they_are_cut(body: bytes, cuts: list[int], trailers: bool) -> None:
    director = FakeDirector()
    exchange = Exchange(ExchangeSettings(), director, random.Random(1))
    sends = exchange.receive(Incoming(RequestHeaders(Headers(((":path", b"/opaque"),)))), 0.0)
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    for start, stop in itertools.pairwise(edges):
        sends += exchange.receive(Incoming(RequestBody(body[start:stop])), 0.0)
    end = RequestTrailers() if trailers else RequestBody(b"", True)
    sends += exchange.receive(Incoming(end), 0.0)
    assert b"".join(send.body for send in sends if isinstance(send, BodyReply)) == body


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 5) | st.integers(900_000, 3_000_000),
    content=st.sampled_from([b"word ", b"\\u00e4", b"\xff"]),
    encoding=st.sampled_from(["", "gzip", "x"]),
    target=st.sampled_from(["", "t"]),
    rejected=st.booleans(),
    trailers=st.booleans(),
)
@example(length=929_976, content=b"\\u00e4", encoding="gzip", target="t", rejected=False, trailers=False)
@example(length=900_000, content=b"word ", encoding="", target="", rejected=False, trailers=True)
def test_a_body_read_in_steps_is_answered_as_one_read_at_once(
    length: int, content: bytes, encoding: str, target: str, rejected: bool, trailers: bool
) -> None:
    body = b'{"model":"m","prompt":"' + content * (length // len(content)) + b'"}'
    if encoding == "gzip":
        body = gzip.compress(body, 1)
    answers: list[list[Send]] = []
    for large_body_bytes in (1, 1 << 30):
        director = FakeDirector(target_model=target or None, rejection=_REJECTION if rejected else None)
        exchange = Exchange(ExchangeSettings(large_body_bytes=large_body_bytes), director, random.Random(1))
        items = ((":path", b"/v1/completions"), ("content-encoding", encoding.encode()))
        sends = exchange.receive(Incoming(RequestHeaders(Headers(items))), 0.0)
        sends += exchange.receive(Incoming(RequestBody(body, not trailers)), 0.0)
        if trailers:
            sends += exchange.receive(Incoming(RequestTrailers()), 0.0)
        held = [(exchange.held_bytes, _body_bytes(sends), exchange.pending)]
        while exchange.pending:
            step = exchange.go_on(1.0)
            assert len(step) <= 17
            sends += step
            held.append((exchange.held_bytes, _body_bytes(sends), exchange.pending))
        if large_body_bytes == 1:
            assert held[0][:2] == (len(body), 0)
        # Once something is sent, all that is sent is kept, until the last of it is, which trailers may be.
        assert all(kept == (_body_bytes(sends) if pending else 0) for kept, sent, pending in held if sent)
        assert held[-1][0] == 0
        answers.append(sends)
    assert answers[0] == answers[1]


@pytest.mark.parametrize("steps", range(4))
def test_a_gateway_that_answers_by_itself_meanwhile_ends_the_reading(steps: int) -> None:
    director = FakeDirector()
    exchange = Exchange(ExchangeSettings(large_body_bytes=1), director, random.Random(1))
    exchange.receive(Incoming(RequestHeaders(Headers(((":path", b"/v1/completions"),)))), 0.0)
    assert exchange.receive(Incoming(RequestBody(b'{"model":"m","prompt":"p"}', True)), 0.0) == []
    for _ in range(steps):
        exchange.go_on(0.0)
    decided = bool(director.decisions)
    assert decided == (steps == 3)
    answer = exchange.receive(Incoming(ResponseHeaders(Headers(((":status", b"504"),)), True)), 1.0)
    assert answer == [HeadersReply("response")]
    assert not exchange.pending
    exchange.closed(2.0)
    assert len(director.decisions) == decided
    assert director.open == 0


def test_an_exchange_whose_body_is_read_in_steps_can_be_given_up() -> None:
    director = FakeDirector()
    exchange = Exchange(ExchangeSettings(large_body_bytes=1), director, random.Random(1))
    exchange.receive(Incoming(RequestHeaders(Headers(((":path", b"/v1/completions"),)))), 0.0)
    exchange.receive(Incoming(RequestBody(b'{"model":"m","prompt":"p"}', True)), 0.0)
    [answer] = exchange.give_up(_REJECTION, 1.0)
    assert isinstance(answer, ImmediateReply)
    assert answer.status == 503
    assert not exchange.pending
    assert exchange.held_bytes == 0
    assert director.refusals == [_REJECTION]


@settings(max_examples=60, deadline=None)
@given(
    body=st.binary(min_size=1, max_size=400),
    cuts=st.lists(st.integers(0, 400), max_size=5),
    trailers=st.booleans(),
    moment=st.integers(0, 8),
    kind=st.sampled_from(["body", "upgrade", "unread"]),
)
def test_a_request_that_waited_is_answered_as_one_that_did_not(
    body: bytes, cuts: list[int], trailers: bool, moment: int, kind: str
) -> None:
    answers: list[list[Send]] = []
    for hold in (False, True):
        director = FakeDirector(hold=hold)
        exchange = Exchange(ExchangeSettings(), director, random.Random(1))
        sends: list[Send] = []
        edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
        items = [
            (":path", b"/opaque"),
            *([("upgrade", b"websocket"), ("connection", b"upgrade")] * (kind == "upgrade")),
        ]
        modes = Modes(BodyMode.NONE, BodyMode.NONE) if kind == "unread" else None
        events: list[Event] = [RequestHeaders(Headers(items))]
        events += [RequestBody(body[start:stop]) for start, stop in itertools.pairwise(edges)]
        events.append(RequestTrailers() if trailers else RequestBody(b"", True))
        for number, event in enumerate(events):
            sends += exchange.receive(Incoming(event, modes=modes if not number else None), 0.0)
            if exchange.held is not None:
                exchange.held.listen(lambda verdict, said=sends, of=exchange: said.extend(of.resume(verdict, 0.0)))  # type: ignore[misc]
            if number == moment:
                director.let_go()
        director.let_go()
        assert exchange.held is None
        assert len(director.decisions) == 1
        answers.append([each for each in sends if not isinstance(each, BodyReply)])
        assert b"".join(send.body for send in sends if isinstance(send, BodyReply)) == body
        ends = [send.end_of_stream for send in sends if isinstance(send, BodyReply)]
        assert ends.count(True) == (not trailers)
        exchange.closed(1.0)
    assert answers[0] == answers[1]


def test_a_large_body_that_waited_is_sent_on_in_steps() -> None:
    director = FakeDirector(hold=True)
    exchange = Exchange(ExchangeSettings(), director, random.Random(1))
    body = b'{"model":"m","prompt":"' + b"word " * 600_000 + b'"}'
    exchange.receive(Incoming(RequestHeaders(Headers(((":path", b"/v1/completions"),)))), 0.0)
    exchange.receive(Incoming(RequestBody(body, True)), 0.0)
    while exchange.pending:
        assert exchange.go_on(0.0) == []
    assert exchange.held is not None
    assert exchange.held_bytes == len(body)
    assert not exchange.arriving
    sends: list[Send] = []
    exchange.held.listen(lambda verdict: sends.extend(exchange.resume(verdict, 1.0)))
    assert director.let_go()
    assert 1 < len(sends) <= 17
    while exchange.pending:
        sends += exchange.go_on(1.0)
    assert b"".join(send.body for send in sends if isinstance(send, BodyReply)) == body
    assert exchange.held_bytes == 0


def test_what_comes_meanwhile_is_bounded() -> None:
    director = FakeDirector(hold=True)
    exchange = Exchange(ExchangeSettings(max_body_bytes=100), director, random.Random(1))
    headers = Headers(((":path", b"/x"), ("upgrade", b"websocket"), ("connection", b"upgrade")))
    assert exchange.receive(Incoming(RequestHeaders(headers)), 0.0) == []
    assert exchange.receive(Incoming(RequestBody(b"x" * 90)), 0.0) == []
    assert exchange.held_bytes == 90
    [answer] = exchange.receive(Incoming(RequestBody(b"x" * 90)), 0.0)
    assert isinstance(answer, ImmediateReply)
    assert answer.status == 413
    assert director.given_up == 1


def test_a_verdict_is_told_once_and_only_where_it_is_wanted() -> None:
    told: list[object] = []
    gone: list[str] = []
    held = Held(lambda: gone.append("given up"))
    held.listen(told.append)
    held.resolve(_REJECTION)
    held.give_up()
    with pytest.raises(ValueError, match="does not wait"):
        held.resolve(_REJECTION)
    assert (told, gone) == ([_REJECTION], [])
    other = Held(lambda: gone.append("given up"))
    other.listen(told.append)
    other.give_up()
    other.give_up()
    with pytest.raises(ValueError, match="does not wait"):
        other.resolve(_REJECTION)
    assert (len(told), gone) == (1, ["given up"])
