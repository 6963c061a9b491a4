"""Pools whose load is unknown are said once for each change."""

import logging

import pytest

from infscale.config.settings import UnknownLoad
from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.metrics.store.metrics_store import MetricStore
from infscale.serving.load_watch import LoadWatch
from tests.fakes.samples import engine_sample

POOL = Pool(ObjectKey("default", "chat"), {})
ENDPOINT = Endpoint(EndpointKey("default", "vllm-0"), "10.0.0.1", 8000)


class Bench:
    def __init__(self, unknown_load: UnknownLoad = "serve") -> None:
        self.store = MetricStore("s")
        self.now = 0.0
        self.told: list[frozenset[ObjectKey]] = []
        self.watch = LoadWatch(self.store, lambda: self.now, unknown_load, self.told.append)
        self.store.sync(DiscoveryState((ENDPOINT,), (POOL,)))

    def looks(self, what: str) -> None:
        """A second each: the page is there (+), it fails (-), the engine sleeps (z), or nothing (.)."""
        for each in what:
            self.now += 1.0
            if each in "+z":
                self.store.record_scrape(ENDPOINT.key, engine_sample(0.0, 0.0, 0.0, asleep=each == "z"), self.now)
            elif each == "-":
                self.store.record_failure(ENDPOINT.key, "HTTP 404", self.now)
            self.watch.look()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        pytest.param("..........", [], id="nothing was looked at yet"),
        pytest.param("----------", ["WARNING"], id="never any metrics"),
        pytest.param("+++++", [], id="all is well"),
        pytest.param("+----------", ["WARNING"], id="lost"),
        pytest.param("+----------++++", ["WARNING", "INFO"], id="lost and there again"),
        pytest.param("+---+---+---+", [], id="lost for a moment again and again"),
        pytest.param("+------++-----", ["WARNING", "INFO", "WARNING"], id="lost twice"),
        pytest.param("zzzzzz", [], id="asleep is another matter"),
    ],
)
def test_a_change_that_lasts_is_said_once(caplog: pytest.LogCaptureFixture, seconds: str, said: list[str]) -> None:
    bench = Bench()
    with caplog.at_level(logging.INFO):
        bench.looks(seconds)
    assert [record.levelname for record in caplog.records] == said
    assert bench.told == [frozenset({POOL.key}) if level == "WARNING" else frozenset() for level in said]


@pytest.mark.parametrize(
    ("unknown_load", "what_next"), [("serve", "scheduled by what is in flight"), ("refuse", "answered 503")]
)
def test_the_line_says_what_becomes_of_requests(
    caplog: pytest.LogCaptureFixture, unknown_load: UnknownLoad, what_next: str
) -> None:
    Bench(unknown_load).looks("---")
    assert "pool default/chat" in caplog.text
    assert what_next in caplog.text


def test_a_pool_that_goes_is_forgotten() -> None:
    bench = Bench()
    bench.looks("---")
    bench.store.sync(DiscoveryState())
    bench.looks("..")
    assert bench.told == [frozenset({POOL.key}), frozenset()]
