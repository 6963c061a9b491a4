"""Latency models that are wrong on purpose: by how much, and wherever the picker asks."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from bench.wrong_models import ERRORS, Errors, WrongRouter, wrong_policy
from infscale.simulate.policy import named_policy
from infscale.simulate.simulation import Simulation, simulate
from infscale.simulate.surroundings import Surroundings
from infscale.simulate.world.flights import Flight
from infscale.simulate.world.gateway import Answer
from picker.scheduling.costs.step_costs import StepCosts, step_costs
from tests.simulate.scenarios import SharedPrefixes, scenario

COSTS = ("base", "per_prefill_token", "per_kv_token", "per_sequence")
TRUE = StepCosts(*(np.array([each, 2 * each]) for each in (1.0, 10.0, 100.0, 1000.0)))


@pytest.mark.parametrize(
    ("errors", "first_row"), [(ERRORS[0], [1.6, 4.0, 160.0, 1600.0]), (ERRORS[1], [0.4, 16.0, 40.0, 400.0])]
)
def test_prefill_is_wrong_to_one_side_and_the_rest_to_the_other(errors: Errors, first_row: list[float]) -> None:
    wrong = errors.of(TRUE)
    assert [getattr(wrong, name)[0] for name in COSTS] == pytest.approx(first_row)
    assert [getattr(wrong, name)[1] for name in COSTS] == pytest.approx([2 * each for each in first_row])


def test_models_that_are_wrong_by_nothing_change_nothing() -> None:
    played = scenario(traffic=SharedPrefixes(requests=100))
    plain = simulate(played, named_policy("infscale"), 1)
    # As other processes get it.
    same = simulate(played, pickle.loads(pickle.dumps(wrong_policy("infscale", Errors(1.0, 1.0)))), 1)
    assert same.requests.ended.tobytes() == plain.requests.ended.tobytes()
    assert same.counts == plain.counts
    assert same.policy == "infscale, prefill × 1, rest × 1"


class Looked(WrongRouter):
    """Compares, after each pick, what was decided by with what the store has learnt."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(ERRORS[0], around)
        assert around.product is not None
        self._store, self._of = around.product.store, around.scenario.pool
        self.looks = 0

    def route(self, flight: Flight) -> Answer | None:
        answer = super().route(flight)
        snapshot = self._store.snapshot(self._of)
        assert snapshot is not None
        steps = snapshot.columns.steps
        assert steps.usable.all()
        asked = step_costs(snapshot)
        assert asked.base == pytest.approx(1.6 * steps.base)
        assert asked.per_prefill_token == pytest.approx(0.4 * steps.per_prefill_token * (1.0 + steps.error))
        self.looks += 1
        return answer


def test_every_state_of_the_store_is_misjudged_by_as_much() -> None:
    """Whatever was learnt meanwhile, at any pick."""
    policy = replace(named_policy("infscale@200ms"), router=Looked)
    run = Simulation(scenario(known_gpus=True), policy, 1)
    run.run()
    assert isinstance(run.router, Looked)
    assert run.router.looks == 120


def test_a_baseline_has_no_models_to_be_wrong() -> None:
    with pytest.raises(ValueError, match="only where a picker routes"):
        Simulation(scenario(), wrong_policy("random", ERRORS[0]), 1)
