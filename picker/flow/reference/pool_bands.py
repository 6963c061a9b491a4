"""The priority bands of one pool: which there are, by which policies their requests leave, and what each may hold."""

from collections.abc import Collection, Sequence
from typing import Final

from picker.flow.budgets import Budget
from picker.flow.policies import Fairness
from picker.flow.reference.flow_settings import ReferenceFlowSettings
from picker.flow.reference.program_aware import ProgramAware
from picker.flow.waiting import Waiting

UNUSED_SECONDS: Final = 600.0
"""For how long a band that is not configured is kept without requests."""


class PoolBands:
    """Owner of the policies of one pool's bands. Those configured, and that of priority 0, are always there."""

    def __init__(self, settings: ReferenceFlowSettings) -> None:
        self._settings = settings
        self._fairness: dict[int, Fairness] = {}
        self._programs: dict[str, ProgramAware] = {}
        self._used_at: dict[int, float] = {}

    @property
    def programs(self) -> Sequence[ProgramAware]:
        """The books of programs, one for each plugin that keeps any."""
        return tuple(self._programs.values())

    @property
    def known(self) -> Collection[int]:
        """The bands there are."""
        return self._settings.bands.keys() | {0} | self._used_at.keys()

    def key(self, waiting: Waiting) -> tuple[float, ...]:
        """See `Ordering`: by that of the request's band."""
        return self._settings.band(waiting.priority).ordering.key(waiting)

    def fairness(self, priority: int) -> Fairness:
        """The fairness of a band."""
        found = self._fairness.get(priority)
        if found is None:
            found = self._fairness[priority] = self._made(priority)
        return found

    def budget(self, priority: int) -> Budget:
        """What of a band may wait."""
        band = self._settings.band(priority)
        return Budget(band.max_requests, band.max_bytes)

    def use(self, priority: int, now: float) -> None:
        """A request of the band has come."""
        self._used_at[priority] = now

    def priorities(self, waiting: Collection[int], now: float) -> Sequence[int]:
        """The bands there are, highest first; requests of those `waiting` keep theirs."""
        for priority in waiting:
            self._used_at[priority] = now
        for priority in [each for each, at in self._used_at.items() if now - at > UNUSED_SECONDS]:
            del self._used_at[priority]
        return sorted(self.known, reverse=True)

    def served(self, waiting: Waiting, prompt_tokens: float, output_tokens: float, now: float) -> None:
        """An answer to a request has ended, which reports so many tokens: fairness by service counts these."""
        fairness = self.fairness(waiting.priority)
        if isinstance(fairness, ProgramAware):
            fairness.served(waiting.flow, prompt_tokens, output_tokens, now)

    def _made(self, priority: int) -> Fairness:
        band = self._settings.band(priority)
        name = band.fairness.name
        if name in self._programs:
            return self._programs[name]
        made = band.fairness.made(band.ordering)
        if isinstance(made, ProgramAware):
            self._programs[name] = made
        return made
