"""What is simulated: traffic, servers, delays, faults, and what counts as good."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from infscale.demo.scenarios.scenario_plan import ZeroScaling
from infscale.doctor.replay.replayed_hpa import ReplayedHpa
from infscale.endpoint import ObjectKey
from infscale.sim.engine.coefficients import CoefficientSet
from infscale.sim.engine.steps import EngineSettings
from infscale.sim.load.traffic import Traffic
from infscale.sim.settings import Fault

POOL = ObjectKey("default", "default")


@dataclass(frozen=True, slots=True)
class ServerKind:
    """A simulated vLLM server: how fast it is and what fits into it.

    `speed` above 1 makes steps shorter by that factor. `engine` None: the coefficient set's KV cache and vLLM's own
    limits.
    """

    coefficients: CoefficientSet
    speed: float = 1.0
    engine: EngineSettings | None = None

    def __post_init__(self) -> None:
        if not 0.01 <= self.speed <= 100:
            raise ValueError("a server's speed is a factor within 0.01–100")

    def settings(self, startup_seconds: float) -> EngineSettings:
        """The engine's limits, of one that is ready after `startup_seconds`."""
        own, given = self.coefficients, self.engine
        if given is None:
            return EngineSettings(own.num_blocks, own.block_size, startup_seconds=startup_seconds, speed=self.speed)
        return EngineSettings(
            given.num_blocks,
            given.block_size,
            given.max_num_seqs,
            given.max_num_batched_tokens,
            given.max_waiting,
            given.max_loras,
            given.lora_load_seconds,
            startup_seconds,
            given.speed * self.speed,
        )


@dataclass(frozen=True, slots=True)
class Delays:
    """How late everything is, seconds.

    `gateway` is from the client to the picker, `picker` from there until the gateway has the decision, `network` one
    way between gateway and server, `scrape` from the start of a scrape until the store has it; the page is of the
    middle of that. `retry` is how long the gateway waits after a connection that was refused.
    """

    gateway: float = 0.0005
    picker: float = 0.001
    network: float = 0.0002
    scrape: float = 0.004
    retry: float = 0.01

    def __post_init__(self) -> None:
        if min(self.gateway, self.picker, self.network, self.scrape, self.retry) < 0:
            raise ValueError("delays are not negative")


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """Something that goes wrong at one server (by its number) `at_seconds` after the run began."""

    at_seconds: float
    server: int
    fault: Fault


@dataclass(frozen=True, slots=True)
class Scaling:
    """Replicas that an HPA starts and stops.

    It syncs every `sync_seconds`. A new replica is `start_seconds` away from its first request, a number that covers
    node, image and model; None: what its coefficient set takes to load. One that is to go gets `grace_seconds` for what
    it has.
    """

    hpa: ReplayedHpa
    sync_seconds: float = 15.0
    start_seconds: float | None = None
    grace_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.sync_seconds <= 0 or self.grace_seconds < 0 or (self.start_seconds or 0) < 0:
            raise ValueError("the sync period is positive, start and grace seconds are not negative")


@dataclass(frozen=True, slots=True)
class PlannedScale:
    """Other replicas `at_seconds` after the run began, whatever an HPA says.

    First `added` ones of the first kind of server, ready after `start_seconds`. Then the `oldest` and the `newest` of
    those that stay get nothing new; each has `grace_seconds` for what it has.
    """

    at_seconds: float
    added: int = 0
    start_seconds: float = 0.0
    oldest: int = 0
    newest: int = 0
    grace_seconds: float = 30.0

    def __post_init__(self) -> None:
        if min(self.at_seconds, self.added, self.start_seconds, self.oldest, self.newest, self.grace_seconds) < 0:
            raise ValueError("times and numbers of replicas are not negative")


@dataclass(frozen=True, slots=True)
class Goal:
    """What a good answer is, seconds: its first token, each further one, the whole; None is no matter."""

    ttft: float | None = None
    tpot: float | None = None
    e2e: float | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """One experiment but for its policy and seed.

    `scrape_seconds` is the interval between two scrapes, the product's own where None. `destinations` are those that
    the picker may name to the gateway, for which it tries `retries` more after a connection that fails. With
    `response_bodies` the picker sees answers and so their usage. `priorities` are those of request classes,
    `weights` the shares of tenants.
    `goal_headers`: requests carry the goal. With `known_gpus` labels of endpoints say which GPUs they have, so that
    priors of their speed are found. Clients leave after `patience_seconds`. Requests that arrive before
    `warmup_seconds` are played and not counted. `served_model` is the name that the model has here, None: the first
    server's own. `at_first` is how many of the servers there are at the beginning, None: all; `scales` is what becomes
    of replicas beside an HPA. Requests wait for the first endpoint of a pool that has none for `no_endpoint_seconds`,
    None: as long as the product has it. The last `standby` of the servers that are there at first are a pool of their
    own, to which requests fall back, also when they have waited for `fallback_seconds`.
    """

    traffic: Traffic
    servers: tuple[ServerKind, ...]
    delays: Delays = Delays()
    scrape_seconds: float | None = None
    destinations: int = 1
    retries: int = 2
    response_bodies: bool = False
    faults: tuple[PlannedFault, ...] = ()
    scaling: Scaling | ZeroScaling | None = None
    goal: Goal = Goal()
    goal_headers: bool = False
    priorities: Mapping[str, int] = field(default_factory=dict[str, int], hash=False)
    weights: Mapping[str, float] = field(default_factory=dict[str, float], hash=False)
    known_gpus: bool = False
    patience_seconds: float = 600.0
    warmup_seconds: float = 0.0
    pool: ObjectKey = POOL
    served_model: str | None = None
    at_first: int | None = None
    scales: tuple[PlannedScale, ...] = ()
    no_endpoint_seconds: float | None = None
    standby: int = 0
    fallback_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.at_first is not None and not 0 <= self.at_first <= len(self.servers):
            raise ValueError("at first there are no more servers than there are in all")
        if not self.servers:
            raise ValueError("there is at least one server")
        if self.patience_seconds <= 0 or self.warmup_seconds < 0:
            raise ValueError("patience is positive, the warm-up not negative")
        if any(not 0 <= each.server < len(self.servers) for each in self.faults):
            raise ValueError(f"faults are of servers 0–{len(self.servers) - 1}")

    def is_standby(self, number: int) -> bool:
        """Whether the server of this number is one of the other pool."""
        first = len(self.servers) if self.at_first is None else self.at_first
        return first - self.standby <= number < first

    @property
    def standby_pool(self) -> ObjectKey:
        """The pool that requests fall back to."""
        return ObjectKey(self.pool.namespace, "standby")

    @property
    def model(self) -> str:
        """The name of the base model that all servers serve."""
        return self.servers[0].coefficients.model if self.served_model is None else self.served_model
