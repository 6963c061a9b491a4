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
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorSettings
from picker.epp_config.loader import preset
from picker.request import Decision, Headers, InferenceRequest, Outcome, ParsedBody

_REQUESTS_PER_SECOND: Final = 500.0
_SCRAPE_SECONDS: Final = 0.5
_OPEN: Final = 200
_TURN: Final = 250
_TURNS: Final = 40


class _Side:
    """One director, its store, and what it has in flight."""

    def __init__(self, name: str, endpoints: int, explained: int) -> None:
        self.store, self.keys = filled_store(POOL, endpoints)
        settings = DirectorSettings(explained=explained)
        self.director = PoolDirector(POOL, preset(name), self.store, random.Random(1), settings)
        self._open: deque[tuple[InferenceRequest, Decision]] = deque()
        self._now = 100.0
        self._scrapes = 0

    def decide(self, requests: list[InferenceRequest]) -> float:
        """Seconds of CPU for each decision and its end, without scrapes."""
        spent = 0.0
        for request in requests:
            self._now += 1.0 / _REQUESTS_PER_SECOND
            self._scrape()
            began = time.process_time()
            decision = self.director.direct(request, self._now)
            if isinstance(decision, Decision):
                self._open.append((request, decision))
            if len(self._open) > _OPEN:
                self.director.finished(*self._open.popleft(), Outcome("completed", 200), self._now)
            spent += time.process_time() - began
        return spent / len(requests)

    def _scrape(self) -> None:
        due = int((self._now - 100.0) * len(self.keys) / _SCRAPE_SECONDS)
        while self._scrapes < due:
            self._scrapes += 1
            _scraped(self.store, self.keys[self._scrapes % len(self.keys)], self._scrapes, self._now)


def _scraped(store: MetricStore, key: EndpointKey, number: int, now: float) -> None:
    gauges = EngineGauges[float | None](float(number % 3), float(number % 17), number % 10 / 10, None, None)
    store.record_scrape(key, EngineSample(gauges, fingerprint=number), now)


def _requests() -> Iterator[list[InferenceRequest]]:
    rng = random.Random(2)
    for turn in range(_TURNS + 4):
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
    for name in sys.argv[1:] or ("infscale", "reference"):
        for endpoints in (20, 100):
            sides = _Side(name, endpoints, 0), _Side(name, endpoints, 10_000)
            without: list[float] = []
            recorded: list[float] = []
            for turn, requests in enumerate(_requests()):
                order = sides if turn % 2 else sides[::-1]
                spent = {id(side): side.decide(requests) for side in order}
                if turn >= 4:
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
