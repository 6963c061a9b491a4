"""One rollout as it runs: its state, its test, and the versions of sessions."""

from dataclasses import replace
from typing import Final

from xxhash import xxh3_64_intdigest

from infscale.endpoint import ObjectKey, Rollout, RolloutTest, Version
from infscale.frozen_values import value
from infscale.rollouts.rollout_sessions import RolloutSessions, draw, salt_of
from infscale.rollouts.rollout_state import Command, RolloutPhase, RolloutState, Seen, advanced, commanded
from infscale.rollouts.sequential_test import LONG_MEMORY, MOST_PARTNERS, RequestResult, SequentialTest

NO_SESSION: Final = -1
_CHANGING: Final = ("steps", "sessions", "session_headers", "ready_endpoints", "created")
"""What may change of a rollout under way."""


@value
class RolloutShare:
    """The part of a rollout in one request: which version it has.

    `session` is the digest of its session's name, `NO_SESSION` where it has none. `counts`: its result says something
    of its version. `revision` is that of the rollout.
    """

    rollout: ObjectKey
    revision: str
    new: bool
    version: Version
    session: int = NO_SESSION
    counts: bool = True


class RunningRollout:
    """A rollout's state, its test and its sessions. For one thread; `now` is monotonic seconds."""

    def __init__(self, rollout: Rollout, now: float, state: RolloutState | None = None) -> None:
        self.rollout = rollout
        self.state = state or RolloutState(now)
        self.ready_endpoints = 0
        """Endpoints of the new version that are ready."""
        self.fallbacks = 0
        """Requests that had the other version because theirs had no endpoint."""
        self.sent = {"old": 0, "new": 0}
        """Requests sent to each version."""
        self._salt = salt_of(str(rollout.key), rollout.revision)
        self._sessions = RolloutSessions()
        test = rollout.test or RolloutTest()
        memory = LONG_MEMORY if rollout.switches else MOST_PARTNERS
        self.test = SequentialTest(test.metrics, test.false_alarms, test.tolerance_ratio, memory, test.warmup_requests)

    @property
    def weight_ratio(self) -> float:
        """The share of requests for the new version now."""
        return self.state.weight_ratio(self.rollout)

    @property
    def sessions(self) -> int:
        """How many sessions are remembered."""
        return len(self._sessions)

    def follow(self, rollout: Rollout) -> bool:
        """Go on by `rollout`; False where it is another one, which has to begin anew: its steps may change under way.

        A rollout that has ended stays as it ended.
        """
        was = replace(self.rollout, **{each: getattr(rollout, each) for each in _CHANGING})
        if was != rollout:
            return False
        if self.state.step >= len(rollout.steps):
            return False
        self.rollout = rollout
        return True

    def share(self, session: str | bytes | None, request_id: str) -> RolloutShare:
        """Which version a request has, by its session's name, else by its own."""
        if session is None:
            new = draw(self._salt, request_id.encode("utf-8", "surrogatepass")) < self.weight_ratio
            return self._share(NO_SESSION, new=new)
        name = session.encode("utf-8", "surrogatepass") if isinstance(session, str) else session
        digest = xxh3_64_intdigest(name)
        weight = self.weight_ratio
        # Where there is but one version, what was before does not matter.
        stays = self.rollout.sessions == "stay" and 0.0 < weight < 1.0
        new = self._sessions.is_new(digest, lambda: draw(self._salt, name) < weight, stays=stays)
        if weight == 0.0 and not self.rollout.switches:
            self._sessions.pass_over(digest)
        return self._share(digest, new=new)

    def other(self, share: RolloutShare) -> RolloutShare:
        """The share of the other version, of a request whose own has no endpoint; its result says nothing."""
        version = self.rollout.old if share.new else self.rollout.new
        return RolloutShare(share.rollout, share.revision, not share.new, version, share.session, counts=False)

    def observe(self, share: RolloutShare, result: RequestResult | None) -> None:
        """A request with `share` is over; `result` None: how it ended says nothing of its version."""
        if result is None or not share.counts:
            return
        test = self.rollout.test
        once = test is None or not test.every_request
        if share.session != NO_SESSION and once and not self._sessions.counts(share.session, new=share.new):
            return
        self.test.add("new" if share.new else "old", result)

    def advance(self, now: float) -> bool:
        """Go on as far as time and results allow; whether it is in another step or phase now."""
        before = self.state
        seen = Seen(self.ready_endpoints, self.test.requests["new"], self.test.alarm)
        self.state = advanced(self.rollout, before, seen, now)
        return (before.phase, before.step) != (self.state.phase, self.state.step)

    def command(self, command: Command, now: float) -> None:
        """Obey. Raises `CommandRefused`."""
        self.state = commanded(self.rollout, self.state, command, now)

    def _share(self, session: int, *, new: bool) -> RolloutShare:
        rollout = self.rollout
        version = rollout.new if new else rollout.old
        return RolloutShare(rollout.key, rollout.revision, new, version, session, self._counts(new=new))

    def _counts(self, *, new: bool) -> bool:
        """Whether a result compares: both versions have requests at once, or had before and after a switch."""
        weight = self.weight_ratio
        if 0.0 < weight < 1.0:
            return True
        live = self.state.phase in (RolloutPhase.WAITING, RolloutPhase.PROGRESSING, RolloutPhase.HELD)
        return live and self.rollout.switches and new == (weight == 1.0)
