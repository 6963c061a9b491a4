"""A picker whose latency models are wrong by known factors: what it decides by, in each state of the store."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

from infscale.endpoint import DiscoveryState
from infscale.simulate.policy import Policy, named_policy
from infscale.simulate.product import PickerRouter, Product
from infscale.simulate.surroundings import Surroundings
from infscale.simulate.world.flights import Flight
from infscale.simulate.world.gateway import Answer
from picker.scheduling.costs.step_costs import STEP_COSTS, StepCosts, step_costs, usual_costs


class Mistake(Protocol):
    """What becomes of what is known."""

    def of(self, costs: StepCosts) -> StepCosts:
        """What is believed in place of `costs`."""
        ...


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing is ever known of any endpoint's steps."""

    def of(self, costs: StepCosts) -> StepCosts:
        """The usual ones."""
        return usual_costs(len(costs.base))

    def __str__(self) -> str:
        return "steps unknown"


@dataclass(frozen=True, slots=True)
class Errors:
    """What costs are multiplied by: those of a prefill token, and all others."""

    prefill: float
    rest: float

    def of(self, costs: StepCosts) -> StepCosts:
        """`costs`, as wrong as that."""
        return StepCosts(
            costs.base * self.rest,
            costs.per_prefill_token * self.prefill,
            costs.per_kv_token * self.rest,
            costs.per_sequence * self.rest,
        )

    def __str__(self) -> str:
        return f"prefill × {self.prefill:g}, rest × {self.rest:g}"


ERRORS: Final = (Errors(0.4, 1.6), Errors(1.6, 0.4))
"""Wrong by 60 % in either direction."""


def wrong_policy(words: str, errors: Mistake) -> Policy:
    """The policy that `words` name as `infscale simulate` does, with models that are wrong; raises `ConfigError`."""
    return replace(named_policy(words), name=f"{words}, {errors}", router=partial(WrongRouter, errors))


class WrongRouter:
    """The picker's own router, which finds wrong costs of steps whenever it asks for them."""

    def __init__(self, errors: Mistake, around: Surroundings) -> None:
        self._errors = errors
        self._picker, self._product = _picker(around)
        self._pool = around.scenario.pool
        self._wrong: StepCosts | None = None

    def sync(self, state: DiscoveryState) -> None:
        """See `Router`."""
        self._picker.sync(state)

    def route(self, flight: Flight) -> Answer | None:
        """See `Router`."""
        self._mislead()
        return self._picker.route(flight)

    def abandoned(self, flight: Flight) -> None:
        """See `Router`."""
        self._picker.abandoned(flight)

    def started(self, flight: Flight) -> None:
        """See `Router`."""
        self._picker.started(flight)

    def ended(self, flight: Flight) -> None:
        """See `Router`."""
        self._picker.ended(flight)

    def _mislead(self) -> None:
        """Put wrong costs in place of those of the state of the moment, unless they are there already."""
        snapshot = self._product.store.snapshot(self._pool)
        if snapshot is not None and (self._wrong is None or snapshot.state.derived.get(STEP_COSTS) is not self._wrong):
            self._wrong = snapshot.state.derived.keep(STEP_COSTS, self._errors.of(step_costs(snapshot)))


def _picker(around: Surroundings) -> tuple[PickerRouter, Product]:
    if around.picker is None or around.product is None:
        raise ValueError("models can be wrong only where a picker routes")
    return around.picker, around.product
