"""The director that has copies of requests made: it stands around another, and nothing that it does changes a verdict.

The exchange tells it of a request that is sent on, with the body as it was read (`sent`): it draws the request, takes
room in the budget and a place in the candidate's books, and hands the copy to what sends it. There is no queue: what
does not go at once is dropped. At the end of the request it compares.
"""

from collections.abc import Callable
from typing import Final

from infscale.config.shadow_settings import Shadows
from infscale.endpoint import DiscoveryState, ObjectKey
from infscale.metrics.store.dispatch import Charge
from infscale.metrics.store.metrics_store import MetricStore
from picker.request import Decision, Director, Headers, Held, InferenceRequest, Outcome, ParsedBody, Rejection, Verdict
from picker.shadowing.candidate_rows import CandidateRows, Kept, free_row
from picker.shadowing.copied_request import PATHS, content_of, copied, drawn, headers_of, marked, name_hash, name_of
from picker.shadowing.shadow_books import Drawn, Pair, Seen, ShadowBooks, Way, seen

_MOST_PAIRS: Final = 10_000


class ShadowCopy:
    """A copy that is under way: to be ended exactly once, by `ShadowDirector.ended` or `withdrawn`.

    `authority` is the endpoint that it goes to, `path` the path there; `headers` are all it is sent with.
    """

    __slots__ = (
        "_body",
        "_content",
        "_model",
        "authority",
        "charge",
        "headers",
        "over",
        "pair",
        "path",
        "size_bytes",
        "way",
    )

    def __init__(  # noqa: PLR0913 # what it is made of
        self,
        pair: Pair,
        request: InferenceRequest,
        body: ParsedBody,
        model: str,
        content: bytes,
        authority: str,
        charge: Charge,
    ) -> None:
        self.pair = pair
        self.way: Way = pair.way
        self.authority = authority
        self.path = PATHS[body.api]
        self.headers = headers_of(pair.way.settings, request)
        self.charge = charge
        self.size_bytes = len(content)
        self.over = False
        """Whether it has ended."""
        self._body = body
        self._model = model
        self._content = content

    def content(self) -> bytes | None:
        """The body to send, None: a field of it marks side effects. It reads the whole of it, and is for one call."""
        content, self._content = self._content, b""
        return content_of(self.way.settings, self._body, self._model, content)


class ShadowDirector:
    """Passes on to `director`, and has `send` take each copy; see the module. Call it from one thread only.

    `send` returns at once.
    """

    def __init__(
        self,
        director: Director,
        shadows: Shadows,
        store: MetricStore,
        send: Callable[[ShadowCopy], None],
        clock: Callable[[], float],
    ) -> None:
        self._director = director
        self._shadows = shadows
        self._store = store
        self._send = send
        self._clock = clock
        self._rows = CandidateRows()
        self._unspoken: frozenset[ObjectKey] = frozenset()
        # By the identity of the pick's record, which goes from a decision into those that replace it.
        self._pairs: dict[int, Pair] = {}
        self.books = ShadowBooks(
            Way(pool, place, each) for pool, listed in shadows.items() for place, each in enumerate(listed)
        )
        """What is under way, and what was compared."""

    def sync(self, state: DiscoveryState) -> None:
        """Follow discovery: copies are sent in HTTP/1.1, which some pools do not speak."""
        self._unspoken = frozenset(each.key for each in state.pools if each.h2c)

    # --- what exchanges ask -------------------------------------------------------------------------------------------

    def direct(self, request: InferenceRequest, now: float) -> Verdict | Held:
        """See `Director`."""
        return self._director.direct(request, now)

    def refused(self, headers: Headers, body: ParsedBody | None, rejection: Rejection) -> None:
        """See `Director`."""
        self._director.refused(headers, body, rejection)

    def response_started(self, decision: Decision, status: int | None, served: str | None, now: float) -> Decision:
        """See `Director`."""
        return self._director.response_started(decision, status, served, now)

    def finished(self, request: InferenceRequest, decision: Decision, outcome: Outcome, now: float) -> None:
        """See `Director`."""
        pair = self._pairs.pop(id(decision.record), None)
        self._director.finished(request, decision, outcome, now)
        if pair is not None:
            pair.primary = seen(outcome, max(0.0, now - pair.decided_at))
            self.books.compare(pair)

    def overheard(self, outcome: Outcome) -> None:
        """See `Director`."""
        self._director.overheard(outcome)

    def sent(self, request: InferenceRequest, decision: Decision, content: bytes) -> None:
        """`request` goes where `decision` says, with the body `content`, which is decoded: have it copied, or not."""
        pool, body = decision.pool, request.body
        listed = () if pool is None else self._shadows.get(pool, ())
        if pool is None or not listed or body is None or decision.record is None:
            return
        if body.framing is not None or not copied(body.api, request.headers):
            return
        place = drawn(pool, listed, request)
        if place is None:
            return
        way = Way(pool, place, listed[place])
        made = self._made(way, request, body, decision, content)
        if not isinstance(made, ShadowCopy):
            self.books.drew(way, made)
            return
        self._pairs[id(decision.record)] = made.pair
        self.books.began(way, made.size_bytes)
        self._send(made)

    # --- what sends copies --------------------------------------------------------------------------------------------

    def going(self, copy: ShadowCopy) -> None:
        """The copy is sent now; `ended` follows."""
        self.books.drew(copy.way, "copied")

    def withdrawn(self, copy: ShadowCopy) -> None:
        """The copy is not sent: its body marks side effects."""
        self.books.drew(copy.way, "side_effects")
        self._over(copy, answered=False)

    def ended(self, copy: ShadowCopy, result: Seen) -> None:
        """The copy has ended so."""
        self._over(copy, answered=result.succeeded)
        copy.pair.copy = result
        self.books.compare(copy.pair)

    def _over(self, copy: ShadowCopy, *, answered: bool) -> None:
        copy.over = True
        self.books.ended(copy.way, copy.size_bytes)
        self._store.release(copy.charge, answered=answered)

    def _made(
        self, way: Way, request: InferenceRequest, body: ParsedBody, decision: Decision, content: bytes
    ) -> ShadowCopy | Drawn:
        """The copy, with its place in the candidate's books, or why there is none."""
        settings = way.settings
        if marked(settings, request):
            return "side_effects"
        if len(content) > settings.max_request_bytes:
            return "too_large"
        if len(self._pairs) >= _MOST_PAIRS:
            return "no_room"
        now = self._clock()
        snapshot = None if way.to in self._unspoken else self._store.snapshot(way.to)
        if snapshot is None:
            return "no_endpoint"
        rows = self._rows.of(snapshot, settings.pod_labels or {}, now)
        takes = len(rows) * snapshot.state.settings.saturation.max_in_flight_requests
        if len(rows) and not self.books.has_room(way, len(content), takes):
            return "no_room"
        row: int | Kept = free_row(snapshot, rows, name_hash(way.pool, name_of(settings, request)), now)
        if not isinstance(row, int):
            return row
        model = settings.model or decision.target_model or body.model
        charge = self._store.charge(way.to, row, model, body.prompt_tokens, now)
        return ShadowCopy(
            Pair(way, now),
            request,
            body,
            model,
            content,
            snapshot.endpoints[row].authority,
            charge,
        )
