"""An oracle: the score of the preset `infscale` on the exact state of the simulated engines at the moment of a pick.

It has neither scrapes nor books nor clocks. The stages of the preset are the product's; what they read is made of the
engines themselves: prompts that are not computed yet and what of them is cached, the batch, the KV cache, the true cost
of steps, and what is between gateway and server. Like the product it only expects how long an answer will be.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from infscale.endpoint import DiscoveryState, Endpoint, Phase
from infscale.latency.step_columns import StepColumns
from infscale.latency.step_model import StepModel
from infscale.metrics.gauges import EngineGauges
from infscale.metrics.sample import LoraState
from infscale.metrics.snapshot import Columns, PoolSettings, PoolSnapshot, PoolState
from infscale.sim.engine.kv import BlockPool
from infscale.sim.engine.steps import EngineRequest
from infscale.sim.engine.virtual_engine import VirtualEngine
from infscale.simulate.policy import Policy
from infscale.simulate.surroundings import Surroundings
from infscale.simulate.world.flights import Flight
from infscale.simulate.world.gateway import Refused
from infscale.simulate.world.virtual_server import VirtualServer
from picker.directing.director_books import DirectorSettings
from picker.directing.output_length import OutputLengths
from picker.epp_config.loader import preset
from picker.request import Headers
from picker.scheduling.costs.prefill_clock import Work
from picker.scheduling.costs.step_costs import step_costs
from picker.scheduling.memory import PoolMemory
from picker.scheduling.plugin import PrefixMatch, RequestFacts, SchedulingContext

if TYPE_CHECKING:
    from random import Random

NAME: Final = "oracle"
_PRESET: Final = "infscale"
_NO_ENDPOINTS: Final = Refused(503, "no_endpoints")
_NO_HEADERS: Final = Headers(())


def oracle_policy() -> Policy:
    """The oracle as a policy of `infscale.simulate`."""
    return Policy(NAME, None, router=OracleRouter)


@dataclass(frozen=True, slots=True)
class EngineState:
    """One engine at one moment, as a request of one prompt finds it.

    `model` says what its steps take. `pending_seconds` pass until the prompts that it has are computed. Then all its
    requests have `context_tokens` in the KV cache, for which they take the room of `held_tokens`, less where they
    share; it has `num_blocks` of `block_size` tokens. `cached_tokens` of the prompt are in it when its turn comes.
    `lora` are the adapters of the batch, and of what waits or is on its way.
    """

    block_size: int
    num_blocks: int
    model: StepModel
    pending_seconds: float
    running: int
    waiting: int
    context_tokens: float
    held_tokens: float
    cached_tokens: int
    lora: LoraState

    @property
    def requests(self) -> int:
        """Requests in the batch, in the queue and on their way."""
        return self.running + self.waiting

    @classmethod
    def of(
        cls, virtual: VirtualEngine, arriving: Iterable[EngineRequest], prompt: EngineRequest, now: float
    ) -> "EngineState":
        """The state of an engine to which `arriving` are on their way, for `prompt`.

        A prompt is cached as far as it is now, or will be by the prompts before it.
        """
        engine = virtual.engine
        pool, settings = engine.pool, engine.settings
        coming: set[int] = set()
        left = context = 0
        for request, tokens in engine.prefilling():
            left += tokens
            context += tokens
            coming.update(request.block_hashes)
        queue = [*engine.queued(), *((each, each.prompt_tokens) for each in arriving)]
        waiting_loras = frozenset(each.lora for each, _ in queue if each.lora is not None)
        for request, tokens in queue:
            left += max(1, tokens - _cached_tokens(pool, coming, request, settings.block_size))
            context += tokens
            coming.update(request.block_hashes)
        running, kv_tokens = engine.running, engine.kv_tokens
        model = engine.coefficients.linear_at(running).scaled(1.0 / settings.speed)
        budget = settings.max_num_batched_tokens
        # A step computes so much at most, and takes as long as one without prompts beside that.
        steps = left / budget
        pending = model.per_prefill_token * left + steps * model.seconds(0.0, kv_tokens, running)
        return cls(
            settings.block_size,
            settings.num_blocks,
            model,
            max(0.0, virtual.prefills_until - now) + pending,
            running,
            len(queue),
            kv_tokens + context,
            pool.usage_ratio * settings.capacity_tokens + left,
            _cached_tokens(pool, coming, prompt, settings.block_size),
            LoraState(frozenset(engine.running_loras()), waiting_loras, settings.max_loras),
        )


def _cached_tokens(pool: BlockPool, coming: set[int], request: EngineRequest, block_size: int) -> int:
    """Tokens of a prompt that are in the KV cache, or come with a prompt before it; its last one is always computed."""
    hashes = request.block_hashes[: (request.prompt_tokens - 1) // block_size]
    found = len(pool.match(hashes, len(hashes)))
    while found < len(hashes) and hashes[found] in coming:
        found += 1
    return found * block_size


class OracleRouter:
    """The `Router` that knows all; see the module."""

    def __init__(self, around: Surroundings) -> None:
        self._clock = around.clock
        self._servers = around.servers
        self._pool = around.scenario.pool
        self._rng: Random = around.rng
        self._scheduler = preset(_PRESET).scheduler
        self._outputs = OutputLengths(DirectorSettings().output_tokens)
        self._unknown = PoolState.of(self._pool, PoolSettings(), (), Columns.unknown(()))
        # By authority, those that were sent there and have not arrived.
        self._arriving: dict[str, dict[Flight, EngineRequest]] = {}
        self._hashed: tuple[int, int, tuple[int, ...]] = (0, 0, ())

    def sync(self, state: DiscoveryState) -> None:
        """See `Router`."""
        ready = tuple(each for each in state.endpoints if each.phase is Phase.READY)
        self._unknown = PoolState.of(self._pool, PoolSettings(), ready, Columns.unknown(ready))
        self._arriving = {each.authority: self._arriving.get(each.authority, {}) for each in ready}

    def route(self, flight: Flight) -> Sequence[str] | Refused:
        """See `Router`."""
        endpoints = self._unknown.endpoints
        if not endpoints:
            return _NO_ENDPOINTS
        now, request = self._clock.now, flight.request
        states = [self._state(each, flight, now) for each in endpoints]
        expected = self._outputs.expect(request.model, request.max_output_tokens)
        context = _context(self._unknown, states, _facts(flight, expected), now, self._rng)
        selection = self._scheduler.schedule(context, np.arange(len(endpoints)))
        if selection is None:
            return _NO_ENDPOINTS
        chosen = endpoints[selection.chosen[0]].authority
        self._arriving[chosen][flight] = self._asked(flight, self._servers[chosen])
        return (chosen,)

    def abandoned(self, flight: Flight) -> None:
        """See `Router`; no request waits here."""
        del flight

    def started(self, flight: Flight) -> None:
        """See `Router`."""
        self._arrived(flight)

    def ended(self, flight: Flight) -> None:
        """See `Router`."""
        self._arrived(flight)
        if flight.failure is None:
            self._outputs.observe(flight.request.model, flight.request.output_tokens)

    def _arrived(self, flight: Flight) -> None:
        self._arriving.get(flight.destinations[0], {}).pop(flight, None)

    def _state(self, endpoint: Endpoint, flight: Flight, now: float) -> EngineState:
        server = self._servers[endpoint.authority]
        # One that a server has got is known there, before its answer's headers are back.
        arriving = [asked for each, asked in self._arriving[endpoint.authority].items() if each.served is None]
        return EngineState.of(server.looked_at(), arriving, self._asked(flight, server), now)

    def _asked(self, flight: Flight, server: VirtualServer) -> EngineRequest:
        """The request as `server` would get it."""
        block_size = server.engine.settings.block_size
        if self._hashed[:2] != (flight.number, block_size):
            # The hashes of a long prompt take longer than all the rest, and servers mostly have blocks of one size.
            self._hashed = flight.number, block_size, flight.request.block_hashes(block_size)
        request = flight.request
        return EngineRequest(flight.number, flight.prompt_tokens, request.output_tokens, self._hashed[2], request.lora)


def _facts(flight: Flight, output_tokens: float) -> RequestFacts:
    return RequestFacts(flight.request.model, _NO_HEADERS, float(flight.prompt_tokens), output_tokens)


def _context(
    unknown: PoolState, states: Sequence[EngineState], facts: RequestFacts, now: float, rng: "Random"
) -> SchedulingContext:
    """What the stages of a preset read, made of exact states: endpoints scraped just now, with nothing in doubt."""
    rows, endpoints = len(states), unknown.endpoints
    running = np.array([each.running for each in states], dtype=np.float64)
    requests = np.array([each.requests for each in states], dtype=np.float64)
    capacity = np.array([float(each.block_size * each.num_blocks) for each in states])
    held = np.array([each.held_tokens for each in states])
    gauges = EngineGauges(
        waiting=requests - running,
        running=running,
        kv_utilization=np.minimum(held / capacity, 1.0),
        waiting_tokens=np.full(rows, np.nan),
        kv_used_tokens=np.minimum(held, capacity),
    )
    columns = replace(
        unknown.columns,
        gauges=gauges,
        observed_at=np.full(rows, now),
        settled=np.ones(rows, dtype=np.bool_),
        lora=[each.lora for each in states],
        block_size_tokens=[each.block_size for each in states],
        num_blocks=[each.num_blocks for each in states],
        steps=StepColumns.of([each.model for each in states], [0.0] * rows),
    )
    # By adapter alone, and how many there are of each is of no matter.
    in_flight = [dict.fromkeys(each.lora.names, (1.0, 0.0)) for each in states]
    snapshot = PoolSnapshot(unknown.observed(columns), NAME, 0, requests, np.zeros(rows), in_flight)
    memory = PoolMemory()
    memory.sync(endpoints)
    memory.adapters.follow(snapshot)
    clock = memory.clock
    clock.observe(snapshot, step_costs(snapshot))
    for row, each in enumerate(states):
        half = 0.5 * facts.output_tokens * each.waiting
        work = Work(each.pending_seconds, each.context_tokens, each.held_tokens + half)
        clock.dispatched(row, row, work, now)
    prefix = PrefixMatch(np.array([float(each.cached_tokens) for each in states]), facts.prompt_tokens)
    return SchedulingContext(facts, snapshot, prefix, now, rng, memory)
