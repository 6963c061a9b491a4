"""Which version of a rollout a request has, and which endpoints of the pool serve that version."""

from dataclasses import dataclass, replace
from typing import Final

from infscale.endpoint import ObjectKey, Version
from infscale.metrics.snapshot import IntArray, PoolSnapshot
from infscale.rollouts.rollout_book import RolloutTable, new_pool
from infscale.rollouts.running_rollout import RolloutShare, RunningRollout
from infscale.rollouts.sequential_test import RequestResult
from picker.directing.candidates import hinted, ready
from picker.directing.director_books import DirectorSettings
from picker.directing.rewrite import REWRITE_HEADERS
from picker.directing.served_models import serves
from picker.directing.session_books import PoolSessions
from picker.request import InferenceRequest, Outcome, ParsedBody
from picker.scheduling.by_endpoints import ByEndpoints, LabelledRows
from picker.sessions.session_settings import MAX_ID_BYTES

_NO_TABLE: Final = RolloutTable()


@dataclass(frozen=True, slots=True)
class Shared:
    """A request's share of a rollout, and whether it is that of the other version because its own has no endpoint."""

    share: RolloutShare
    fell_back: bool = False


class RolloutGate:
    """The rollouts of one pool's requests, and those of other pools' requests that lead to it."""

    def __init__(self, pool: ObjectKey, settings: DirectorSettings) -> None:
        self._pool = pool
        book, lists = settings.rollouts, settings.lists
        self._unknown_load = settings.unknown_load
        self._book = book
        self._lists = lists
        self._own = _NO_TABLE
        self._leading_here = _NO_TABLE
        self._rows: ByEndpoints[LabelledRows] = ByEndpoints(LabelledRows)

    def sync(self) -> None:
        """Follow the book, which follows discovery."""
        if self._book is not None:
            self._own, self._leading_here = self._book.table(self._pool), self._book.leading_to(self._pool)

    def shared(
        self, request: InferenceRequest, body: ParsedBody, sessions: PoolSessions, snapshot: PoolSnapshot, now: float
    ) -> Shared | None:
        """The share of a request, with a version that can serve it where one of them can; None: it has none."""
        running = self._of(request, body)
        if running is None:
            return None
        share = _share(running, request, sessions, now)
        if running.rollout.new.pool:
            # What leads to another pool is decided before a director is asked, and that pool has the rest.
            here = new_pool(running.rollout) == self._pool
            return Shared(share) if share.new == here else None
        if not self._serves(share.version, request, snapshot, now):
            other = running.other(share)
            if self._serves(other.version, request, snapshot, now):
                return Shared(other, fell_back=True)
            return Shared(replace(share, counts=False))
        return Shared(share)

    def elsewhere(self, request: InferenceRequest, body: ParsedBody, now: float) -> ObjectKey | None:
        """The pool of the request's version where that is another than this one."""
        running = self._own.of(body.model) if self._own else None
        if running is None or not running.rollout.new.pool or self._of(request, body) is not running:
            return None
        return new_pool(running.rollout) if _share(running, request, None, now).new else None

    def rows(self, shared: Shared | None, snapshot: PoolSnapshot, rows: IntArray) -> IntArray:
        """Those of `rows` that serve the request's version, in their order; there may be none."""
        if shared is None or not shared.share.version.labels:
            return rows
        return self._rows.of(snapshot).among(shared.share.version.labels, rows)

    def sent(self, shared: Shared | None) -> None:
        """A request with this share was sent."""
        if shared is not None and self._book is not None:
            self._book.sent(shared.share, fell_back=shared.fell_back)

    def finished(self, share: RolloutShare, outcome: Outcome) -> None:
        """A request with `share` is over."""
        if self._book is not None:
            self._book.observe(share, _result(outcome))

    def _of(self, request: InferenceRequest, body: ParsedBody) -> RunningRollout | None:
        if not self._own and not self._leading_here:
            return None
        running = self._own.of(body.model) or self._leading_here.of(body.model)
        if running is None or _named_by_gateway(request, body):
            return None
        rollout = running.rollout
        renames = rollout.old.model is not None or rollout.new.model is not None
        rewritable = body.api != "opaque" and body.framing is None
        return running if rewritable or not renames else None

    def _serves(self, version: Version, request: InferenceRequest, snapshot: PoolSnapshot, now: float) -> bool:
        """Whether an endpoint of the version can get the request.

        One whose load is not known at the moment can, where such are served: a session does not change its version for
        a scrape that was lost. And a model is missing only where lists say so: pages name what is in use.
        """
        if version.labels:
            allowed = ready(snapshot) if self._unknown_load == "serve" else snapshot.candidates(now)
            if not len(self._rows.of(snapshot).among(version.labels, hinted(request.subset, snapshot, allowed))):
                return False
        return version.model is None or self._lists is None or serves(snapshot, version.model, self._lists)


def _named_by_gateway(request: InferenceRequest, body: ParsedBody) -> bool:
    """Whether the gateway says which model the request is sent as."""
    named = next(filter(None, map(request.headers.get, REWRITE_HEADERS)), None)
    return named is not None and named != body.model


def _share(
    running: RunningRollout, request: InferenceRequest, sessions: PoolSessions | None, now: float
) -> RolloutShare:
    """The share by the name of the request's session.

    Where a version is another pool, only headers tell: both pools have to know the name, and tokens are of one pool.
    """
    found: str | bytes | None = next(filter(_is_name, map(request.headers.get, running.rollout.session_headers)), None)
    if found is None and sessions is not None and not running.rollout.new.pool:
        found = sessions.name_of(request.headers, now)
    return running.share(found, request.request_id)


def _is_name(text: str | None) -> bool:
    return text is not None and 0 < len(text) <= MAX_ID_BYTES


def _result(outcome: Outcome) -> RequestResult | None:
    """What an outcome says of the version; None: nothing."""
    failed = outcome.failed
    if failed is None or outcome.status is None:
        return None
    if failed:
        return RequestResult(True)
    if not 200 <= outcome.status < 300:
        # The client's own fault has no latency worth comparing.
        return RequestResult(False)
    first, tokens, each = outcome.first_byte_seconds, outcome.completion_tokens, None
    if outcome.streamed and first is not None and tokens is not None and tokens > 1:
        each = (outcome.duration_seconds - first) / (tokens - 1)
    return RequestResult(False, first, each, outcome.duration_seconds)
