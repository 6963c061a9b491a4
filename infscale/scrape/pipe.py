"""What passes between this process and one that scrapes for it, each message with its length in front.

Both ends are this program, started by the other: nothing else can write into the pipe. Orders are few and are pickled;
what is found comes hundreds of times a second, as plain values that `marshal` writes and reads in a few microseconds.
"""

import marshal
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from infscale.endpoint import EndpointKey
from infscale.framing.length_prefixed import MOST_BYTES, Messages, framed
from infscale.metrics.gauges import EngineGauges
from infscale.metrics.sample import NO_ATTRIBUTES, NO_REFUSALS, CountLayout, Counts, EngineSample, LoraState, ModelLoad
from infscale.periodic import ScrapeHealth
from infscale.scrape.target import Target


class Setup(NamedTuple):
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


HEARTBEAT_SECONDS = 0.5
"""How often a scraping process says that it lives."""
HEARTBEAT = framed(b"")
"""A message that says nothing but that its writer lives."""


def ordered(message: Setup | Sequence[Target]) -> bytes:
    """An order as bytes for the pipe."""
    return framed(pickle.dumps(message, protocol=5))


def read_order(body: bytes) -> Any:
    """The order that `body` is."""
    return pickle.loads(body)  # noqa: S301 # from the process that started this one


class FoundWriter:
    """Writes what was found as bytes for one pipe. How counts are laid out is said once, and then by a number."""

    def __init__(self) -> None:
        self._layouts: dict[CountLayout, int] = {}
        self._said_bytes = 0

    def written(self, found: Found) -> bytes:
        """One message; all that are written go into the pipe, in this order."""
        key, health = found.key, found.health
        result = found.result if isinstance(found.result, str) else self._plain(found.result)
        plain = ((key.namespace, key.name, key.rank), result, found.at, _HEALTH(health))
        return framed(marshal.dumps(plain))

    def _plain(self, sample: EngineSample) -> tuple[Any, ...]:
        """A sample as values that `marshal` knows; counts by the bytes of their row."""
        lora = sample.lora
        return (
            tuple(sample.gauges),
            {model: (load.waiting, load.running, load.waiting_tokens) for model, load in sample.models.items()},
            None if lora is None else (lora.running, lora.waiting, lora.max_adapters, lora.loaded),
            sample.block_size_tokens,
            sample.num_blocks,
            *self._layout(sample.counts.layout),
            sample.counts.row.tobytes(),
            sample.fingerprint,
            dict(sample.attributes) or None,
            dict(sample.refused) or None,
            sample.asleep,
            sample.started_at,
        )

    def _layout(self, layout: CountLayout) -> tuple[int | None, bytes | None]:
        """Its number, None for one that is too large to be remembered, and the layout itself where it is new."""
        number = self._layouts.get(layout)
        if number is not None:
            return number, None
        said = marshal.dumps((layout.counters, layout.histograms))
        if len(said) > _LARGE_BYTES:
            return None, said
        self._said_bytes += len(said)
        if self._said_bytes > _REMEMBERED_BYTES:
            self._layouts.clear()
            self._said_bytes = len(said)
        self._layouts[layout] = len(self._layouts)
        return self._layouts[layout], said


class FoundReader:
    """Reads what a `FoundWriter` wrote into one pipe, from its first message on."""

    def __init__(self) -> None:
        self._layouts: dict[int, CountLayout] = {}

    def read(self, body: bytes) -> Found:
        """What was found, of its bytes."""
        key, result, at, health = marshal.loads(body)  # noqa: S302 # from a process that this one has started
        result = result if isinstance(result, str) else self._sample(result)
        return Found(EndpointKey(*key), result, at, ScrapeHealth(*health))

    def _sample(self, plain: tuple[Any, ...]) -> EngineSample:
        gauges, models, lora, block_size, blocks, number, said, row, fingerprint, *others = plain
        attributes, refused, asleep, started_at = others
        return EngineSample(
            EngineGauges(*gauges),
            {model: ModelLoad(*load) for model, load in models.items()},
            None if lora is None else LoraState(*lora),
            block_size,
            blocks,
            # A view of bytes is read-only.
            Counts(self._layout(number, said), np.frombuffer(row)),
            fingerprint,
            attributes or NO_ATTRIBUTES,
            refused or NO_REFUSALS,
            asleep,
            started_at,
        )

    def _layout(self, number: int | None, said: bytes | None) -> CountLayout:
        if said is None:
            return self._layouts[number or 0]
        layout = CountLayout(*marshal.loads(said))  # noqa: S302 # from a process that this one has started
        if number is not None:
            if not number:
                # The writer has begun anew.
                self._layouts.clear()
            self._layouts[number] = layout
        return layout


# Layouts repeat, but a server may name other models on every page: both ends remember so much, and no large one.
_REMEMBERED_BYTES = 1 << 20
_LARGE_BYTES = 1 << 18
_HEALTH = attrgetter(*(field.name for field in fields(ScrapeHealth)))


class Frames:
    """Reads what comes out of the pipe; `take` gets each message, read by `read`.

    An empty one says only that its writer lives.
    """

    def __init__(self, read: Callable[[bytes], Any], take: Callable[[Any], None]) -> None:
        self._read = read
        self._take = take
        self._messages = Messages(MOST_BYTES)

    def feed(self, data: bytes) -> None:
        """Take in the next bytes."""
        for body in self._messages.feed(data):
            if body:
                self._take(self._read(body))


def shares(targets: Sequence[Target], count: int, fraction: Callable[[str], float]) -> list[list[Target]]:
    """`targets` dealt out to `count` processes by `fraction` of their keys, the same way every time."""
    dealt: list[list[Target]] = [[] for _ in range(count)]
    for target in targets:
        dealt[int(fraction(str(target.key)) * count)].append(target)
    return dealt
