"""One ext_proc stream as a state machine: messages of the gateway in, what to send back out.

It does no input or output and reads no clock. A transport feeds it `receive(message, now)`, carries out what comes back
in that order, and says how the stream ended. Order within a direction is the protocol's law: the answer to headers
goes out before any piece of body, trailers come last; a body piece sent earlier makes Envoy fail the request.

Theory of operation. The two directions are two machines that share one decision:

    request   START → BUFFERING → SENT              headers, body; routed when the body has ended
              START → BUFFERING → READING → SENT    the same with a large body: it is read in steps of `go_on`
              START → SENT                          no body: routed at the headers
              START → FORWARDING → SENT             an upgrade (WebSocket), or a body the gateway keeps to itself:
                                                    routed at the headers, what follows passes on
              … → HELD → SENT | FORWARDING          the director lets the request wait, wherever it is routed above:
                                                    what comes meanwhile is kept
              START | BUFFERING | READING | HELD → ABANDONED
                                                    the gateway answers by itself: nothing is routed
    response  WAITING → STREAMING → ENDED

The exchange is over when it has answered the client itself, failed, or the stream has ended. Whatever happens, a
decision of the director ends in exactly one `finished`.

Where response bodies are withheld (the recommended mode) and the response has no trailers, its end is the end of the
stream, and so is a client's abort after the response headers: Envoy says the same bytes for both, and both count as
completed. Where bodies are shown, a stream that ends before the body has was aborted.
"""

from collections.abc import Generator
from typing import TYPE_CHECKING, Final

from infscale.framing.pieces import Pieces
from picker.errors import RequestError
from picker.ext_proc.exchange_settings import ExchangeSettings
from picker.ext_proc.headers import (
    CONTENT_ENCODING,
    EXPLAIN,
    FALLBACK,
    MARKER,
    NOBODY_SERVED,
    PICK,
    REQUEST_ID,
    SERVED_REPORT,
    content_length,
    echoed,
    request_path,
    response_status,
    wants_upgrade,
)
from picker.ext_proc.immediate_answers import immediate_reply, no_parser, of_bodyless
from picker.ext_proc.messages import (
    BodyMode,
    BodyReply,
    Event,
    Fail,
    HeaderItems,
    HeadersReply,
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
    Unchanged,
)
from picker.ext_proc.replies import PIECE_BYTES, WholeBody, cut, pieces, route_replies
from picker.ext_proc.states import RequestState, ResponseState, legal, refusal
from picker.ext_proc.unread_bodies import UNREAD, of_upgrade
from picker.parsing import Reading, Route, parse_body
from picker.recall import Recall
from picker.request import (
    Decision,
    Director,
    Headers,
    Held,
    InferenceRequest,
    Outcome,
    OutcomeKind,
    ParsedBody,
    Reason,
    Rejection,
    Verdict,
)
from picker.response import BodyPlan, Usage, VisibleBody, names_to_restore, reported

if TYPE_CHECKING:
    import random

__all__ = ["Exchange", "ExchangeSettings"]

_FULL_DUPLEX: Final = Modes(BodyMode.FULL_DUPLEX_STREAMED, BodyMode.FULL_DUPLEX_STREAMED)
_UNKNOWN_USAGE: Final = Usage()
_NO_HEADERS: Final = Headers(())
_UUID_VERSION_4: Final = (0x4 << 76) | (0x2 << 62)
_UUID_FREE: Final = ((1 << 128) - 1) & ~((0xF << 76) | (0x3 << 62))
_SENDS_A_STEP: Final = 16
_UNDECIDED: Final = (RequestState.START, RequestState.BUFFERING, RequestState.READING, RequestState.HELD)
_FAILED: Final = Rejection("Internal", "the exchange failed", Reason.INTERNAL)


class Exchange:
    """One HTTP request from its headers to the end of its response. For one thread; used once."""

    def __init__(self, settings: ExchangeSettings, director: Director, rng: "random.Random") -> None:
        self._settings = settings
        self._director = director
        self._rng = rng
        self._request_state = RequestState.START
        self._response_state = ResponseState.WAITING
        self.over = False
        """Whether nothing more will be sent: the transport can end the stream."""
        self._modes: Modes | None = None
        self._subset: tuple[str, ...] | None = None
        # The request as it comes in.
        self._opened_at: float | None = None
        self._headers = _NO_HEADERS
        self._pieces: Pieces | None = None
        # What is still to be done with a large body, and how much of that is kept.
        self._steps: Generator[list[Send], None, None] | None = None
        self._now = 0.0
        self._kept_bytes = 0
        self.held: Held | None = None
        """The request that waits for its verdict, which is for `resume`; None: it does not wait."""
        # What of it waits, where it goes on then, and what ended its body meanwhile.
        self._waiting: tuple[InferenceRequest, WholeBody | None] | None = None
        self._after = RequestState.SENT
        self._last: Event | None = None
        # What was decided, until the director is told how it ended.
        self._open: tuple[InferenceRequest, Decision] | None = None
        self.recall: Recall | None = None
        """By what the request is taken back while it is under way: to be listened to for `evict`."""
        # What the response said.
        self._status: int | None = None
        self._first_byte_at: float | None = None
        self._served: str | None = None
        self._response = _NO_HEADERS
        self._restore: tuple[str, str] | None = None
        self._body: VisibleBody | None = None
        self._seen_bytes = 0
        self._told = False

    @property
    def arriving(self) -> bool:
        """Whether the request is still on its way in: its headers, or the body that is waited for."""
        state = self._request_state
        return (state is RequestState.START or state is RequestState.BUFFERING) and not self.over

    @property
    def buffering(self) -> bool:
        """Whether the pieces of a request's body are kept until the last."""
        return self._request_state is RequestState.BUFFERING and not self.over

    @property
    def pending(self) -> bool:
        """Whether there are steps to do with a large body that is whole: see `go_on`."""
        return self._steps is not None

    @property
    def held_bytes(self) -> int:
        """What it keeps of bodies: of the request's until that is sent on, of a response's where one is held back."""
        pieces, body = self._pieces, self._body
        request_bytes = self._kept_bytes + (pieces.size_bytes if pieces is not None else 0)
        return request_bytes + (body.held_bytes if body is not None else 0)

    def receive(self, message: Incoming, now: float) -> list[Send]:
        """Take one message; what to send for it, in order. Never raises on what a gateway or client sends."""
        if self.over:
            return []
        if self._opened_at is None:
            self._opened_at = now
            self._modes = message.modes
            refused = refusal(message)
            if refused is not None:
                return self._fail(refused, now)
        if message.subset is not None and self._settings.subset_hints:
            self._subset = message.subset
        self._served = message.served or self._served
        event = message.event
        if not legal(event, self._request_state, self._response_state):
            return self._fail(Fail("INVALID_ARGUMENT", f"{type(event).__name__} is out of order"), now)
        try:
            return self._step(event, now)
        except RequestError as error:
            return self._reject(None, error.rejection)

    def go_on(self, now: float) -> list[Send]:
        """Do the next step with a large body; what to send for it. To be asked as long as the exchange is `pending`.

        To read 30 MB and to send them on takes 100 ms: other exchanges have their turns between the steps. One exchange
        should come to the end of its steps before another begins: each keeps several copies of its body meanwhile.
        """
        self._now = now
        if self._steps is None:
            return []
        try:
            return next(self._steps, [])
        except RequestError as error:
            return self._reject(None, error.rejection)

    def resume(self, verdict: Verdict, now: float) -> list[Send]:
        """Go on with a request that waited; what to send for it. Further steps may follow: see `pending`."""
        waiting = self._waiting
        if waiting is None:
            raise ValueError("the exchange does not wait for a verdict")
        self.held = self._waiting = None
        self._kept_bytes = 0
        self._request_state = self._after
        request, body = waiting
        sends = self._answered(request, verdict, body)
        late, last = self._take_body(), self._last
        if late and not self.over:
            sends += self._step(RequestBody(late), now)
        if last is not None and not self.over:
            sends += self._step(last, now)
        self._steps = self._send_in_steps(sends)
        return self.go_on(now)

    def evict(self, rejection: Rejection, now: float) -> list[Send]:
        """The request is taken back: what to send for it, and nothing follows.

        The gateway answers the client so, where no response has begun, and resets both of its streams where one has.
        """
        if self.over or self._open is None:
            return []
        self.over = True
        self._drop_request()
        self._finish("evicted", now)
        return [immediate_reply(rejection, self._settings.error_format)]

    def closed(self, now: float) -> None:
        """The gateway ended the stream, in order or by a reset: Envoy does both when a response has ended.

        Harmless when repeated.
        """
        withheld = self._response_state is ResponseState.STREAMING and not self._body_shown()
        self._end("completed" if withheld else "aborted", now)

    def failed(self, now: float) -> None:
        """The transport or this process failed on the stream. Harmless when repeated."""
        self._end("error", now)

    def give_up(self, rejection: Rejection, now: float) -> list[Send]:
        """Answer with `rejection` where the client still can be answered, and end the stream in any case."""
        if self.over:
            return []
        if self._request_state in _UNDECIDED and self._request_state is not RequestState.START:
            return self._reject(None, rejection)
        return self._fail(Fail("UNAVAILABLE", rejection.message), now)

    def _end(self, kind: OutcomeKind, now: float) -> None:
        undecided = self._open is None and not self._told and self._response_state is ResponseState.WAITING
        if kind == "error" and undecided and not self.over:
            # No end of a decision tells of it.
            self._director.refused(self._headers, None, _FAILED)
        self.over = True
        self._drop_request()
        self._finish(kind, now)

    def _step(self, event: Event, now: float) -> list[Send]:
        match event:
            case RequestHeaders():
                return self._request_headers(event, now)
            case RequestBody():
                return self._request_body(event, now)
            case RequestTrailers():
                return self._request_trailers(now)
            case ResponseHeaders():
                return self._response_headers(event, now)
            case ResponseBody():
                return self._response_body(event, now)
            case ResponseTrailers():
                return self._response_trailers(now)

    def _request_headers(self, event: RequestHeaders, now: float) -> list[Send]:
        self._headers = headers = event.headers.without(self._settings.ignored_headers)
        if wants_upgrade(headers):
            self._request_state = RequestState.SENT if event.end_of_stream else RequestState.FORWARDING
            return self._route(of_upgrade(headers), None, now)
        if event.end_of_stream:
            self._request_state = RequestState.SENT
            return self._route(None, None, now)
        if self._modes is not None and self._modes.request_body is BodyMode.NONE:
            self._request_state = RequestState.FORWARDING
            return self._route(UNREAD, None, now)
        self._request_state = RequestState.BUFFERING
        self._check_size(content_length(event.headers) or 0)
        return []

    def _request_body(self, event: RequestBody, now: float) -> list[Send]:
        match self._request_state:
            case RequestState.BUFFERING:
                self._keep(event.body)
                return self._route_body(now, in_trailers=False) if event.end_of_stream else []
            case RequestState.HELD if self._after is RequestState.FORWARDING:
                self._keep(event.body)
                if event.end_of_stream:
                    self._last = RequestBody(b"", end_of_stream=True)
                return []
            case RequestState.FORWARDING:
                if event.end_of_stream:
                    self._request_state = RequestState.SENT
                return pieces("request", event.body, end_of_stream=event.end_of_stream)
            case RequestState.SENT | RequestState.READING | RequestState.HELD if event.body:
                return self._fail(Fail("INVALID_ARGUMENT", "RequestBody after the end of the request"), now)
            case _:
                return []

    def _request_trailers(self, now: float) -> list[Send]:
        match self._request_state:
            case RequestState.BUFFERING:
                return self._route_body(now, in_trailers=True)
            case RequestState.FORWARDING:
                self._request_state = RequestState.SENT
                return [TrailersReply("request")]
            case RequestState.HELD if self._after is RequestState.FORWARDING:
                self._last = RequestTrailers()
                return []
            case _:
                return []

    def _keep(self, piece: bytes) -> None:
        kept = self._pieces
        if kept is None:
            kept = self._pieces = Pieces()
        kept.add(piece)
        self._check_size(kept.size_bytes)

    def _check_size(self, size_bytes: int) -> None:
        limit = self._settings.max_body_bytes
        if size_bytes > limit:
            message = f"the request body is larger than {limit} bytes"
            raise RequestError(message, "PayloadTooLarge", Reason.BODY_TOO_LARGE)

    def _route_body(self, now: float, *, in_trailers: bool) -> list[Send]:
        large = self._pieces is not None and self._pieces.size_bytes >= self._settings.large_body_bytes
        encoding = self._headers.get(CONTENT_ENCODING)
        if not large and not encoding:
            self._request_state = RequestState.SENT
            content = self._take_body()
            sends = self._route(parse_body(self._parser(), content), WholeBody(content, in_trailers), now)
            return sends if len(content) <= PIECE_BYTES else list(cut(sends))
        self._request_state = RequestState.READING
        self._steps = self._route_in_steps(encoding, in_trailers, later=large)
        return self.go_on(now)

    def _route_in_steps(
        self, encoding: str | None, in_trailers: bool, *, later: bool
    ) -> Generator[list[Send], None, None]:
        """As `_route_body`, in steps of some milliseconds; `later`: none is done at once."""
        if later:
            yield []
        if self._pieces is not None:
            for _ in self._pieces.join():
                yield []
        content = self._take_body()
        self._kept_bytes = len(content)
        settings = self._settings
        reading = Reading(self._parser(), content, encoding, settings.max_body_bytes, settings.large_body_bytes)
        for _ in reading.steps():
            yield []
        if later:
            yield []
        self._request_state = RequestState.SENT
        body = WholeBody(content, in_trailers, reading.plain, reading.model_span)
        sends = self._route(reading.parsed, body, self._now)
        if self.held is not None:
            self._steps = None
            return
        del content, reading, body
        yield from self._send_in_steps(sends)

    def _take_body(self) -> bytes:
        content = self._pieces.take() if self._pieces is not None else b""
        self._pieces = None
        return content

    def _drop_request(self) -> None:
        """Nothing more becomes of the request."""
        self._pieces = None
        self._steps = None
        self._kept_bytes = 0
        self._waiting = None
        held, self.held = self.held, None
        if held is not None:
            held.give_up()

    def _parser(self) -> Route:
        route = self._settings.parsers.route(request_path(self._headers))
        if route is None:
            raise no_parser(self._settings.error_format)
        return route

    def _route(self, parsed: ParsedBody | None, body: WholeBody | None, now: float) -> list[Send]:
        request = InferenceRequest(
            request_id=self._headers.get(REQUEST_ID) or self._new_id(),
            path=request_path(self._headers),
            headers=self._headers,
            body=parsed,
            subset=self._subset,
            size_bytes=len(body.content) if body else 0,
        )
        verdict = self._director.direct(request, now)
        if isinstance(verdict, Held):
            self.held = verdict
            self._waiting = (request, body)
            self._kept_bytes = request.size_bytes
            self._after, self._request_state = self._request_state, RequestState.HELD
            return []
        return self._answered(request, verdict, body)

    def _answered(self, request: InferenceRequest, verdict: Verdict, body: WholeBody | None) -> list[Send]:
        if isinstance(verdict, Rejection):
            refusal_of = verdict if request.body else of_bodyless(verdict, self._settings.error_format)
            return self._reject(request.body, refusal_of)
        self._open = (request.remembered(), verdict)
        self.recall = verdict.recall
        if self._settings.sent is not None and body is not None:
            self._settings.sent(request, verdict, body.content if body.plain is None else body.plain)
        return route_replies(self._settings, request, verdict, body)

    def _send_in_steps(self, sends: list[Send]) -> Generator[list[Send], None, None]:
        """Yield `sends` in groups, cut as they go out; the steps are over with the last of them."""
        self._kept_bytes = sum([len(each.body) for each in sends if isinstance(each, BodyReply)])
        group: list[Send] = []
        for each in cut(sends):
            if len(group) == _SENDS_A_STEP:
                yield group
                group = []
            group.append(each)
        self._steps = None
        self._kept_bytes = 0
        yield group

    def _response_headers(self, event: ResponseHeaders, now: float) -> list[Send]:
        if self._request_state in _UNDECIDED:
            self._request_state = RequestState.ABANDONED
            self._drop_request()
        self._response_state = ResponseState.STREAMING
        self._status = response_status(event.headers)
        self._first_byte_at = now
        stamps: HeaderItems = ()
        if self._open is not None:
            request, decision = self._open
            decision = self._director.response_started(decision, self._status, self._served, now)
            self._open = (request, decision)
            stamps = decision.response_headers
            if decision.fallback is not None:
                stamps += ((FALLBACK, decision.fallback.told),)
            record = decision.record
            if record is not None and (self._settings.tell_picks or request.headers.get(EXPLAIN) is not None):
                stamps += ((PICK, record.revision.encode()),)
        restore = self._renamed() if self._full_duplex() else None
        self._response = event.headers
        self._restore = restore
        reference = self._settings.error_format == "reference"
        set_headers = (MARKER, *echoed(event.headers), *stamps) if reference else stamps
        if self._settings.report_served:
            set_headers += ((SERVED_REPORT, (self._served or NOBODY_SERVED).encode()),)
        reply = HeadersReply("response", set_headers, ("content-length",) if restore else ())
        if event.end_of_stream:
            self._response_ended(now)
        return [reply]

    def _response_body(self, event: ResponseBody, now: float) -> list[Send]:
        if self._response_state is ResponseState.ENDED:
            if not event.body:
                return []
            return self._fail(Fail("INVALID_ARGUMENT", "ResponseBody after the end of the response"), now)
        if self._body is None:
            asked = self._open is not None
            body = self._open[0].body if self._open is not None else self._unasked()
            plan = BodyPlan.of(self._response, self._restore, self._settings.buffer_responses, body, asked)
            self._body = VisibleBody(plan)
        self._seen_bytes += len(event.body)
        if self.recall is not None and event.body:
            self.recall.begun = True
        content = self._body.feed(event.body)
        if event.end_of_stream:
            content += self._body.end()
            self._response_ended(now)
        if not self._full_duplex():
            return self._reported([Unchanged("response")], event.end_of_stream)
        if content or event.end_of_stream:
            return self._reported(pieces("response", content, end_of_stream=event.end_of_stream), event.end_of_stream)
        return []

    def _response_trailers(self, now: float) -> list[Send]:
        if self._response_state is ResponseState.ENDED:
            return []
        rest = self._body.end() if self._body else b""
        self._response_ended(now)
        sends = pieces("response", rest, end_of_stream=False) if rest else []
        return self._reported([*sends, TrailersReply("response")], ended=True)

    def _reported(self, sends: list[Send], ended: bool) -> list[Send]:
        """`sends`, the last with what is to be told of a response that has ended."""
        attributes = self._settings.attributes
        if not attributes or not ended or self._body is None:
            return sends
        numbers = reported(attributes, self._body.usage)
        last = sends[-1]
        if numbers and isinstance(last, BodyReply | Unchanged | TrailersReply):
            return [*sends[:-1], Reported(last, numbers)]
        return sends

    def _response_ended(self, now: float) -> None:
        self._response_state = ResponseState.ENDED
        self._finish("completed", now)

    def _renamed(self) -> tuple[str, str] | None:
        """The name sent and the name asked for, where they differ."""
        if self._open is None:
            return None
        request, decision = self._open
        asked = request.body.model if request.body else ""
        if decision.fallback is not None and decision.fallback.model:
            # That another model answers is not to be hidden.
            asked = decision.fallback.model
        return names_to_restore(decision.target_model, asked)

    def _unasked(self) -> ParsedBody | None:
        """What is known of a request of which no decision was asked: whose messages it is made of, by its path."""
        route = self._settings.parsers.route(request_path(self._headers))
        return None if route is None else ParsedBody(route.api, "", b"", 0, framing=route.framing)

    def _full_duplex(self) -> bool:
        return (self._modes or _FULL_DUPLEX).response_body is BodyMode.FULL_DUPLEX_STREAMED

    def _body_shown(self) -> bool:
        return self._body is not None if self._modes is None else self._modes.response_body is not BodyMode.NONE

    def _new_id(self) -> str:
        # A UUID of version 4 (RFC 9562), written without an object of it.
        number = self._rng.getrandbits(128) & _UUID_FREE | _UUID_VERSION_4
        text = format(number, "032x")
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def _reject(self, parsed: ParsedBody | None, rejection: Rejection) -> list[Send]:
        self.over = True
        self._drop_request()
        self._director.refused(self._headers, parsed, rejection)
        return [immediate_reply(rejection, self._settings.error_format)]

    def _fail(self, failure: Fail, now: float) -> list[Send]:
        self._end("error", now)
        return [failure]

    def _finish(self, kind: OutcomeKind, now: float) -> None:
        if self._open is None:
            if self._body is not None and not self._told:
                self._told = True
                self._director.overheard(self._outcome(kind, now))
            return
        request, decision = self._open
        self._open = None
        self._told = True
        recall, self.recall = self.recall, None
        if recall is not None:
            recall.close()
        self._director.finished(request, decision, self._outcome(kind, now), now)

    def _outcome(self, kind: OutcomeKind, now: float) -> Outcome:
        opened_at = now if self._opened_at is None else self._opened_at
        usage = self._body.usage if self._body else _UNKNOWN_USAGE
        return Outcome(
            kind=kind,
            status=self._status,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            served=self._served,
            first_byte_seconds=None if self._first_byte_at is None else self._first_byte_at - opened_at,
            duration_seconds=now - opened_at,
            size_bytes=self._seen_bytes if self._body else None,
            streamed="event-stream" in (self._response.get("content-type") or ""),
            unread=self._body is not None and self._body.unread,
        )
