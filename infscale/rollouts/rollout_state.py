"""How far a rollout is: its steps, and what ends or stops them. Deterministic in what it is told."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from infscale.endpoint import Rollout
from infscale.errors import InfscaleError

Command = Literal["hold", "resume", "abort"]
COMMANDS: Final[tuple[Command, ...]] = ("hold", "resume", "abort")


class CommandRefused(InfscaleError):
    """A rollout cannot be told this as it is now; the message says why, and what can be done instead."""


class RolloutPhase(enum.StrEnum):
    """The life of a rollout: ``Waiting → Progressing ⇄ Held → Completed``, or back before that."""

    WAITING = "Waiting"
    """The new version has not as many ready endpoints as it needs; the old one has all requests."""
    PROGRESSING = "Progressing"
    HELD = "Held"
    """It stays at its step until it is resumed or aborted."""
    COMPLETED = "Completed"
    """All requests go to the new version."""
    ROLLED_BACK = "RolledBack"
    """The new version was worse: all requests go to the old one."""
    ABORTED = "Aborted"
    """All requests go to the old one, as it was wanted."""


ENDED: Final = frozenset({RolloutPhase.COMPLETED, RolloutPhase.ROLLED_BACK, RolloutPhase.ABORTED})
_WITHOUT_STEP: Final[Mapping[RolloutPhase, float]] = {
    RolloutPhase.WAITING: 0.0,
    RolloutPhase.COMPLETED: 1.0,
    RolloutPhase.ROLLED_BACK: 0.0,
    RolloutPhase.ABORTED: 0.0,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What steps depend on: ready endpoints of the new version, its requests that count for the test, and an alarm."""

    ready_endpoints: int = 0
    requests: int = 0
    alarm: str | None = None


@dataclass(frozen=True, slots=True)
class RolloutState:
    """A rollout at one moment, `at` (monotonic seconds).

    `step` is the number of the step, from 0. `seconds` is how long it has been in it, without the time that it was
    held; the new version had `requests_before` when it began. `reason` says why it is in its phase. `alarmed`: it is
    held for an alarm; `ignores_alarm`: it was resumed in spite of one.
    """

    at: float
    phase: RolloutPhase = RolloutPhase.WAITING
    step: int = 0
    seconds: float = 0.0
    requests_before: int = 0
    reason: str = "waits for endpoints of the new version"
    alarmed: bool = False
    ignores_alarm: bool = False

    def weight_ratio(self, rollout: Rollout) -> float:
        """The share of requests for the new version."""
        fixed = _WITHOUT_STEP.get(self.phase)
        return rollout.steps[self.step].weight_ratio if fixed is None else fixed


def advanced(rollout: Rollout, state: RolloutState, seen: Seen, now: float) -> RolloutState:
    """The state at `now`, at most one step further; the very same one where nothing is to be said of it any more."""
    if state.phase in ENDED:
        return state
    if state.phase is RolloutPhase.WAITING:
        if seen.ready_endpoints < rollout.ready_endpoints:
            return replace(state, at=now)
        return RolloutState(now, RolloutPhase.PROGRESSING, 0, 0.0, seen.requests, _step_reason(rollout, 0))
    test = rollout.test
    if test is not None and seen.alarm is not None and not state.ignores_alarm:
        if test.on_alarm == "rollback":
            return replace(state, at=now, phase=RolloutPhase.ROLLED_BACK, reason=seen.alarm)
        return replace(state, at=now, phase=RolloutPhase.HELD, reason=seen.alarm, alarmed=True)
    if state.phase is RolloutPhase.HELD:
        return replace(state, at=now)
    step, seconds = rollout.steps[state.step], state.seconds + max(0.0, now - state.at)
    if seconds < step.seconds or seen.requests - state.requests_before < step.requests:
        return replace(state, at=now, seconds=seconds)
    following = state.step + 1
    if following == len(rollout.steps):
        return replace(state, at=now, phase=RolloutPhase.COMPLETED, seconds=seconds, reason="every step is over")
    reason = _step_reason(rollout, following)
    return replace(state, at=now, step=following, seconds=0.0, requests_before=seen.requests, reason=reason)


def _step_reason(rollout: Rollout, step: int) -> str:
    return f"step {step + 1} of {len(rollout.steps)}"


def _held(rollout: Rollout, state: RolloutState, now: float) -> RolloutState:
    if state.phase is not RolloutPhase.PROGRESSING:
        raise CommandRefused(f"it is {state.phase}: what is Progressing can be held")
    return replace(state, at=now, phase=RolloutPhase.HELD, reason="held by command")


def _resumed(rollout: Rollout, state: RolloutState, now: float) -> RolloutState:
    if state.phase is not RolloutPhase.HELD:
        again = "; another revision begins it anew" if state.phase in ENDED else ""
        raise CommandRefused(f"it is {state.phase}: what is Held can be resumed{again}")
    reason = _step_reason(rollout, state.step)
    ignores = state.ignores_alarm or state.alarmed
    return replace(state, at=now, phase=RolloutPhase.PROGRESSING, reason=reason, alarmed=False, ignores_alarm=ignores)


def _aborted(rollout: Rollout, state: RolloutState, now: float) -> RolloutState:
    if state.phase in ENDED:
        raise CommandRefused(f"it is {state.phase}: it has ended; delete it, or give it another revision")
    return replace(state, at=now, phase=RolloutPhase.ABORTED, reason="aborted by command")


_COMMANDED: Final[Mapping[Command, Callable[[Rollout, RolloutState, float], RolloutState]]] = {
    "hold": _held,
    "resume": _resumed,
    "abort": _aborted,
}


def commanded(rollout: Rollout, state: RolloutState, command: Command, now: float) -> RolloutState:
    """The state after `command`. Raises `CommandRefused`."""
    return _COMMANDED[command](rollout, state, now)
