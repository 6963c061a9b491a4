"""What a director believes to be cached ends with the life of the engine that held it."""

import random
from collections import Counter

import pytest

from tests.fakes.counts import counts_of
from tests.fakes.pools import POOL
from tests.fakes.samples import engine_sample
from tests.picker.directing.test_director import Bench, ask, done, get

PROMPTS = [random.Random(number).randbytes(4096) for number in range(4)]


def page(bench: Bench, row: int, at: float, **says: object) -> None:
    """A page of an engine that has finished so many requests."""
    finished = says.pop("finished", 10.0)
    counts = counts_of(counters={("requests_finished", "m"): finished})  # type: ignore[dict-item] # a number
    bench.fingerprint += 1
    sample = engine_sample(0.0, 0.0, 0.0, counts=counts, fingerprint=bench.fingerprint, **says)  # type: ignore[arg-type]
    bench.store.record_scrape(bench.state.endpoints[row].key, sample, at)


def asked(bench: Bench, now: float) -> list[float | None]:
    """What share of each prompt is believed to be cached where it goes."""
    ratios: list[float | None] = []
    for prompt in PROMPTS:
        decision = bench.routed(ask(prompt), now)
        bench.director.finished(ask(prompt), decision, done(), now)
        ratios.append(decision.prefix_hit_ratio)
    return ratios


@pytest.mark.parametrize(
    "says",
    [
        pytest.param({"finished": 0.0}, id="counts from 0"),
        pytest.param({"started_at": 2.0, "finished": 20.0}, id="another start time"),
    ],
)
def test_prompts_do_not_go_back_to_an_engine_that_began_anew(says: dict[str, object]) -> None:
    bench = Bench(1)
    page(bench, 0, 0.0, started_at=1.0)
    assert asked(bench, 0.1) == [0.0] * 4
    page(bench, 0, 0.5, started_at=1.0, finished=14.0)
    assert asked(bench, 0.6) == [1.0] * 4
    page(bench, 0, 1.0, **says)
    assert asked(bench, 1.1) == [0.0] * 4
    stats = bench.director.stats
    assert stats.matched_tokens == 4 * 1024


def test_only_what_the_engine_that_began_anew_held_is_forgotten() -> None:
    bench = Bench(2)
    for row in range(2):
        page(bench, row, 0.0, started_at=1.0)
    asked(bench, 0.1)
    held = Counter(bench.routed(ask(prompt), 0.2).destinations[0] for prompt in PROMPTS)
    page(bench, 0, 0.5, started_at=2.0)
    ratios = Counter(bench.routed(ask(prompt), 0.6).prefix_hit_ratio for prompt in PROMPTS)
    assert ratios == {1.0: held[bench.authority(1)], 0.0: held[bench.authority(0)]}


def test_all_go_to_the_awake_one_beside_a_sleeper() -> None:
    bench = Bench(2)
    sleeper = bench.routed(ask(PROMPTS[0])).destinations[0]
    row = [each.authority for each in bench.state.endpoints].index(sleeper)
    page(bench, row, 0.5, asleep=True)
    page(bench, 1 - row, 0.5)
    for request in (ask(PROMPTS[0]), ask(), get()):
        assert {bench.routed(request, 0.6).destinations for _ in range(10)} == {(bench.authority(1 - row),)}
    page(bench, row, 1.0)
    assert bench.store.snapshot(POOL) is not None
    woken = bench.routed(ask(PROMPTS[0], subset=(sleeper,)), 1.1)
    assert (woken.destinations[0], woken.prefix_hit_ratio) == (sleeper, 0.0)


@pytest.mark.parametrize("size", [16, 128, 10**9])
def test_one_servers_block_size_is_its_own_concern(size: int) -> None:
    bench = Bench(2)
    asked(bench, 0.1)
    before = [bench.routed(ask(prompt), 0.2) for prompt in PROMPTS]
    assert len({each.destinations[0] for each in before}) == 2
    page(bench, 0, 0.5, block_size_tokens=size, num_blocks=size)
    for first, prompt in zip(before, PROMPTS, strict=True):
        again = bench.routed(ask(prompt), 0.6)
        if first.destinations[0] == bench.authority(1):
            assert (again.destinations[0], again.prefix_hit_ratio) == (first.destinations[0], 1.0)
