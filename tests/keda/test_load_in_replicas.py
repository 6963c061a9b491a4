"""What a trigger with goals publishes: more with load, no less for what is unknown, and an HPA settles on it."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.keda.load_in_replicas import MOST_AT_ONCE, STEP, Pods, Seen, load_in_replicas
from infscale.planner.hpa import TotalMetric, recommend
from infscale.planner.hpa_rules import Bounds, History
from infscale.planner.scale_target import Workload
from tests.fakes.scaling import milli, ready

shares = st.floats(0.0, 1e6)
known = st.one_of(st.none(), shares)
pods = st.builds(Pods, st.integers(0, 200), st.integers(0, 50))
seen = st.builds(Seen, st.lists(known, min_size=1, max_size=3).map(tuple), known, st.floats(0.05, 1.0), known)


def hpa(replicas: int, value: float) -> int:
    """What an HPA of an average value of 1 asks for, without its window for going down."""
    metric = TotalMetric("load", (milli(value),), 1000)
    return recommend(ready(replicas), [metric], Bounds(1000, 1), 0.0).desired


@given(pods, seen, st.booleans())
def test_it_has_bounds(pods: Pods, seen: Seen, asked: bool) -> None:
    value = load_in_replicas(pods, seen, asked=asked)
    if value is not None:
        assert 0 <= value <= max(MOST_AT_ONCE * pods.ready, pods.total, asked)
        assert value >= pods.total - max(1.0, STEP * pods.total) - 0.001


@given(pods, seen, st.integers(0, 3), shares, st.booleans())
def test_more_load_is_never_fewer_replicas(pods: Pods, seen: Seen, which: int, more: float, asked: bool) -> None:
    latencies, saturation, requests = list(seen.latencies), seen.saturation, seen.requests
    if which < len(latencies):
        latencies[which] = None if (before := latencies[which]) is None else before + more
    elif requests is not None and which == 3:
        requests += more
    else:
        saturation = None if saturation is None else saturation + more
    loaded = Seen(latencies, saturation, seen.wanted, requests)
    less, value = (load_in_replicas(pods, each, asked=asked) for each in (seen, loaded))
    assert (less is None) == (value is None)
    assert value is None or less is None or value >= less


@given(pods, seen, st.booleans(), st.data())
def test_what_is_unknown_never_scales_down(pods: Pods, seen: Seen, asked: bool, data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, len(seen.latencies)))
    latencies = [None if place == lost else each for place, each in enumerate(seen.latencies)]
    saturation = None if lost == len(seen.latencies) else seen.saturation
    value = load_in_replicas(pods, Seen(latencies, saturation, seen.wanted, seen.requests), asked=asked)
    assert value is None or value >= pods.total


@given(st.integers(1, 100), st.floats(0.0, 0.5), st.floats(0.0, 0.3))
def test_with_slack_it_goes_down_in_steps(replicas: int, latency: float, saturation: float) -> None:
    value = load_in_replicas(Pods(replicas), Seen((latency,), saturation, 0.8), asked=False)
    assert value is not None
    wanted = hpa(replicas, value)
    assert wanted == replicas == 1 or replicas - max(1, math.floor(STEP * replicas)) <= wanted < replicas


@pytest.mark.parametrize(
    ("pods", "seen", "asked", "value"),
    [
        pytest.param(Pods(0), Seen((None,), None, 0.8), False, 0.0, id="empty and nothing asked for"),
        pytest.param(Pods(0), Seen((None,), None, 0.8), True, 1.0, id="empty and asked for"),
        pytest.param(Pods(0, 3), Seen((None,), None, 0.8), True, 3.0, id="all start"),
        pytest.param(Pods(4), Seen((None,), None, 0.8), False, None, id="nothing is known"),
        pytest.param(Pods(4), Seen((2.0,), None, 0.8), False, 8.0, id="slow, and the rest unknown"),
        pytest.param(Pods(4), Seen((100.0,), 9.0, 0.8), False, 8.0, id="at most double"),
        pytest.param(Pods(4, 4), Seen((1.2,), 0.9, 0.8), False, 8.0, id="more are coming already"),
        pytest.param(Pods(4), Seen((0.1,), 1.2, 0.8), False, 6.0, id="full, although fast"),
        pytest.param(Pods(4), Seen((0.1,), None, 0.8), False, 4.0, id="fast, and perhaps full"),
        pytest.param(Pods(4), Seen((0.0,), 0.0, 0.8), False, 3.0, id="idle"),
        pytest.param(Pods(1), Seen((0.0,), 0.0, 0.8), False, 0.0, id="the last one is idle"),
        pytest.param(Pods(4), Seen((1.5,), 0.01, 0.8, 0.7), False, 4.0, id="slow, and hardly a request each"),
        pytest.param(Pods(4), Seen((1.5,), 0.01, 0.8, 0.01), False, 3.0, id="slow, and next to no request"),
        pytest.param(Pods(4), Seen((0.9,), 0.05, 0.8), False, 3.0, id="nearly all of the time is the engine's own"),
        pytest.param(Pods(4), Seen((0.9,), 0.7, 0.8), False, 4.0, id="just kept"),
    ],
)
def test_cases(pods: Pods, seen: Seen, asked: bool, value: float | None) -> None:
    assert load_in_replicas(pods, seen, asked=asked) == value


class Fleet:
    """Replicas that take a minute and a half to start, and share a load; each is a queue with one server.

    `load` is in replicas' worth: at 1 the one replica is just full. `base` is the latency of an idle one, as a share of
    what is wanted. What comes beyond capacity waits, and is worked off later.
    """

    SYNC, START = 15.0, 90.0

    def __init__(self, load: Callable[[float], float], base: float, replicas: int) -> None:
        self.load, self.base = load, base
        self.born = [-self.START] * replicas
        self.waiting = 0.0
        self.replicas: list[int] = []

    def run(self, seconds: float) -> list[int]:
        history, now = History(), 0.0
        bounds = Bounds(60, 1)
        while now < seconds:
            ready = sum(now - born >= self.START for born in self.born)
            value = load_in_replicas(Pods(ready, len(self.born) - ready), self.seen(now, ready), asked=True)
            assert value is not None
            metric = TotalMetric("load", (milli(value),), 1000)
            outcome = recommend(Workload(len(self.born)), [metric], bounds, now, history)
            history = outcome.history.scaled(now, len(self.born), outcome.desired, bounds.behavior)
            self.born = self.born[: outcome.desired] + [now] * (outcome.desired - len(self.born))
            self.replicas.append(outcome.desired)
            now += self.SYNC
        return self.replicas

    def seen(self, now: float, ready: int) -> Seen:
        self.waiting = max(0.0, self.waiting + (self.load(now) - ready) * self.SYNC)
        utilization = min(self.load(now) / ready, 0.99)
        queue = self.waiting / ready
        return Seen((self.base / (1 - utilization) + queue,), utilization + queue / 5, 0.8, 20 * utilization + queue)


def turns(replicas: list[int]) -> int:
    """How often the direction changes."""
    moves = [after - before for before, after in pairwise(replicas) if after != before]
    return sum((one > 0) != (other > 0) for one, other in pairwise(moves))


@pytest.mark.parametrize("base", [0.02, 0.5])
@pytest.mark.parametrize("load", [0.1, 3.0, 24.0])
@pytest.mark.parametrize("start", [1, 40])
def test_an_hpa_settles_on_it(load: float, base: float, start: int) -> None:
    """From too few and from too many replicas, whatever share of the goal an idle engine takes."""
    fleet = Fleet(lambda _: load, base, start)
    replicas = fleet.run(3 * 3600)
    hour = int(3600 / Fleet.SYNC)
    settled = replicas[-hour:]
    assert len(set(settled)) == 1, settled
    assert turns(replicas) <= 3
    # The goal is kept, and without many more than that takes.
    [latency] = fleet.seen(4 * 3600, settled[0]).latencies
    assert latency is not None
    assert latency <= 1.1 or load / settled[0] <= 0.88
    least = max(load / 0.8, load / (1 - base))
    assert settled[0] <= math.ceil(1.4 * least) + 1


def test_a_load_that_comes_and_goes_is_followed_without_hunting() -> None:
    fleet = Fleet(lambda now: 12.0 if 3600 <= now < 7200 else 2.0, 0.2, 3)
    replicas = fleet.run(4 * 3600)
    per_hour = int(3600 / Fleet.SYNC)
    assert set(replicas[per_hour // 2 : per_hour]) <= {3, 4}
    assert min(replicas[per_hour + per_hour // 2 : 2 * per_hour]) >= 15
    assert replicas[-1] <= 4
    assert turns(replicas) <= 5
