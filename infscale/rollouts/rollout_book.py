"""All rollouts that run in a process: the one owner of their states."""

from collections.abc import Iterable, Iterator, Mapping

from infscale.endpoint import DiscoveryState, Endpoint, ObjectKey, Phase, Rollout
from infscale.rollouts.rollout_state import Command, CommandRefused, RolloutState
from infscale.rollouts.running_rollout import RolloutShare, RunningRollout
from infscale.rollouts.sequential_test import RequestResult

Change = tuple[RunningRollout, RolloutState]
"""A rollout with the state that it was in before."""


class RolloutTable:
    """The rollouts of one pool: for each model the one that counts, and the one for all other models."""

    def __init__(self, running: Iterable[RunningRollout] = ()) -> None:
        self._exact: dict[str, RunningRollout] = {}
        self._generic: RunningRollout | None = None
        for each in sorted(running, key=lambda each: (each.rollout.created, each.rollout.key)):
            model = each.rollout.model
            if model is not None:
                self._exact.setdefault(model, each)
            elif self._generic is None:
                self._generic = each

    def of(self, model: str) -> RunningRollout | None:
        """The rollout of requests for `model`."""
        return self._exact.get(model, self._generic)

    def __iter__(self) -> Iterator[RunningRollout]:
        yield from self._exact.values()
        if self._generic is not None:
            yield self._generic

    def __bool__(self) -> bool:
        return bool(self._exact) or self._generic is not None


class RolloutBook:
    """Follows discovery's rollouts; see the module. For one thread; `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._restored: dict[tuple[ObjectKey, str], RolloutState] = {}
        self._running: dict[ObjectKey, RunningRollout] = {}

    def __iter__(self) -> Iterator[RunningRollout]:
        return iter(self._running.values())

    def restore(self, states: Mapping[tuple[ObjectKey, str], RolloutState]) -> None:
        """Have rollouts go on that were in one of `states`, by name and revision, before this process."""
        self._restored = dict(states)

    def sync(self, state: DiscoveryState, now: float) -> None:
        """Have exactly the rollouts of `state`, and know how many endpoints their new versions have."""
        self._running = {each.key: self._followed(each, now) for each in state.rollouts}
        for each in self._running.values():
            each.ready_endpoints = sum(map(lambda endpoint: _is_new(each.rollout, endpoint, state), state.endpoints))

    def table(self, pool: ObjectKey) -> RolloutTable:
        """Those of requests for `pool`."""
        return RolloutTable(each for each in self if own_pool(each.rollout) == pool)

    def leading_to(self, pool: ObjectKey) -> RolloutTable:
        """Those of other pools whose new version is `pool`."""
        return RolloutTable(each for each in self if each.rollout.new.pool and new_pool(each.rollout) == pool)

    def advance(self, now: float) -> list[Change]:
        """Take every rollout as far as it goes at `now`; those that are in another step or phase now."""
        changed: list[Change] = []
        for each in self:
            before = each.state
            if each.advance(now):
                changed.append((each, before))
        return changed

    def observe(self, share: RolloutShare, result: RequestResult | None) -> None:
        """A request with `share` is over; see `RunningRollout.observe`. One of a rollout that is gone is forgotten."""
        running = self.of(share)
        if running is not None:
            running.observe(share, result)

    def sent(self, share: RolloutShare, *, fell_back: bool) -> None:
        """A request with `share` was sent; `fell_back`: its own version had no endpoint."""
        running = self.of(share)
        if running is not None:
            running.sent["new" if share.new else "old"] += 1
            running.fallbacks += fell_back

    def of(self, share: RolloutShare) -> RunningRollout | None:
        """The rollout of `share`; None: it is gone, or another of its name runs."""
        running = self._running.get(share.rollout)
        return running if running is not None and running.rollout.revision == share.revision else None

    def command(self, name: str, command: Command, now: float) -> RunningRollout:
        """Tell the rollout `name` (``name`` or ``namespace/name``). Raises `CommandRefused`."""
        found = [each for key, each in self._running.items() if name in (str(key), key.name)]
        if len(found) != 1:
            raise CommandRefused(
                "there is no rollout of that name" if not found else "several have that name: give namespace/name"
            )
        found[0].command(command, now)
        return found[0]

    def _followed(self, rollout: Rollout, now: float) -> RunningRollout:
        running = self._running.get(rollout.key)
        if running is not None and running.follow(rollout):
            return running
        restored = self._restored.pop((rollout.key, rollout.revision), None)
        if restored is not None and restored.step >= len(rollout.steps):
            restored = None
        return RunningRollout(rollout, now, restored)


def own_pool(rollout: Rollout) -> ObjectKey:
    """The pool whose requests it is for."""
    return ObjectKey(rollout.key.namespace, rollout.pool)


def new_pool(rollout: Rollout) -> ObjectKey:
    """The pool of the new version."""
    return ObjectKey(rollout.key.namespace, rollout.new.pool or rollout.pool)


def _is_new(rollout: Rollout, endpoint: Endpoint, state: DiscoveryState) -> bool:
    """Whether `endpoint` is a ready one of the new version, as far as discovery tells."""
    if endpoint.phase is not Phase.READY or not rollout.new.labels.items() <= endpoint.labels.items():
        return False
    key = new_pool(rollout)
    return any(pool.key == key and pool.selects(endpoint) for pool in state.pools)
