"""Conversations between a gateway and one exchange."""

import gzip
import random
from uuid import UUID

import orjson
import pytest

from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.ext_proc.immediate_answers import DROPPED_REASON_HEADER
from picker.ext_proc.messages import (
    BodyMode,
    BodyReply,
    Fail,
    HeadersReply,
    ImmediateReply,
    Incoming,
    Modes,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
    Send,
    TrailersReply,
    Unchanged,
)
from picker.ext_proc.replies import pieces
from picker.parsing import ParserTable
from picker.request import Decision, Headers, InferenceRequest, Reason, Rejection
from tests.fakes.director import FakeDirector
from tests.picker.ext_proc.playbook import Playbook
from tests.reference_tables import TABLES

BODY = b'{"model":"m","prompt":"hello"}'
JSON_RESPONSE = ((":status", "200"), ("content-type", "application/json"))
EVENTS_RESPONSE = ((":status", "200"), ("content-type", "text/event-stream"))
RECOMMENDED = Modes(BodyMode.FULL_DUPLEX_STREAMED, BodyMode.NONE)
FULL_DUPLEX = Modes(BodyMode.FULL_DUPLEX_STREAMED, BodyMode.FULL_DUPLEX_STREAMED)
PASSED = HeadersReply("response")


def headers(*items: tuple[str, str]) -> Headers:
    return Headers(tuple((name, value.encode()) for name, value in items))


def post(*more: tuple[str, str], path: str = "/v1/completions") -> RequestHeaders:
    return RequestHeaders(headers((":path", path), (":method", "POST"), ("x-request-id", "id-1"), *more))


def get(*more: tuple[str, str], end_of_stream: bool = True) -> RequestHeaders:
    items = ((":path", "/v1/models"), (":method", "GET"), ("x-request-id", "id-1"), *more)
    return RequestHeaders(headers(*items), end_of_stream)


def playbook(director: FakeDirector, **settings: object) -> Playbook:
    return Playbook(Exchange(ExchangeSettings(**settings), director, random.Random(7)))  # type: ignore[arg-type]


def routed(length: int | None = len(BODY), destination: str = "10.0.0.1:8000") -> HeadersReply:
    items = [("x-gateway-destination-endpoint", destination.encode())]
    if length is not None:
        items.append(("Content-Length", str(length).encode()))
    metadata = {"x-gateway-destination-endpoint": destination}
    return HeadersReply("request", tuple(items), clear_route_cache=True, lb_metadata=metadata)


def whole(body: bytes = BODY) -> BodyReply:
    return BodyReply("request", body, end_of_stream=True)


def immediate(sends: list[Send]) -> ImmediateReply:
    assert len(sends) == 1
    assert isinstance(sends[0], ImmediateReply)
    return sends[0]


def failure(sends: list[Send]) -> Fail:
    assert isinstance(sends[-1], Fail)
    return sends[-1]


@pytest.fixture(name="director")
def _director() -> FakeDirector:
    return FakeDirector()


# Requests


def test_a_body_is_answered_when_it_has_ended_headers_first(director: FakeDirector) -> None:
    assert (
        playbook(director)
        >> post()
        << []
        >> RequestBody(BODY[:10])
        << []
        >> RequestBody(BODY[10:])
        << []
        >> RequestBody(b"", end_of_stream=True)
        << [routed(), whole()]
    )
    request = director.requests[0]
    assert request.body is not None
    assert (request.body.model, request.size_bytes, request.path) == ("m", len(BODY), "/v1/completions")


def test_a_request_without_body_is_picked_at_its_headers(director: FakeDirector) -> None:
    assert playbook(director) >> get() << routed(length=None)
    assert director.requests[0].body is None


def test_a_request_without_body_respects_the_subset_hint(director: FakeDirector) -> None:
    playbook(director) >> Incoming(get(), subset=("10.0.0.9",))  # pyright: ignore[reportUnusedExpression]
    assert director.requests[0].subset == ("10.0.0.9",)


@pytest.mark.parametrize("carrier", [0, 1, 2], ids=["headers", "first body", "last body"])
def test_a_subset_hint_counts_whichever_message_carries_it(director: FakeDirector, carrier: int) -> None:
    book = playbook(director)
    for number, event in enumerate([post(), RequestBody(BODY), RequestBody(b"", end_of_stream=True)]):
        book >>= Incoming(event, subset=("10.0.0.9:1",) if number == carrier else None)
    assert director.requests[0].subset == ("10.0.0.9:1",)


def test_an_empty_subset_hint_is_not_the_absence_of_one(director: FakeDirector) -> None:
    book = playbook(director)
    book >>= Incoming(get(), subset=())
    assert director.requests[0].subset == ()


def test_subset_hints_can_be_passed_over(director: FakeDirector) -> None:
    book = playbook(director, subset_hints=False)
    book >>= Incoming(get(), subset=("10.0.0.9",))
    assert director.requests[0].subset is None


def test_an_upgrade_is_picked_at_its_headers_and_its_bytes_pass(director: FakeDirector) -> None:
    assert (
        playbook(director)
        >> get(("connection", "Upgrade"), ("upgrade", "websocket"), end_of_stream=False)
        << routed(length=None)
        >> RequestBody(b"frame")
        << BodyReply("request", b"frame")
        >> ResponseHeaders(headers((":status", "101")))
        << PASSED
        >> RequestBody(b"", end_of_stream=True)
        << BodyReply("request", b"", end_of_stream=True)
    )


@pytest.mark.parametrize(
    "offer",
    [
        pytest.param([("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c")], id="h2c"),
        pytest.param([("upgrade", "websocket")], id="no connection header"),
        pytest.param([("connection", "keep-alive"), ("upgrade", "websocket")], id="connection without upgrade"),
    ],
)
def test_an_offer_that_changes_no_protocol_is_an_ordinary_request(
    director: FakeDirector, offer: list[tuple[str, str]]
) -> None:
    assert playbook(director) >> post(*offer) << []


def test_trailers_end_the_body(director: FakeDirector) -> None:
    assert (
        playbook(director)
        >> post()
        >> RequestBody(BODY)
        >> RequestTrailers()
        << [routed(), BodyReply("request", BODY), TrailersReply("request")]
    )


def test_a_second_end_of_stream_changes_nothing(director: FakeDirector) -> None:
    end = RequestBody(b"", end_of_stream=True)
    assert (
        playbook(director)
        >> post()
        >> RequestBody(BODY)
        >> end
        << [routed(), whole()]
        >> end
        << []
        >> RequestTrailers()
        << []
    )
    assert len(director.requests) == 1


def test_a_body_the_gateway_withholds_is_not_waited_for(director: FakeDirector) -> None:
    modes = Modes(BodyMode.NONE, BodyMode.NONE)
    book = playbook(director) >> Incoming(post(), modes=modes) << routed(length=None)
    assert (
        book >> RequestTrailers() << TrailersReply("request") >> ResponseHeaders(headers((":status", "200"))) << PASSED
    )


def test_a_large_body_leaves_in_pieces_with_the_end_on_the_last(director: FakeDirector) -> None:
    body = orjson.dumps({"model": "m", "prompt": "x" * 130_000})
    book = playbook(director)
    book = book >> post() >> RequestBody(body, end_of_stream=True)
    sent = [send for send in book.sent if isinstance(send, BodyReply)]
    assert b"".join(piece.body for piece in sent) == body
    assert all(len(piece.body) <= 62_000 for piece in sent)
    assert [piece.end_of_stream for piece in sent] == [False, False, True]


@pytest.mark.parametrize(("size", "count"), TABLES["body_chunking_62000"])
def test_a_body_leaves_in_as_many_pieces_as_the_references(size: int, count: int) -> None:
    sent = pieces("request", b"x" * size, end_of_stream=True)
    assert len(sent) == count


def test_a_rewrite_replaces_the_model_and_the_length(director: FakeDirector) -> None:
    director.target_model = "a-longer-name"
    rewritten = BODY.replace(b'"m"', b'"a-longer-name"')
    assert (
        playbook(director)
        >> post()
        >> RequestBody(BODY, end_of_stream=True)
        << [routed(len(rewritten)), whole(rewritten)]
    )


def test_a_missing_request_id_is_made_and_passed_on(director: FakeDirector) -> None:
    book = playbook(director)
    book >>= RequestHeaders(headers((":path", "/")), end_of_stream=True)
    (reply,) = book.sent
    assert isinstance(reply, HeadersReply)
    made = dict(reply.set_headers)["x-request-id"].decode()
    assert made == str(UUID(int=random.Random(7).getrandbits(128), version=4))
    assert director.requests[0].request_id == made


def test_a_clients_destination_is_overwritten(director: FakeDirector) -> None:
    """Also where headers are echoed: the client's value is never among them."""
    book = playbook(director, echo_request_headers=True)
    book = book >> post(("x-gateway-destination-endpoint", "evil:1"), ("hi", "mom"))
    book >>= RequestBody(BODY, end_of_stream=True)
    reply = book.sent[0]
    assert isinstance(reply, HeadersReply)
    values = [value for name, value in reply.set_headers if name == "x-gateway-destination-endpoint"]
    assert values == [b"10.0.0.1:8000"]
    assert ("hi", b"mom") in reply.set_headers


def test_repeated_headers_are_not_echoed(director: FakeDirector) -> None:
    """Setting one of them again would delete the others."""
    book = playbook(director, echo_request_headers=True)
    book = book >> post(("cookie", "a"), ("cookie", "b")) >> RequestBody(BODY, end_of_stream=True)
    assert isinstance(book.sent[0], HeadersReply)
    assert "cookie" not in dict(book.sent[0].set_headers)


def test_as_many_destinations_are_sent_as_the_gateway_takes(director: FakeDirector) -> None:
    both = "10.0.0.1:8000,10.0.0.2:8000"
    assert playbook(director, destination_count=2) >> get() << routed(length=None, destination=both)


def test_scores_are_sent_to_those_who_asked(director: FakeDirector) -> None:
    director.scores = {"10.0.0.1:8000": 0.75}
    book = playbook(director) >> get()
    assert isinstance(book.sent[0], HeadersReply)
    assert book.sent[0].lb_metadata == {
        "x-gateway-destination-endpoint": "10.0.0.1:8000",
        "x-gateway-destination-endpoint-scores": {"10.0.0.1:8000": 0.75},
    }


# Refusals


def test_a_rejection_is_an_openai_error_with_its_headers(director: FakeDirector) -> None:
    director.rejection = Rejection(
        "ResourceExhausted", "full", Reason.SATURATED, "rejected-saturated", retry_after_seconds=1.2
    )
    book = playbook(director)
    book = book >> post() >> RequestBody(BODY, end_of_stream=True)
    reply = immediate(book.sent)
    assert reply.status == 429
    assert orjson.loads(reply.body) == {
        "error": {"message": "full", "type": "rate_limit_error", "code": "resource_exhausted", "param": None}
    }
    assert dict(reply.headers) == {
        "content-type": b"application/json",
        "retry-after": b"2",
        "x-llm-d-request-dropped-reason": b"rejected-saturated",
    }
    assert book.exchange.over


def test_a_rejection_can_speak_the_references_words(director: FakeDirector) -> None:
    director.rejection = Rejection(
        "ServiceUnavailable", "nobody", Reason.NO_ENDPOINTS, "rejected-no-endpoints", retry_after_seconds=1
    )
    book = playbook(director, error_format="reference") >> post() >> RequestBody(BODY, end_of_stream=True)
    reply = immediate(book.sent)
    assert reply.body == b"inference error: ServiceUnavailable - nobody"
    assert dict(reply.headers) == {"x-llm-d-request-dropped-reason": b"rejected-no-endpoints"}


@pytest.mark.parametrize(("form", "status"), [("openai", 503), ("reference", 500)])
def test_the_reference_calls_the_want_of_endpoints_its_own_error_where_there_is_no_body(
    director: FakeDirector, form: str, status: int
) -> None:
    director.rejection = Rejection(
        "ServiceUnavailable", "nobody", Reason.NO_ENDPOINTS, "rejected-no-endpoints", retry_after_seconds=1
    )
    book = playbook(director, error_format=form) >> get()
    assert immediate(book.sent).status == status


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "unannounced"])
def test_a_body_over_the_limit_is_413(director: FakeDirector, announced: bool) -> None:
    book = playbook(director, max_body_bytes=20)
    book >>= post(("content-length", "21")) if announced else post()
    if not announced:
        book = book << [] >> RequestBody(b"x" * 12) << [] >> RequestBody(b"x" * 12)
    assert immediate(book.sent).status == 413
    assert director.requests == []


@pytest.mark.parametrize("length", ["²", "-1", "1_0", "9" * 40, "abc"])
def test_a_strange_content_length_is_no_length(director: FakeDirector, length: str) -> None:
    assert playbook(director, max_body_bytes=20) >> post(("content-length", length)) << []


@pytest.mark.parametrize(("form", "status"), [("openai", 404), ("reference", 400)])
def test_a_path_no_parser_takes_is_refused(director: FakeDirector, form: str, status: int) -> None:
    book = playbook(director, error_format=form, parsers=ParserTable.of(("openai-parser",)))
    book = book >> post(path="/v1/rerank") >> RequestBody(BODY, end_of_stream=True)
    assert immediate(book.sent).status == status


def test_an_unreadable_body_is_400_and_nothing_is_directed(director: FakeDirector) -> None:
    book = playbook(director)
    book = book >> post() >> RequestBody(b"{", end_of_stream=True)
    assert immediate(book.sent).status == 400
    assert director.requests == []


# Responses


def test_response_chunks_pass_at_once(director: FakeDirector) -> None:
    assert (
        playbook(director)
        >> Incoming(post(), modes=FULL_DUPLEX)
        >> RequestBody(BODY, end_of_stream=True)
        << [routed(), whole()]
        >> ResponseHeaders(headers(*JSON_RESPONSE))
        << PASSED
        >> ResponseBody(b'{"a":')
        << BodyReply("response", b'{"a":')
        >> ResponseBody(b"1}", end_of_stream=True)
        << BodyReply("response", b"1}", end_of_stream=True)
    )
    assert director.outcome.kind == "completed"


EVICTED = Rejection("ResourceExhausted", "for others", Reason.EVICTED, "evicted", 2.0)


def test_a_request_that_is_taken_back_is_told_why_and_has_one_end() -> None:
    director = FakeDirector(sheddable=True)
    book = playbook(director) >> post() >> RequestBody(BODY, end_of_stream=True)
    (answer,) = book.exchange.evict(EVICTED, 7.0)
    assert isinstance(answer, ImmediateReply)
    assert answer.status == 429
    assert (dict(answer.headers)["retry-after"], dict(answer.headers)[DROPPED_REASON_HEADER]) == (b"2", b"evicted")
    assert book.exchange.over
    book.close()
    assert (director.outcome.kind, director.outcome.status, director.outcome.duration_seconds) == ("evicted", None, 7.0)
    assert director.refusals == [], "its decision has an end, and a refusal would be a second one"
    assert book.exchange.evict(EVICTED, 8.0) == []


def test_a_request_is_taken_back_in_the_middle_of_its_answer() -> None:
    """The gateway resets the streams for the same answer: Envoy does so where it has sent headers to the client."""
    director = FakeDirector(sheddable=True)
    book = playbook(director) >> Incoming(post(), modes=FULL_DUPLEX) >> RequestBody(BODY, end_of_stream=True)
    recall = director.decisions[0].recall
    assert recall is not None
    assert recall is book.exchange.recall
    book >>= ResponseHeaders(headers(*EVENTS_RESPONSE))
    assert not recall.begun, "engines send headers before they have a token"
    book >>= ResponseBody(b"data: {}\n\n")
    assert recall.begun
    (answer,) = book.exchange.evict(EVICTED, 7.0)
    assert isinstance(answer, ImmediateReply)
    assert (director.outcome.kind, director.outcome.status, director.outcome.failed) == ("evicted", 200, None)
    assert not recall.revoke(EVICTED, "another")


def test_what_has_ended_is_not_taken_back() -> None:
    director = FakeDirector(sheddable=True)
    book = playbook(director) >> get() >> ResponseHeaders(headers(*JSON_RESPONSE), end_of_stream=True)
    assert book.exchange.recall is None
    assert book.exchange.evict(EVICTED, 7.0) == []
    assert director.outcome.kind == "completed"


def test_a_response_can_be_held_until_its_end(director: FakeDirector) -> None:
    assert (
        playbook(director, buffer_responses=True)
        >> ResponseHeaders(headers(*JSON_RESPONSE))
        << PASSED
        >> ResponseBody(b'{"a":')
        << []
        >> ResponseBody(b"1}", end_of_stream=True)
        << BodyReply("response", b'{"a":1}', end_of_stream=True)
    )


def test_a_buffering_gateway_gets_one_answer_per_message(director: FakeDirector) -> None:
    modes = Modes(BodyMode.FULL_DUPLEX_STREAMED, BodyMode.BUFFERED)
    assert (
        playbook(director)
        >> Incoming(get(), modes=modes)
        >> ResponseHeaders(headers(*JSON_RESPONSE))
        << PASSED
        >> ResponseBody(b'{"usage":{"prompt_tokens":3}}', end_of_stream=True)
        << Unchanged("response")
    )
    assert director.outcome.prompt_tokens == 3


def test_usage_status_and_times_are_reported_in_full_duplex(director: FakeDirector) -> None:
    event = (
        b'data: {"usage":{"prompt_tokens":5,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":4}}}\n\n'
    )
    book = playbook(director)
    book = book >> post() >> RequestBody(BODY, end_of_stream=True) >> ResponseHeaders(headers(*EVENTS_RESPONSE))
    book = book >> ResponseBody(event[:20]) >> ResponseBody(event[20:])
    book >>= Incoming(ResponseBody(b"data: [DONE]\n\n", end_of_stream=True), served="10.0.0.2:8000")
    outcome = director.outcome
    assert (outcome.prompt_tokens, outcome.completion_tokens, outcome.cached_tokens) == (5, 10, 4)
    assert (outcome.status, outcome.served) == (200, "10.0.0.2:8000")
    assert (outcome.first_byte_seconds, outcome.duration_seconds) == (2.0, 5.0)
    assert director.started == [200]


def test_the_clients_model_name_comes_back_whatever_the_chunks(director: FakeDirector) -> None:
    director.target_model = "target"
    text = b'{"choices":[{"text":"\\"model\\":\\"target\\""}],"usage":{"model":"target"},"model": "target"}'
    for cut in range(len(text)):
        book = playbook(director)
        book = book >> post() >> RequestBody(BODY, end_of_stream=True) >> ResponseHeaders(headers(*JSON_RESPONSE))
        book = book << [HeadersReply("response", (), ("content-length",))]
        book = book >> ResponseBody(text[:cut]) >> ResponseBody(text[cut:], end_of_stream=True)
        replies = [send for send in book.sent if isinstance(send, BodyReply) and send.side == "response"]
        assert b"".join(reply.body for reply in replies) == text.replace(b'"model": "target"', b'"model": "m"')
        assert [reply.end_of_stream for reply in replies[-1:]] == [True]


def test_the_references_marker_and_headers_are_set_in_its_format_only(director: FakeDirector) -> None:
    assert (
        playbook(director, error_format="reference")
        >> ResponseHeaders(headers(*JSON_RESPONSE))
        << HeadersReply(
            "response",
            (
                ("x-went-into-resp-headers", b"true"),
                (":status", b"200"),
                ("content-type", b"application/json"),
            ),
        )
    )


def test_an_answer_from_elsewhere_abandons_the_request(director: FakeDirector) -> None:
    """Another filter of the gateway answered before the body had come."""
    assert (
        playbook(director)
        >> post()
        >> RequestBody(BODY)
        >> ResponseHeaders(headers((":status", "403")), end_of_stream=True)
        << PASSED
        >> RequestBody(b"", end_of_stream=True)
        << []
    )
    assert director.requests == []


# How exchanges end


@pytest.mark.parametrize(
    ("modes", "last", "kind"),
    [
        (RECOMMENDED, "request", "aborted"),
        (RECOMMENDED, "response headers", "completed"),
        (FULL_DUPLEX, "request", "aborted"),
        (FULL_DUPLEX, "response headers", "aborted"),
        (FULL_DUPLEX, "response chunk", "aborted"),
        (None, "response headers", "completed"),
        (None, "response chunk", "aborted"),
    ],
)
def test_the_end_of_the_stream_means_what_was_still_to_come(
    director: FakeDirector, modes: Modes | None, last: str, kind: str
) -> None:
    book = playbook(director)
    book = book >> Incoming(post(), modes=modes) >> RequestBody(BODY, end_of_stream=True)
    if last != "request":
        book >>= ResponseHeaders(headers(*EVENTS_RESPONSE))
    if last == "response chunk":
        book >>= ResponseBody(b"data: {}\n\n")
    book.close()
    assert director.outcome.kind == kind


def test_response_trailers_complete_the_exchange(director: FakeDirector) -> None:
    book = playbook(director)
    book = book >> Incoming(get(), modes=RECOMMENDED) >> ResponseHeaders(headers((":status", "200")))
    book = book << [*book.sent[1:]] >> ResponseTrailers() << TrailersReply("response")
    assert director.outcome.kind == "completed"
    book.close()
    assert director.open == 0


def test_closing_twice_tells_the_director_once(director: FakeDirector) -> None:
    book = playbook(director)
    book >>= get()
    book.close()
    book.exchange.failed(9.0)
    book.close()
    assert director.outcome.kind == "aborted"
    assert book.exchange.receive(Incoming(get()), 10.0) == []


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        ([Incoming(RequestBody(b"x"))], "INVALID_ARGUMENT"),
        ([Incoming(get()), Incoming(get())], "INVALID_ARGUMENT"),
        ([Incoming(get()), Incoming(RequestBody(b"x"))], "INVALID_ARGUMENT"),
        ([Incoming(get()), Incoming(ResponseBody(b"x"))], "INVALID_ARGUMENT"),
        ([Incoming(get()), Incoming(ResponseTrailers())], "INVALID_ARGUMENT"),
        ([Incoming(get(), observability=True)], "FAILED_PRECONDITION"),
        ([Incoming(post(), modes=Modes(BodyMode.BUFFERED, BodyMode.NONE))], "FAILED_PRECONDITION"),
        ([Incoming(post(), modes=Modes(BodyMode.FULL_DUPLEX_STREAMED, BodyMode.GRPC))], "FAILED_PRECONDITION"),
    ],
    ids=["body first", "headers twice", "body after end", "response body first", "response trailers first",
         "observability", "buffered requests", "gRPC responses"],
)  # fmt: skip
def test_what_the_protocol_does_not_allow_fails_the_stream(
    director: FakeDirector, messages: list[Incoming], status: str
) -> None:
    book = playbook(director)
    for message in messages:
        book >>= message
    assert failure(book.sent).status == status
    assert book.exchange.over
    assert director.open == 0
    assert all(outcome.kind == "error" for outcome in director.outcomes)


def test_settings_refuse_the_impossible() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ExchangeSettings(destination_count=0)


@pytest.mark.parametrize(
    ("encoding", "unread"), [("gzip", True), ("zstd, gzip", True), ("identity", False), ("", False)], ids=str
)
def test_an_answer_whose_usage_is_not_read_is_said_to_be_unread(
    director: FakeDirector, encoding: str, unread: bool
) -> None:
    content = b'{"usage":{"prompt_tokens":1,"completion_tokens":2}}'
    book = playbook(director)
    book >> Incoming(post(), modes=FULL_DUPLEX) << []  # pyright: ignore[reportUnusedExpression]
    book >> RequestBody(BODY, end_of_stream=True) << [routed(), whole()]  # pyright: ignore[reportUnusedExpression]
    answer = ResponseHeaders(headers(*JSON_RESPONSE, ("content-encoding", encoding)))
    book >> answer << PASSED  # pyright: ignore[reportUnusedExpression]
    end = BodyReply("response", content, end_of_stream=True)
    book >> ResponseBody(content, end_of_stream=True) << end  # pyright: ignore[reportUnusedExpression]
    assert (director.outcome.unread, director.outcome.completion_tokens) == (unread, None if unread else 2)


@pytest.mark.parametrize("large_body_bytes", [1 << 18, 1], ids=["at once", "in steps"])
@pytest.mark.parametrize("encoded", [False, True])
@pytest.mark.parametrize("hold", [False, True])
def test_what_is_sent_on_is_told_with_its_body_decoded(large_body_bytes: int, encoded: bool, hold: bool) -> None:
    director, told = FakeDirector(hold=hold), list[tuple[InferenceRequest, Decision, bytes]]()
    settings = ExchangeSettings(
        large_body_bytes=large_body_bytes, sent=lambda request, decision, body: told.append((request, decision, body))
    )
    exchange = Exchange(settings, director, random.Random(1))
    more = [("content-encoding", "gzip")] if encoded else []
    exchange.receive(Incoming(post(*more)), 1.0)
    exchange.receive(Incoming(RequestBody(gzip.compress(BODY) if encoded else BODY, end_of_stream=True)), 1.0)
    while exchange.pending:
        exchange.go_on(1.0)
    if exchange.held is not None:
        assert told == []
        exchange.held.listen(lambda verdict: None)
        verdict = Decision(("10.0.0.1:8000",), "", "s.1")
        exchange.resume(verdict, 2.0)
    ((request, decision, body),) = told
    assert body == BODY
    assert decision.destinations[0] == "10.0.0.1:8000"
    assert request.size_bytes == len(gzip.compress(BODY) if encoded else BODY)


def test_what_is_refused_or_has_no_body_is_not_told(director: FakeDirector) -> None:
    told = list[bytes]()
    settings = ExchangeSettings(sent=lambda request, decision, body: told.append(body))
    Exchange(settings, director, random.Random(1)).receive(Incoming(get()), 1.0)
    director.rejection = Rejection("NotFound", "no", Reason.UNKNOWN_MODEL)
    refused = Exchange(settings, director, random.Random(1))
    refused.receive(Incoming(post()), 1.0)
    refused.receive(Incoming(RequestBody(BODY, end_of_stream=True)), 1.0)
    assert told == []
