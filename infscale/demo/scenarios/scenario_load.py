"""The requests of a scenario as a real client sends them, and what became of them in the form figures are made of."""

import random
from collections.abc import Sequence

from infscale.demo.scenarios.scenario_plan import ScenarioPlan
from infscale.demo.scenarios.served import Served
from infscale.sim.engine.coefficients import coefficient_set
from infscale.sim.load.load_generator import Outcome
from infscale.sim.load.load_requests import LoadRequest, load_requests
from infscale.sim.load.traffic import LoadTarget
from infscale.sim.load.virtual_request import VirtualRequest

OBJECTIVE_HEADER = "x-llm-d-inference-objective"
FAIRNESS_HEADER = "x-llm-d-inference-fairness-id"
TRUSTED_HEADERS = (OBJECTIVE_HEADER, FAIRNESS_HEADER, "x-session-token")
"""What the load generator sets in the place of a gateway in front of Envoy."""


def virtual_requests(plan: ScenarioPlan, seed: int) -> tuple[VirtualRequest, ...]:
    """All requests of the scenario, the same for one seed."""
    chosen = coefficient_set(plan.coefficients)
    target = LoadTarget(chosen.model, chosen.num_blocks * chosen.block_size)
    return tuple(plan.traffic(target).stream(random.Random(seed)).arriving())


def sent(requests: Sequence[VirtualRequest]) -> tuple[LoadRequest, ...]:
    """The same requests with the headers that say their class and tenant."""
    return load_requests(requests, _headers)


def _headers(request: VirtualRequest) -> tuple[tuple[str, str], ...]:
    own = (OBJECTIVE_HEADER, str(request.request_class))
    return (own,) if request.tenant is None else (own, (FAIRNESS_HEADER, request.tenant))


def rows(requests: Sequence[VirtualRequest], outcomes: Sequence[Outcome]) -> list[Served]:
    """What became of `requests`, those whose outcome is known; an outcome's number is the place of its request."""
    return [_row(requests[each.number], each) for each in outcomes]


def _row(request: VirtualRequest, outcome: Outcome) -> Served:
    first = None if outcome.ttft_seconds is None else request.at_seconds + outcome.ttft_seconds
    return Served(
        request.at_seconds,
        str(request.request_class),
        first,
        outcome.ended_at,
        request.tenant,
        request.session,
        outcome.failure,
        outcome.refused,
        outcome.endpoint,
        outcome.prompt_tokens,
        outcome.cached_tokens,
        outcome.output_tokens,
    )
