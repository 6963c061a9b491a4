"""What passes between this process and one that scrapes for it, each message with its length in front.

Both ends are this program, started by the other: nothing else can write into the pipe. Orders are few and are pickled;
what is found comes hundreds of times a second, as plain values that `marshal` writes and reads in a few microseconds.
"""

import marshal
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

import numpy as np

from infscale.endpoint import EndpointKey
from infscale.metrics.sample import EngineSample, Histogram, LoraState, ModelLoad
from infscale.periodic import ScrapeHealth
from infscale.scrape.target import Target

_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message to a scraping process: its limits and how it logs."""

    page_limit_bytes: int
    log_level: str
    log_format: str


@dataclass(frozen=True, slots=True)
class Found:
    """What one scrape gave, a sample or the cause of its failure, and how scraping that target goes now."""

    key: EndpointKey
    result: EngineSample | str
    at: float
    health: ScrapeHealth


def ordered(message: Setup | Sequence[Target]) -> bytes:
    """An order as bytes for the pipe."""
    return _framed(pickle.dumps(message, protocol=5))


def read_order(body: memoryview) -> Any:
    """The order that `body` is."""
    return pickle.loads(body)  # noqa: S301 # from the process that started this one


def found_bytes(found: Found) -> bytes:
    """What was found as bytes for the pipe."""
    key, health = found.key, found.health
    result = found.result if isinstance(found.result, str) else _plain(found.result)
    plain = ((key.namespace, key.name, key.rank), result, found.at, _HEALTH(health))
    return _framed(marshal.dumps(plain))


def read_found(body: memoryview) -> Found:
    """What was found, of its bytes."""
    key, result, at, health = marshal.loads(body)  # noqa: S302 # from a process that this one has started
    return Found(EndpointKey(*key), result if isinstance(result, str) else _sample(result), at, ScrapeHealth(*health))


_HEALTH = attrgetter(*(field.name for field in fields(ScrapeHealth)))


def _framed(body: bytes) -> bytes:
    return len(body).to_bytes(_LENGTH_BYTES, "little") + body


def _plain(sample: EngineSample) -> tuple[Any, ...]:
    """A sample as values that `marshal` knows; histograms by the bytes of their counts."""
    return (
        sample.waiting,
        sample.running,
        sample.kv_utilization_ratio,
        {model: (load.waiting, load.running, load.waiting_tokens) for model, load in sample.models.items()},
        None if sample.lora is None else (sample.lora.running, sample.lora.waiting, sample.lora.max_adapters),
        sample.block_size_tokens,
        sample.num_blocks,
        {name: (each.bounds, each.counts.tobytes(), each.sum) for name, each in sample.histograms.items()},
        dict(sample.counters),
        sample.fingerprint,
        sample.waiting_tokens,
        sample.kv_used_tokens,
    )


def _sample(plain: tuple[Any, ...]) -> EngineSample:
    (waiting, running, kv, models, lora, block_size, blocks, histograms, counters, fingerprint, *tokens) = plain
    return EngineSample(
        waiting,
        running,
        kv,
        {model: ModelLoad(*load) for model, load in models.items()},
        None if lora is None else LoraState(*lora),
        block_size,
        blocks,
        {name: _histogram(*each) for name, each in histograms.items()},
        counters,
        fingerprint,
        *tokens,
    )


def _histogram(bounds: tuple[float, ...], counts: bytes, total: float) -> Histogram:
    # A view of bytes is read-only.
    return Histogram(bounds, np.frombuffer(counts), total)


class Frames:
    """Cuts what comes out of the pipe into messages; `take` gets each, read by `read`, as soon as it is whole."""

    def __init__(self, read: Callable[[memoryview], Any], take: Callable[[Any], None]) -> None:
        self._read = read
        self._take = take
        self._received = b""

    def feed(self, data: bytes) -> None:
        """Take in the next bytes."""
        received = self._received + data if self._received else data
        start, view = 0, memoryview(received)
        while len(received) - start >= _LENGTH_BYTES:
            stop = start + _LENGTH_BYTES + int.from_bytes(received[start : start + _LENGTH_BYTES], "little")
            if len(received) < stop:
                break
            message = self._read(view[start + _LENGTH_BYTES : stop])
            start = stop
            self._take(message)
        self._received = received[start:]


def shares(targets: Sequence[Target], count: int, fraction: Callable[[str], float]) -> list[list[Target]]:
    """`targets` dealt out to `count` processes by `fraction` of their keys, the same way every time."""
    dealt: list[list[Target]] = [[] for _ in range(count)]
    for target in targets:
        dealt[int(fraction(str(target.key)) * count)].append(target)
    return dealt
