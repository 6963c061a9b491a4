"""Flow control as the reference's configuration has it, with its defaults; which policies, and how much may wait."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol

from picker.flow.policies import Ceilings, Fairness, Ordering
from picker.flow.reference.band_fairness import GlobalStrict, RoundRobin
from picker.flow.reference.orderings import FirstComeFirstServed
from picker.flow.reference.program_aware import ProgramAware, ProgramSettings
from picker.flow.reference.revocation import Victims
from picker.flow.reference.usage_limits import StaticLimit
from picker.flow.reference.wait_budgets import WaitBudget

DEFAULT_TTL_SECONDS: Final = 60.0
DEFAULT_BAND_REQUESTS: Final = 5_000
DEFAULT_BAND_BYTES: Final = 1_000_000_000

_NO_PROGRAMS: Final = ProgramSettings()
_FIRST_COME: Final = FirstComeFirstServed()
_USUAL_BUDGET: Final = WaitBudget(DEFAULT_TTL_SECONDS, DEFAULT_TTL_SECONDS)
_NO_LIMIT: Final = StaticLimit()

FairnessKind = Literal["global-strict", "round-robin", "program-aware"]


@dataclass(frozen=True, slots=True)
class FairnessChoice:
    """A fairness policy of the configuration: bands that name the same share what it remembers of programs."""

    name: str = "global-strict-fairness-policy"
    kind: FairnessKind = "global-strict"
    programs: ProgramSettings = _NO_PROGRAMS

    def made(self, ordering: Ordering) -> Fairness:
        """The policy for one band with this ordering, at its beginning."""
        match self.kind:
            case "global-strict":
                return GlobalStrict(ordering)
            case "round-robin":
                return RoundRobin()
            case "program-aware":
                return ProgramAware(self.programs)


class CeilingsChoice(Protocol):
    """Ceilings of the configuration."""

    def made(self) -> Ceilings:
        """The policy for one pool, at its beginning."""
        ...


@dataclass(frozen=True, slots=True)
class BandSettings:
    """What requests of one priority may have: how many and how many bytes of them wait, and by which policies they go.

    `ttl_seconds` is how long each may wait while there are endpoints, infinite: for ever; None: as all others.
    """

    max_requests: int = DEFAULT_BAND_REQUESTS
    max_bytes: int = DEFAULT_BAND_BYTES
    ttl_seconds: float | None = None
    ordering: Ordering = _FIRST_COME
    fairness: FairnessChoice = FairnessChoice()


@dataclass(frozen=True, slots=True)
class ReferenceFlowSettings:
    """The whole of it. `max_requests` and `max_bytes` are of all bands together, None: no limit.

    `bands` are by priority. Another one gets `negative_band` where it is below 0 and that is said, else
    `default_band`. `evicting` None: no request in flight is taken back.
    """

    max_requests: int | None = None
    max_bytes: int | None = None
    budget: WaitBudget = _USUAL_BUDGET
    default_band: BandSettings = BandSettings()
    negative_band: BandSettings | None = None
    bands: Mapping[int, BandSettings] = field(default_factory=dict[int, BandSettings])
    ceilings: CeilingsChoice = _NO_LIMIT
    evicting: Victims | None = None

    def band(self, priority: int) -> BandSettings:
        """The settings of a band."""
        found = self.bands.get(priority)
        if found is not None:
            return found
        return self.negative_band if priority < 0 and self.negative_band is not None else self.default_band

    def budget_of(self, priority: int) -> WaitBudget:
        """How long requests of a band may wait."""
        seconds = self.band(priority).ttl_seconds
        return self.budget if seconds is None else replace(self.budget, seconds=seconds)
