"""Requests for `chat`, copies of which go to `next`: a director on a real store, with time by hand."""

from collections.abc import Callable, Mapping

import orjson

from infscale.config.shadow_settings import ShadowSettings
from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.metrics.snapshot import PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore
from picker.parsing import DEFAULT_PARSERS, parse_body
from picker.pick_record import PickRecord
from picker.request import Decision, Headers, InferenceRequest, Outcome
from picker.shadowing.shadow_books import Seen
from picker.shadowing.shadow_director import ShadowCopy, ShadowDirector
from tests.fakes.director import FakeDirector
from tests.fakes.samples import engine_sample

CHAT, NEXT = ObjectKey("llm", "chat"), ObjectKey("llm", "next")
BODY = {"model": "llama", "prompt": "hello", "max_tokens": 4}


class Shadowed:
    """What was sent, and what became of it."""

    def __init__(self, *candidates: ShadowSettings, endpoints: int = 1, h2c: bool = False) -> None:
        self.now = 1.0
        self.store = MetricStore("s")
        self.copies: list[ShadowCopy] = []
        self.inner = FakeDirector()
        self.director = ShadowDirector(self.inner, {CHAT: candidates}, self.store, self.copies.append, lambda: self.now)
        found = [
            Endpoint(EndpointKey("llm", f"next-{row}"), f"10.0.1.{row + 1}", 8000, {"pool": "next", "row": str(row)})
            for row in range(endpoints)
        ]
        state = DiscoveryState(tuple(found), (Pool(CHAT, {"pool": "chat"}), Pool(NEXT, {"pool": "next"}, h2c=h2c)))
        self.store.sync(state)
        self.director.sync(state)
        self.scrape()

    def scrape(self, waiting: float = 0.0, kv: float = 0.1) -> None:
        for each in self.snapshot.endpoints:
            self.store.record_scrape(each.key, engine_sample(waiting, 0.0, kv), self.now)

    @property
    def snapshot(self) -> PoolSnapshot:
        found = self.store.snapshot(NEXT)
        assert found is not None
        return found

    @property
    def in_flight(self) -> float:
        """Requests in the candidate's books."""
        return float(self.snapshot.in_flight_requests.sum())

    def ask(
        self,
        number: int = 0,
        headers: Mapping[str, str] | None = None,
        path: str = "/v1/completions",
        body: object = BODY,
        target: str = "llama",
    ) -> Callable[[Outcome], None]:
        """Send a request on; what ends it."""
        content = orjson.dumps(body)
        route = DEFAULT_PARSERS.route(path)
        assert route is not None
        items = [(name, value.encode()) for name, value in (headers or {}).items()]
        request = InferenceRequest(f"id-{number}", path, Headers(items), parse_body(route, content))
        record = PickRecord.__new__(PickRecord)
        decision = Decision(("10.0.0.1:8000",), target, "s.1", pool=CHAT, record=record)
        self.director.sent(request, decision, content)
        return lambda outcome: self.director.finished(request, decision, outcome, self.now)

    def goes(self, copy: ShadowCopy) -> bytes | None:
        """What sends it does so: the body, None where it is withdrawn."""
        content = copy.content()
        if content is None:
            self.director.withdrawn(copy)
        else:
            self.director.going(copy)
        return content

    def ends(self, copy: ShadowCopy, result: str = "2xx", first: float | None = 0.1, tokens: int | None = None) -> None:
        self.director.ended(copy, Seen(result, first, self.now - copy.pair.decided_at, tokens))

    def drawn(self) -> dict[str, int]:
        """What became of what was drawn, over all candidates."""
        found: dict[str, int] = {}
        for counts in self.director.books.ways.values():
            for what, count in counts.drawn.items():
                found[what] = found.get(what, 0) + count
        return found
