"""Load that repeats a trace: which part of it, how fast, and with which arrivals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import nextafter
from typing import TYPE_CHECKING, Final

from infscale.errors import ConfigError
from infscale.sim.load.distributions.arrival_times import Arrivals
from infscale.sim.load.prompts import Piece, Pieces, Prompts
from infscale.sim.load.traces import TraceRequest, TraceWindow, spread, thin
from infscale.sim.load.traffic import LoadTarget
from infscale.sim.load.virtual_request import OpenStream, RequestStream, VirtualRequest

if TYPE_CHECKING:
    from random import Random

_FIRST_OWN_KEY: Final = 1 << 58
"""Keys of prompts that share nothing; block ids of traces are far below."""


@dataclass(frozen=True, slots=True)
class TracePlay:
    """Which part of a trace is played, and how fast.

    It has `seconds` of the trace and `requests` requests at most, and begins `start_seconds` after the trace's first
    request; None: anywhere, so that each seed has another part. `speed` is how many seconds of the trace pass in one;
    with `rate` alone, the speed is what gives so many requests per second; with both, whole groups that share a prefix
    are left out until the rate is so low. With `cv` the trace's arrivals are replaced by those of `Arrivals` at the
    same rate. `output_tokens` is the length of answers whose own was not recorded.
    """

    start_seconds: float | None = None
    seconds: float | None = None
    requests: int | None = None
    speed: float | None = None
    rate: float | None = None
    cv: float | None = None
    output_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("seconds", "requests", "speed", "rate", "cv", "output_tokens"):
            value: float | None = getattr(self, name)
            # NaN is in no interval.
            if value is not None and not 0 < value < float("inf"):
                raise ConfigError("", name, f"expected a number above 0, got {value:g}")
        if self.start_seconds is not None and not 0 <= self.start_seconds < float("inf"):
            raise ConfigError("", "start", "expected a number of seconds, at least 0")


@dataclass(frozen=True, slots=True)
class TraceLoad:
    """What `play` makes of `trace`, whose file is `name` and has the hash `digest`."""

    target: LoadTarget
    play: TracePlay
    name: str
    digest: str
    trace: tuple[TraceRequest, ...]

    def description(self) -> Mapping[str, object]:
        """See `Traffic`."""
        about = {"kind": "trace", "file": self.name, "xxh3_128": self.digest, "requests_in_trace": len(self.trace)}
        loras = sorted({one.lora for one in self.trace if one.lora is not None})
        return {**about, "loras": loras, "target": asdict(self.target), "play": asdict(self.play)}

    def stream(self, rng: "Random") -> RequestStream:
        """See `Traffic`."""
        requests = played(self.trace, self.play, self.target.max_tokens, rng)
        return OpenStream(trace_requests(requests, self.target, Prompts(rng)))


def played(trace: Sequence[TraceRequest], play: TracePlay, max_tokens: int, rng: "Random") -> tuple[TraceRequest, ...]:
    """The requests that are played, their times from 0 on; raises `ConfigError` where there are none.

    Those longer than `max_tokens` (prompt and output) are left out.
    """
    start, part = _part(spread(trace, rng), play, max_tokens, rng)
    if not part:
        raise ConfigError("", "trace", "no request of the trace is in this part of it; give it another start or length")
    # As long after the last request as is usual between two: a rate would be too high without it.
    seconds = max(part[-1].at_seconds - start, 1e-9) * (len(part) + 1) / len(part)
    speed = play.speed or (1.0 if play.rate is None else play.rate * seconds / len(part))
    if play.cv is not None:
        rate = speed * len(part) / seconds
        times = Arrivals(len(part) / rate, (rate,), play.cv).times(rng)
        return tuple(replace(one, at_seconds=at) for one, at in zip(part, times, strict=True))
    return tuple(replace(one, at_seconds=(one.at_seconds - start) / speed) for one in part)


def _part(
    trace: Sequence[TraceRequest], play: TracePlay, max_tokens: int, rng: "Random"
) -> tuple[float, Sequence[TraceRequest]]:
    """When the played part of the trace begins, and its requests."""
    if play.speed is not None and play.rate is not None:
        start = _start(trace, play, rng)
        rest = nextafter(max(trace[-1].at_seconds - start, 0.0), float("inf"))
        window = TraceWindow(start, play.seconds or rest, play.rate / play.speed, max_tokens)
        kept = [replace(one, at_seconds=one.at_seconds + start) for one in thin(trace, window, rng).requests]
        return start, kept[: play.requests]
    fitting = [one for one in trace if one.input_tokens + one.output_tokens <= max_tokens]
    if play.start_seconds is None and play.seconds is None and play.requests is not None and fitting:
        first = rng.randrange(max(1, len(fitting) - play.requests + 1))
        return fitting[first].at_seconds, fitting[first : first + play.requests]
    start = _start(trace, play, rng)
    end = float("inf") if play.seconds is None else start + play.seconds
    return start, [one for one in fitting if start <= one.at_seconds < end][: play.requests]


def _start(trace: Sequence[TraceRequest], play: TracePlay, rng: "Random") -> float:
    if play.start_seconds is not None:
        return play.start_seconds
    return 0.0 if play.seconds is None else rng.uniform(0.0, max(0.0, trace[-1].at_seconds - play.seconds))


def trace_requests(requests: Sequence[TraceRequest], target: LoadTarget, prompts: Prompts) -> Iterator[VirtualRequest]:
    """The requests with their text: equal block ids are equal text, other prompts share nothing."""
    for number, one in enumerate(requests):
        yield VirtualRequest(
            number,
            one.at_seconds,
            _pieces(number, one),
            one.output_tokens,
            one.lora or target.model,
            one.lora,
            target.limit(one.output_tokens),
            one.request_class or target.request_class,
            tenant=target.tenant,
            prompts=prompts,
        )


def _pieces(number: int, request: TraceRequest) -> Pieces:
    rest = request.input_tokens
    pieces: list[Piece] = []
    for block, size in zip(request.blocks, request.sizes, strict=True):
        if rest < 1:
            break
        pieces.append(Piece("", block, min(size, rest)))
        rest -= size
    if rest > 0:
        pieces.append(Piece("", _FIRST_OWN_KEY + number, rest))
    return tuple(pieces)
