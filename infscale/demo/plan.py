"""What a demo does, decided from its arguments before anything starts."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from infscale.errors import ConfigError
from infscale.sim.engine.coefficients import coefficient_set
from infscale.sim.load.distributions.arrival_times import Arrivals
from infscale.sim.load.load_requests import LoadRequest, load_requests
from infscale.sim.load.named.named_workloads import CHATS
from infscale.sim.load.prompts import Prompts
from infscale.sim.load.trace_formats import parse_trace
from infscale.sim.load.trace_load import trace_requests
from infscale.sim.load.traces import TraceWindow, spread, thin
from infscale.sim.load.traffic import LoadTarget

_MAX_SECONDS = 3600.0
_MAX_RATE = 1000.0
_MAX_SERVERS = 64
_MAX_MODEL_TOKENS = 131_072


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What was asked for; None means the default of the load that is played.

    `rate` is requests per second over all servers. `trace_speed` is how many seconds of a trace pass in one second.
    """

    report: Path
    seconds: float | None = None
    rate: float | None = None
    servers: int | None = None
    seed: int = 1
    trace: Path | None = None
    trace_speed: float = 10.0

    def __post_init__(self) -> None:
        _within("--seconds", self.seconds, 1.0, _MAX_SECONDS)
        _within("--rate", self.rate, 0.1, _MAX_RATE)
        _within("--servers", self.servers, 1, _MAX_SERVERS)
        _within("--trace-speed", self.trace_speed, 0.1, 1000.0)


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """The traffic, and the servers it meets.

    `seconds` is how long requests arrive. `workload` is the description the report holds, `title` the one for people.
    """

    requests: tuple[LoadRequest, ...]
    seconds: float
    seed: int
    coefficients: str
    names: tuple[str, ...]
    workload: Mapping[str, object]
    title: str

    def servers(self) -> Mapping[str, object]:
        """The servers as the report names them."""
        chosen = coefficient_set(self.coefficients)
        return {
            "count": len(self.names),
            "coefficients": chosen.name,
            "model": chosen.model,
            "gpu": chosen.gpu_model,
            "kv_cache_tokens": chosen.num_blocks * chosen.block_size,
            "source": chosen.source,
        }


@dataclass(frozen=True, slots=True)
class _Defaults:
    """Servers and load that suit each other: queues form in bursts, and two cores carry all of it."""

    coefficients: str
    servers: int
    seconds: float
    rate_per_server: float


# 45,000 KV tokens per server against 144,000 tokens of system prompts: where a request goes decides what is cached.
_BUILT_IN = _Defaults("llama-2-7b-a100", servers=8, seconds=20.0, rate_per_server=2.5)
# Long prompts and answers need a faster engine for a phase to end within a minute.
_TRACE = _Defaults("llama-3.1-8b-h100", servers=4, seconds=30.0, rate_per_server=2.25)


def make_plan(options: DemoOptions) -> DemoPlan:
    """Decide the whole demo; raises `ConfigError` for a trace that cannot be read. It reads the trace's file."""
    defaults = _BUILT_IN if options.trace is None else _TRACE
    servers = options.servers or defaults.servers
    seconds = options.seconds or defaults.seconds
    rate = options.rate or defaults.rate_per_server * servers
    names = tuple(f"server-{number}" for number in range(servers))
    if options.trace is None:
        requests, workload, title = _built_in(seconds, rate, defaults, options.seed)
    else:
        requests, workload, title = _replay(options, options.trace, seconds, rate, defaults)
    return DemoPlan(requests, seconds, options.seed, defaults.coefficients, names, workload, title)


def _built_in(
    seconds: float, rate: float, defaults: _Defaults, seed: int
) -> tuple[tuple[LoadRequest, ...], Mapping[str, object], str]:
    target = LoadTarget(coefficient_set(defaults.coefficients).model)
    load = replace(CHATS, target=target, arrivals=Arrivals(seconds, (rate,), CHATS.arrivals.cv))
    requests = load_requests(load.stream(random.Random(seed)).arriving())
    title = f"chats of {load.groups} teams with long system prompts, in bursts: {len(requests)} requests"
    return requests, {**load.description(), "requests": len(requests), "seed": seed}, title


def _replay(
    options: DemoOptions, path: Path, seconds: float, rate: float, defaults: _Defaults
) -> tuple[tuple[LoadRequest, ...], Mapping[str, object], str]:
    chosen, rng = coefficient_set(defaults.coefficients), random.Random(options.seed)
    speed = options.trace_speed
    trace = spread(parse_trace(_read(path), path.name), rng)
    room = min(chosen.num_blocks * chosen.block_size, _MAX_MODEL_TOKENS)
    subset = thin(trace, TraceWindow(0.0, seconds * speed, rate / speed, room), rng)
    if not subset.requests:
        raise ConfigError(str(path), "", f"no request fits into {seconds:g} s at {rate:g} requests/s; raise --rate")
    # The demo's servers have the base model alone.
    played = tuple(replace(one, at_seconds=one.at_seconds / speed, lora=None) for one in subset.requests)
    requests = load_requests(trace_requests(played, LoadTarget(chosen.model), Prompts(rng)))
    workload = {
        "kind": "trace",
        "file": path.name,
        "seconds": seconds,
        "rate_rps": round(len(requests) / seconds, 3),
        "trace_speed": speed,
        "seed": options.seed,
        "subset": subset.description(),
    }
    title = (
        f"{len(requests)} of {subset.offered} requests of {path.name} ({subset.groups} of {subset.offered_groups} "
        f"prefix groups), its first {subset.window.seconds:g} s played in {seconds:g} s"
    )
    return requests, workload, title


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot read the trace: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "", f"the trace is not UTF-8 text: byte {error.start + 1}") from None


def _within(name: str, value: float | None, low: float, high: float) -> None:
    # NaN is in no interval.
    if value is not None and not low <= value <= high:
        raise ConfigError("", name, f"expected a number within {low:g}–{high:g}, got {value:g}")
