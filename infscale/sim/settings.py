"""Settings of a simulated model server, and the faults it can be given."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from infscale.sim.engine.coefficients import CoefficientSet
from infscale.sim.engine.steps import EngineSettings
from infscale.sim.pages.engine_pages import EngineSkin


class FaultKind(enum.Enum):
    """What can be wrong with a server.

    ``freeze_metrics``: the metrics page stays as it was. ``refuse``: connections are refused; requests under way end.
    ``error``: completion requests get a 5xx. ``hang``: connections are accepted and never answered. ``die``: streams
    are cut after a number of tokens. ``lie``: the metrics page says idle. ``slow_start``: the server starts anew,
    losing its requests and counters, and is not ready until the fault ends. ``sleep``: the metrics page says that the
    engine sleeps, and completion requests get a 503.
    """

    FREEZE_METRICS = "freeze_metrics"
    REFUSE = "refuse"
    ERROR = "error"
    HANG = "hang"
    DIE = "die"
    LIE = "lie"
    SLOW_START = "slow_start"
    SLEEP = "sleep"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault and its particulars: `status` of ``error``, `after_tokens` of ``die``, `ratio` of requests both affect.

    `seconds` None: until it is cleared.
    """

    kind: FaultKind
    seconds: float | None = None
    status: int = 500
    after_tokens: int = 3
    ratio: float = 1.0

    def __post_init__(self) -> None:
        if self.seconds is not None and self.seconds <= 0:
            raise ValueError("seconds is positive")
        if not 500 <= self.status <= 599:
            raise ValueError("status is 500–599")
        if self.after_tokens < 0 or not 0 <= self.ratio <= 1:
            raise ValueError("after_tokens is not negative, ratio is 0–1")


@dataclass(frozen=True, slots=True)
class SimServerSettings:
    """One simulated server.

    `name` and `namespace` are its pod's. `port` 0 takes a free one. `model` None serves the coefficient set's. Ranks
    beyond one are data-parallel engines behind one port. A request that gives no length gets `default_output_tokens`.
    """

    name: str
    coefficients: CoefficientSet
    engine: EngineSettings
    namespace: str = "default"
    model: str | None = None
    address: str = "127.0.0.1"
    port: int = 0
    skin: EngineSkin = EngineSkin.VLLM
    ranks: int = 1
    max_model_len: int = 131_072
    default_output_tokens: int = 128
    loras: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    dcgm_port: int | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a server has a name")
        if self.ranks < 1 or self.max_model_len < 2 or self.default_output_tokens < 1:
            raise ValueError("ranks, max_model_len and default_output_tokens are positive")

    @property
    def served_model(self) -> str:
        """The base model's name."""
        return self.coefficients.model if self.model is None else self.model

    @property
    def context_tokens(self) -> int:
        """The longest prompt and output together: what the model allows and the KV cache holds."""
        return min(self.max_model_len, self.engine.capacity_tokens)
