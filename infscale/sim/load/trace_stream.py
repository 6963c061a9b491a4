"""A trace as a stream: which part of it is played, and how fast."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import nextafter
from typing import TYPE_CHECKING

from infscale.errors import ConfigError
from infscale.sim.load.prompts import Piece, Pieces, Prompts
from infscale.sim.load.traces import BLOCK_TOKENS, TraceRequest, TraceWindow, thin
from infscale.sim.load.virtual_request import OpenStream, RequestStream, VirtualRequest

if TYPE_CHECKING:
    from random import Random

_FIRST_OWN_KEY = 1 << 40
"""Keys of prompts that share nothing; block ids of traces are far below."""


@dataclass(frozen=True, slots=True)
class TracePlay:
    """Which part of a trace is played, and how fast.

    It begins `start_seconds` after the trace's first request, and ends after `seconds` of the trace and `requests`
    requests, where these are given. `speed` is how many seconds of the trace pass in one; with `rate` alone, the speed
    is what gives so many requests per second; with both, whole groups that share a prefix are left out until the rate
    is so low. Requests longer than `max_tokens` (prompt and output) are left out: no server could hold them.
    """

    start_seconds: float = 0.0
    seconds: float | None = None
    requests: int | None = None
    speed: float | None = None
    rate: float | None = None
    max_tokens: int = 131_072

    def __post_init__(self) -> None:
        _positive("seconds", self.seconds)
        _positive("requests", self.requests)
        _positive("speed", self.speed)
        _positive("rate", self.rate)
        if not 0 <= self.start_seconds < float("inf"):
            raise ConfigError("", "start", "expected seconds, at least 0")


def played(trace: Sequence[TraceRequest], play: TracePlay, rng: "Random") -> tuple[TraceRequest, ...]:
    """The requests that are played, their times from 0 on; raises `ConfigError` where there are none."""
    end = float("inf") if play.seconds is None else play.start_seconds + play.seconds
    window = [one for one in trace if play.start_seconds <= one.at_seconds < end]
    if play.speed is not None and play.rate is not None:
        seconds = play.seconds if play.seconds is not None else _rest(window, play.start_seconds)
        part = TraceWindow(play.start_seconds, seconds, play.rate / play.speed, play.max_tokens)
        chosen = [
            replace(one, at_seconds=one.at_seconds + play.start_seconds) for one in thin(trace, part, rng).requests
        ]
    else:
        chosen = [one for one in window if one.input_tokens + one.output_tokens <= play.max_tokens]
    chosen = chosen[: play.requests]
    if not chosen:
        raise ConfigError("", "trace", "no request of the trace is in this part of it; give it another start or length")
    speed = _speed(chosen, play)
    return tuple(replace(one, at_seconds=(one.at_seconds - play.start_seconds) / speed) for one in chosen)


def _speed(chosen: Sequence[TraceRequest], play: TracePlay) -> float:
    if play.speed is not None:
        return play.speed
    if play.rate is None or len(chosen) < 2:
        return 1.0
    seconds = chosen[-1].at_seconds - play.start_seconds
    return play.rate * seconds / len(chosen) if seconds > 0 else 1.0


def trace_stream(requests: Sequence[TraceRequest], model: str, prompts: Prompts, limited: bool = True) -> RequestStream:
    """The requests as a stream to `model`: equal block ids are equal text, other prompts share nothing.

    `limited`: bodies state the length of their output as its limit.
    """
    return OpenStream(_requests(requests, model, prompts, limited))


def _requests(
    requests: Sequence[TraceRequest], model: str, prompts: Prompts, limited: bool
) -> Iterator[VirtualRequest]:
    for number, one in enumerate(requests):
        limit = one.output_tokens if limited else None
        yield VirtualRequest(
            number,
            one.at_seconds,
            _pieces(number, one),
            one.output_tokens,
            model,
            max_output_tokens=limit,
            prompts=prompts,
        )


def _pieces(number: int, request: TraceRequest) -> Pieces:
    blocks = request.blocks
    if not blocks:
        return (Piece("", _FIRST_OWN_KEY + number, request.input_tokens),)
    pieces = [Piece("", block, BLOCK_TOKENS) for block in blocks[:-1]]
    pieces.append(Piece("", blocks[-1], request.input_tokens - BLOCK_TOKENS * len(pieces)))
    return tuple(pieces)


def _rest(requests: Sequence[TraceRequest], start_seconds: float) -> float:
    """Seconds from the start until the last of them has come."""
    return nextafter(requests[-1].at_seconds - start_seconds, float("inf")) if requests else 1.0


def _positive(name: str, value: float | None) -> None:
    # NaN is in no interval.
    if value is not None and not 0 < value < float("inf"):
        raise ConfigError("", name, f"expected a number above 0, got {value:g}")
