"""What recording the inputs of picks costs: ``python -m bench.pick_records``.

Both directors decide about the same requests in turns, in one process and within the same second, so that their ratio
holds where times do not. Stores are scraped all the while: each endpoint every half second of virtual time, in which
500 requests a second come.
"""

import random
import statistics
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Final

from bench.memory import POOL, prompts
from bench.pools import filled_store
from infscale.endpoint import EndpointKey
from infscale.metrics.gauges import EngineGauges
from infscale.metrics.sample import EngineSample
from infscale.metrics.store.metrics_store import MetricStore
from infscale.process.garbage import spare_collections
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorSettings
from picker.epp_config.loader import PickerConfig, preset
from picker.request import Decision, Headers, InferenceRequest, Outcome, ParsedBody

_REQUESTS_PER_SECOND: Final = 500.0
_SCRAPE_SECONDS: Final = 0.5
_OPEN: Final = 200
_TURN: Final = 250
_TURNS: Final = 40
WARMING_TURNS: Final = 4


class Side:
    """One director, its store, and what it has in flight."""

    def __init__(self, config: PickerConfig, endpoints: int, settings: DirectorSettings) -> None:
        self.store, self.keys = filled_store(POOL, endpoints)
        self.director = PoolDirector(POOL, config, self.store, random.Random(1), settings)
        self._open: deque[tuple[InferenceRequest, Decision]] = deque()
        self._now = 100.0
        self._scrapes = 0

    def decide(self, turn: list[InferenceRequest]) -> float:
        """Seconds of CPU for each decision and its end, without scrapes."""
        spent = 0.0
        for request in turn:
            self._now += 1.0 / _REQUESTS_PER_SECOND
            self._scrape()
            request = self.asked(request)
            began = time.process_time()
            decision = self.director.direct(request, self._now)
            if isinstance(decision, Decision):
                self._open.append((request, decision))
            if len(self._open) > _OPEN:
                self.director.finished(*self._open.popleft(), Outcome("completed", 200), self._now)
            spent += time.process_time() - began
            if isinstance(decision, Decision):
                self.told(request, decision)
        return spent / len(turn)

    def asked(self, request: InferenceRequest) -> InferenceRequest:
        """`request` as it is sent."""
        return request

    def told(self, request: InferenceRequest, decision: Decision) -> None:
        """What the client of `request` is told with `decision`."""

    def _scrape(self) -> None:
        due = int((self._now - 100.0) * len(self.keys) / _SCRAPE_SECONDS)
        while self._scrapes < due:
            self._scrapes += 1
            _scraped(self.store, self.keys[self._scrapes % len(self.keys)], self._scrapes, self._now)


def _scraped(store: MetricStore, key: EndpointKey, number: int, now: float) -> None:
    gauges = EngineGauges[float | None](float(number % 3), float(number % 17), number % 10 / 10, None, None)
    store.record_scrape(key, EngineSample(gauges, fingerprint=number), now)


def requests() -> Iterator[list[InferenceRequest]]:
    """Turns of requests, of which the first `WARMING_TURNS` are to warm up."""
    rng = random.Random(2)
    for turn in range(_TURNS + WARMING_TURNS):
        bodies = prompts(1_200, _TURN - _TURN % 8, rng)
        yield [
            InferenceRequest(
                f"{turn}-{each}",
                "/v1/completions",
                Headers(()),
                ParsedBody("completions", "m", body, len(body) // 4, 64),
            )
            for each, body in enumerate(bodies)
        ]


def main() -> None:
    """Print a line per preset and number of endpoints."""
    spare_collections()
    for name in sys.argv[1:] or ("infscale", "reference"):
        for endpoints in (20, 100):
            sides = [Side(preset(name), endpoints, DirectorSettings(explained=picks)) for picks in (0, 10_000)]
            without: list[float] = []
            recorded: list[float] = []
            for turn, asked in enumerate(requests()):
                order = sides if turn % 2 else sides[::-1]
                spent = {id(side): side.decide(asked) for side in order}
                if turn >= WARMING_TURNS:
                    without.append(spent[id(sides[0])])
                    recorded.append(spent[id(sides[1])])
            ratio = statistics.median(after / before for before, after in zip(without, recorded, strict=True))
            log = sides[1].director.log
            kept = 0 if log is None else sum(len(sheet) for sheet in log.sheets())
            held = 0 if log is None else sum(sheet.size_bytes for sheet in log.sheets())
            print(
                f"preset {name}, {endpoints} endpoints: {statistics.median(without) * 1e6:.1f} µs without, "
                f"{statistics.median(recorded) * 1e6:.1f} µs with records, ratio {ratio:.3f}; "
                f"{kept} picks kept in {held / 1e6:.1f} MB"
            )


if __name__ == "__main__":
    main()
