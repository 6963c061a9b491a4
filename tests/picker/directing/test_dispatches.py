"""What was dispatched is on the clock of its endpoint until its prompt is computed or it ends, retries included."""

import random

from picker.epp_config.loader import preset
from picker.scheduling.costs.prefill_clock import PrefillClock
from tests.picker.directing.test_director import POOL, Bench, ask, done

LONG = random.Random(1).randbytes(2_000_000)
"""Half a million tokens: half a minute of work."""


def clock_of(bench: Bench) -> PrefillClock:
    """What stages of the pool's decisions may ask."""
    return bench.director._dispatches.memory.clock  # pyright: ignore[reportPrivateUsage] # no stage is asked here


def other(bench: Bench, row: int) -> str:
    """The only other one of two endpoints."""
    return bench.authority(1 - row)


def sent(bench: Bench, prompt: bytes, now: float) -> str:
    return bench.routed(ask(prompt), now).destinations[0]


def test_a_prompt_counts_until_it_is_computed_not_until_its_answer_ends() -> None:
    """Behind a long prompt nothing is sent; a minute later nothing is pending, though its answer is not over."""
    bench = Bench(2)
    first = bench.routed(ask(LONG), 0.1)
    busy = first.destinations[0]
    free = {bench.authority(0), bench.authority(1)} - {busy}
    shorts = [random.Random(n).randbytes(400) for n in range(8)]
    assert {sent(bench, each, 0.2) for each in shorts} == free
    clock = clock_of(bench)
    assert clock.pending_seconds(0.2).max() > 20.0
    assert clock.pending_seconds(60.0).max() == 0.0


def test_a_client_that_leaves_takes_the_backlog_along() -> None:
    bench = Bench(2)
    request = ask(LONG)
    first = bench.routed(request, 0.1)
    bench.director.finished(request, first, done(None), 0.2)
    clock = clock_of(bench)
    assert clock.pending_seconds(0.2).tolist() == [0.0, 0.0]
    assert clock.context_tokens.tolist() == clock.cache_tokens.tolist() == [0.0, 0.0]


def test_a_retry_moves_the_backlog_to_the_endpoint_that_answers() -> None:
    bench = Bench(2)
    request = ask(LONG)
    first = bench.routed(request, 0.1)
    row = [each.authority for each in bench.state.endpoints].index(first.destinations[0])
    moved = bench.director.response_started(first, 200, other(bench, row), 0.2)
    clock = clock_of(bench)
    pending = clock.pending_seconds(0.2)
    assert pending[row] == 0.0
    assert pending[1 - row] > 20.0
    bench.director.finished(request, moved, done(200, served=other(bench, row)), 0.3)
    assert clock.pending_seconds(0.3).tolist() == [0.0, 0.0]
    assert len(clock) == 0


def test_without_a_scorer_that_asks_nothing_is_on_the_clock() -> None:
    bench = Bench(2)
    bench.director.configure(preset("reference"))
    bench.routed(ask(LONG), 0.1)
    assert len(clock_of(bench)) == 0
    assert bench.store.snapshot(POOL) is not None
