"""What happens in a scenario: traffic, servers, and how their number changes. The same in real and in virtual time."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from infscale.demo.scenarios.contenders import (
    BATCH_PRIORITY,
    INTERACTIVE_PRIORITY,
    Contender,
    contenders,
    falling_back_and_not,
    held_and_not,
)
from infscale.sim.load.named.workload_choice import choose_workload
from infscale.sim.load.traffic import LoadTarget, Traffic

HEAVY, LIGHT = "heavy", "light"
"""The tenants of batch requests: the first asks for ten times as much as the second."""
PRIORITIES: Final[Mapping[str, int]] = MappingProxyType({"interactive": INTERACTIVE_PRIORITY, "batch": BATCH_PRIORITY})


@dataclass(frozen=True, slots=True)
class Step:
    """Other servers `at_seconds` after the scenario began: `added` new ones begin to start, or the oldest or newest
    so many get nothing new and end when they have answered what they have.
    """

    at_seconds: float
    added: int = 0
    oldest: int = 0
    newest: int = 0


@dataclass(frozen=True, slots=True)
class ZeroScaling:
    """A pool that is scaled from zero and back by what infscale publishes: see `infscale.demo.scenarios.scaler`.

    So many requests, waiting and running, are meant for each server, which takes `start_seconds` to be ready. Servers
    leave when fewer sufficed for `calm_seconds`, the last one when there was no request for as long.
    """

    per_server: int
    most: int
    calm_seconds: float
    start_seconds: float


@dataclass(frozen=True, slots=True)
class ScenarioPlan:
    """A scenario but for its seed. All times are seconds.

    `workloads` are as `infscale simulate` names them. `servers` of `coefficients` are there at first; a new one takes
    `start_seconds` to be ready. The first class is alone until `calm_seconds`. The shares of tenants are looked at in
    windows of `window_seconds`. `wakes` are when requests come for the empty pool. Requests count from
    `counted_seconds` on. All servers are restarted, one after the other, in the seconds of `restart`. A server's batch
    has at most `batch_requests`, None: vLLM's own limit. The last `standby` servers are a pool to which requests fall
    back, also when they have waited for `fallback_seconds`. All servers of the other pool are dead in the seconds of
    `dead`.
    """

    name: str
    about: str
    workloads: tuple[str, ...]
    coefficients: str
    servers: int
    contenders: tuple[Contender, ...]
    start_seconds: float = 2.0
    steps: tuple[Step, ...] = ()
    scaling: ZeroScaling | None = None
    calm_seconds: float = 0.0
    window_seconds: float = 0.0
    wakes: tuple[float, ...] = ()
    counted_seconds: float = 0.0
    restart: tuple[float, float] = (math.inf, math.inf)
    batch_requests: int | None = None
    standby: int = 0
    fallback_seconds: float | None = None
    dead: tuple[float, float] = (math.inf, math.inf)

    def traffic(self, target: LoadTarget) -> Traffic:
        """The requests, for `target`."""
        return choose_workload(self.workloads).traffic(target, str)

    @property
    def most_servers(self) -> int:
        """No more servers than these are started in all, unless a scaler starts them."""
        return self.servers + sum(each.added for each in self.steps)


def overload(stretch: float = 1.0) -> ScenarioPlan:
    """Two classes at twice what the servers can do, `stretch` times as long as in the demo."""
    stage = 2.0 * stretch
    calm, over, before = 6, 6, 2
    alone = "/".join(["4"] * (calm + over))
    heavy = "/".join(["0"] * calm + ["25"] * over)
    # A newcomer: it asks for more than its half for as long as it asks.
    light = "/".join(["0"] * (calm + before) + ["7.5"] * 2 + ["0"] * (over - before - 2))
    seconds = f"seconds={stage * (calm + over):g}"
    sizes = "question=400,output=60,class=batch"
    return ScenarioPlan(
        "overload",
        "two classes at twice what the servers can do; of batch, two tenants ask 10 : 1",
        (
            f"no-prefix:rate={alone},{seconds},question=400,output=60,class=interactive",
            f"no-prefix:rate={heavy},{seconds},{sizes},tenant={HEAVY}",
            f"no-prefix:rate={light},{seconds},{sizes},tenant={LIGHT}",
        ),
        "llama-3.1-8b-l4",
        4,
        contenders(),
        calm_seconds=stage * calm,
        window_seconds=2.5 * stretch,
    )


def scale_from_zero(stretch: float = 1.0) -> ScenarioPlan:
    """A pool at zero that is woken, left alone until it is at zero again, and woken under traffic."""
    stage = 2.0 * stretch
    rates = ["0"] + ["4"] * 5 + ["0"] * 6 + ["4"] * 5
    return ScenarioPlan(
        "scale-from-zero",
        "a pool at zero is woken by requests, goes back to zero, and is woken again",
        (f"no-prefix:rate={'/'.join(rates)},seconds={stage * len(rates):g},question=400,output=60",),
        "llama-3.1-8b-l4",
        0,
        contenders(cold_seconds=60.0),
        scaling=ZeroScaling(per_server=10, most=3, calm_seconds=4.0, start_seconds=4.0),
        wakes=(stage, stage * 12),
    )


def sessions(stretch: float = 1.0) -> ScenarioPlan:
    """Chats that stay where they are while servers are added, all of them restarted, and taken away."""
    steps = [Step(3.0 * stretch, added=1)]
    begin = at = 8.0 * stretch
    for _ in range(5):
        # As long as it takes to start, and until it has been read for certain.
        steps += [Step(at, added=1), Step(at + 4.0 * stretch, oldest=1)]
        at += 4.5 * stretch
    steps.append(Step(at, newest=1))
    seconds = at + 4.0 * stretch
    return ScenarioPlan(
        "sessions",
        "chats with session affinity while a server is added, all restarted one by one, and one taken away",
        (f"chats:rate=6,seconds={seconds:g},groups=12,turns=8,cv=1",),
        "llama-2-7b-a100",
        4,
        contenders(sessions=True),
        start_seconds=1.5 * stretch,
        steps=tuple(steps),
        restart=(begin, at),
    )


def drain(stretch: float = 1.0) -> ScenarioPlan:
    """Long answers and chats on six servers, of which four leave at once, as in a scale-down."""
    at = 8.0 * stretch
    seconds = 2.0 * at
    return ScenarioPlan(
        "drain",
        "some fifty long answers, and chats, on six servers of which four leave at once",
        (
            f"no-prefix:rate=8/1,seconds={seconds:g},question=200,output=100",
            f"chats:rate=2,seconds={seconds:g},groups=6,turns=8,cv=1",
        ),
        "llama-3.1-8b-l4",
        6,
        contenders(sessions=True),
        steps=(Step(at, newest=4),),
        restart=(at, seconds),
    )


def fallback(stretch: float = 1.0) -> ScenarioPlan:
    """A pool that is asked for more than it can do for a while, and dies later, beside another one that is there."""
    stage = 5.0 * stretch
    rates = ["4", "20", "4", "4", "4"]
    seconds = stage * len(rates)
    return ScenarioPlan(
        "fallback",
        "a pool is overrun, and later dead for a while, with another pool beside it",
        (f"no-prefix:rate={'/'.join(rates)},seconds={seconds:g},question=400,output=60",),
        "llama-3.1-8b-l4",
        4,
        falling_back_and_not(),
        standby=2,
        fallback_seconds=1.0,
        dead=(stage * 3.0, stage * 4.0),
    )


def surge(stretch: float = 1.0) -> ScenarioPlan:
    """The surge of ``make lab`` until it is over: one old server, and five that its autoscaler starts 2 s later.

    What one server does with twelve times its load lasts as long as it lasts: `stretch` changes nothing.
    """
    del stretch
    stage = 10.0
    rates = ["1", "12"]
    return ScenarioPlan(
        "surge",
        "twelve times the load for one server that runs two requests at a time, and five more that start",
        (f"no-prefix:rate={'/'.join(rates)},seconds={stage * len(rates):g},question=115,output=60",),
        "llama-3.1-8b-h100",
        1,
        held_and_not(),
        start_seconds=3.0,
        steps=(Step(stage + 2.0, added=5),),
        counted_seconds=stage,
        batch_requests=2,
    )


Make = Callable[[float], ScenarioPlan]
DEMO_PLANS: Final[Mapping[str, Make]] = MappingProxyType(
    {"overload": overload, "scale-from-zero": scale_from_zero, "sessions": sessions, "drain": drain}
)
"""By name: makes a scenario that lasts so many times as long as in the demo."""
PLANS: Final[Mapping[str, Make]] = MappingProxyType({**DEMO_PLANS, "surge": surge, "fallback": fallback})
"""These, and what needs no real gateway to be seen."""
