"""The prefill clock: what is pending, what corrects it, and that it comes back to nothing."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.metrics.sample import Life
from infscale.metrics.snapshot import PoolSnapshot
from picker.scheduling.costs import prefill_clock
from picker.scheduling.costs.prefill_clock import PrefillClock, Work
from picker.scheduling.costs.step_costs import StepCosts
from tests.fakes.pools import FakePool, endpoint

STEP = 0.5
"""Seconds of a full step of `COSTS`: prompts alone take time."""
COSTS = StepCosts(np.zeros(2), np.full(2, STEP / 8192), np.zeros(2), np.zeros(2))
PLACES = (endpoint(0), endpoint(1))


def clock() -> PrefillClock:
    made = PrefillClock()
    made.sync(PLACES, (Life(), Life()))
    return made


def scraped(of: PrefillClock, waiting: Sequence[float | None], at: Sequence[float]) -> None:
    of.observe(FakePool(2, waiting=waiting, observed_at=at).snapshot(), COSTS)


def test_prompts_are_computed_one_after_the_other() -> None:
    """A dispatch adds its seconds to what is left, and time takes them off; other endpoints are not concerned."""
    made = clock()
    made.dispatched(0, 1, Work(2.0, 100, 100), now=10.0)
    made.dispatched(0, 2, Work(3.0, 50, 50), now=11.0)
    assert made.pending_seconds(11.0).tolist() == [4.0, 0.0]
    assert made.pending_seconds(14.5).tolist() == [0.5, 0.0]
    assert made.pending_seconds(16.0).tolist() == [0.0, 0.0]
    made.dispatched(0, 3, Work(1.0, 10, 10), now=20.0)
    assert made.pending_seconds(20.0).tolist() == [1.0, 0.0]
    assert made.context_tokens.tolist() == [160.0, 0.0]


@pytest.mark.parametrize(
    ("waiting", "left"),
    [
        pytest.param(3, 6.0, id="all three wait: all their work is left"),
        pytest.param(2, 5.75, id="two wait, and the first is under way: as the clock says"),
        pytest.param(1, 5.5, id="one waits, the second may be at its beginning, beside a step of the first"),
        pytest.param(0, 3.5, id="none waits: the third may be at its beginning, beside a step of others"),
        pytest.param(None, 5.75, id="it is not known how many wait: the clock goes on"),
    ],
)
def test_a_scrape_bounds_what_is_left(waiting: float | None, left: float) -> None:
    """A quarter of a second after prompts of 1, 2 and 3 seconds were sent."""
    made = clock()
    for number, seconds in enumerate((1.0, 2.0, 3.0)):
        made.dispatched(0, number, Work(seconds, 10, 10), now=10.0)
    scraped(made, [waiting, 0], [10.25, 10.25])
    assert made.pending_seconds(10.25).tolist() == pytest.approx([left, 0.0])


def test_who_waits_has_not_begun_whatever_the_clock_says() -> None:
    """An engine that is slower than thought: the clock has run out, and the page says that two wait."""
    made = clock()
    for number, seconds in enumerate((1.0, 2.0, 3.0)):
        made.dispatched(0, number, Work(seconds, 10, 10), now=10.0)
    assert made.pending_seconds(17.0)[0] == 0.0
    scraped(made, [2, 0], [17.0, 17.0])
    assert made.pending_seconds(17.0)[0] == 5.0
    scraped(made, [1, 0], [18.0, 18.0])
    assert made.pending_seconds(18.0)[0] == 4.0


def test_what_was_sent_after_a_scrape_is_not_judged_by_it() -> None:
    made = clock()
    made.dispatched(0, 1, Work(4.0, 10, 10), now=10.0)
    made.dispatched(0, 2, Work(2.0, 10, 10), now=10.2)
    scraped(made, [0, 0], [10.1, 10.1])
    assert made.pending_seconds(10.2)[0] == pytest.approx(5.8)
    scraped(made, [0, 0], [14.5, 14.5])
    assert made.pending_seconds(14.5)[0] == pytest.approx(1.5), "the second may be under way, as the clock says"
    scraped(made, [0, 0], [14.4, 14.4])
    assert made.pending_seconds(14.5)[0] == pytest.approx(1.5), "a page from before says nothing new"


def test_requests_of_others_wait_as_long_as_is_usual() -> None:
    """Another picker sends there, too: three wait, one of them known."""
    made = clock()
    for number in range(400):
        made.dispatched(1, number, Work(2.0, 10, 10), now=1.0)
    made.dispatched(0, 400, Work(2.0, 10, 10), now=10.0)
    scraped(made, [3, None], [10.5, 10.5])
    assert made.pending_seconds(10.5)[0] == pytest.approx(6.0, rel=1e-3)


def test_a_request_that_is_cut_before_it_began_takes_its_part_off() -> None:
    made = clock()
    for number, seconds in enumerate((1.0, 2.0, 3.0)):
        made.dispatched(0, number, Work(seconds, 10, 10), now=10.0)
    made.ended(1, 10.5, answered=False)
    assert made.pending_seconds(10.5)[0] == pytest.approx(3.5)
    made.ended(0, 10.5, answered=False)
    assert made.pending_seconds(10.5)[0] == pytest.approx(3.0)
    made.ended(2, 12.5, answered=False)
    assert made.pending_seconds(12.5)[0] == 0.0
    assert made.context_tokens[0] == 0.0


def test_how_far_a_request_is_says_what_the_clock_goes_back_by_when_it_ends() -> None:
    made = clock()
    for number in (1, 2, 3):
        made.dispatched(0, number, Work(2.0, 10, 10), now=0.0)
    found = [made.standing(number, 3.5) for number in (1, 2, 3, 4)]
    assert [each and (each.left_seconds, each.computed_at) for each in found] == [
        (0.0, 2.0),
        (0.5, 3.5),
        (2.0, 3.5),
        None,
    ]
    for number, left in ((2, 2.0), (3, 0.0), (1, 0.0)):
        made.ended(number, 3.5, answered=False)
        assert made.pending_seconds(3.5)[0] == left


def test_an_answer_proves_that_what_came_before_has_begun() -> None:
    made = clock()
    for number, seconds in enumerate((1.0, 2.0, 3.0)):
        made.dispatched(0, number, Work(seconds, 10, 10), now=10.0)
    made.ended(1, 11.0, answered=True)
    assert made.pending_seconds(11.0)[0] == pytest.approx(3.0)
    made.ended(0, 11.5, answered=True)
    assert made.pending_seconds(11.5)[0] == pytest.approx(2.5)


def test_a_request_that_went_elsewhere_is_on_the_clock_there() -> None:
    made = clock()
    made.dispatched(0, 1, Work(2.0, 30, 30), now=10.0)
    made.moved(1, 2, 1, now=10.5)
    assert made.pending_seconds(10.5).tolist() == [0.0, 2.0]
    assert made.context_tokens.tolist() == [0.0, 30.0]
    made.moved(1, 3, 0, now=10.6)
    assert len(made) == 1, "one that is not on the clock stays off it"


def test_an_engine_that_began_anew_has_nothing_to_compute() -> None:
    made = PrefillClock()
    lives = (Life(), Life())
    made.sync(PLACES, lives)
    made.dispatched(0, 1, Work(2.0, 30, 30), now=10.0)
    made.dispatched(1, 2, Work(2.0, 30, 30), now=10.0)
    made.sync(PLACES, (Life(), lives[1]))
    assert made.pending_seconds(10.0).tolist() == [0.0, 2.0]
    made.ended(1, 10.0, answered=False)
    assert made.context_tokens.tolist() == [0.0, 30.0]


def test_endpoints_keep_their_clocks_in_other_rows() -> None:
    """An endpoint that leaves takes its clock along, and one that comes back has none."""
    made = clock()
    made.dispatched(0, 1, Work(2.0, 30, 30), now=10.0)
    made.dispatched(1, 2, Work(3.0, 40, 40), now=10.0)
    made.sync(PLACES[1:], ())
    assert made.pending_seconds(10.0).tolist() == [3.0]
    made.sync(PLACES, ())
    assert made.pending_seconds(10.0).tolist() == [0.0, 3.0]
    made.ended(1, 11.0, answered=True)
    made.ended(2, 11.0, answered=True)
    assert made.context_tokens.tolist() == [0.0, 0.0]


def test_caches_are_as_large_as_endpoints_say() -> None:
    made, snapshot = clock(), FakePool(2).snapshot()
    assert made.capacity_tokens.tolist() == [np.inf, np.inf]
    columns = replace(snapshot.columns, block_size_tokens=(16, 16), num_blocks=(1000, None))
    state = snapshot.state.observed(columns)
    requests, tokens = snapshot.in_flight_requests, snapshot.in_flight_tokens
    made.observe(PoolSnapshot(state, "test", 2, requests, tokens, ({},) * 2), COSTS)
    assert made.capacity_tokens.tolist() == [16_000.0, np.inf]


@pytest.mark.parametrize(
    ("used", "share"),
    [
        pytest.param(2_300.0, 1.0, id="all prompts and more are in use"),
        pytest.param(1_500.0, 0.5, id="500 tokens are there once for two"),
        pytest.param(900.0, 0.0, id="all that was cached is"),
        pytest.param(None, 1.0, id="not known"),
    ],
)
def test_what_is_not_in_use_of_the_prompts_that_have_begun_is_shared(used: float | None, share: float) -> None:
    """Two prompts of 1,000 tokens, all of the second cached; the third is in the queue."""
    made = clock()
    made.dispatched(0, 1, Work(0.1, 1_100, 1_100, answer_tokens=100), now=0.0)
    made.dispatched(0, 2, Work(0.1, 1_100, 100, matched_tokens=1_000, answer_tokens=100), now=0.0)
    made.dispatched(0, 3, Work(0.1, 5_100, 100, matched_tokens=5_000, answer_tokens=100), now=0.0)
    assert made.cache_tokens.tolist() == [7_300.0, 0.0], "as long as nothing says that prompts share"
    snapshot = FakePool(2, waiting=[1.0, 0.0], observed_at=[1.0, 0.0]).snapshot()
    gauges = snapshot.columns.gauges._replace(kv_used_tokens=np.array([np.nan if used is None else used, np.nan]))
    state = snapshot.state.observed(replace(snapshot.columns, gauges=gauges))
    made.observe(
        PoolSnapshot(state, "test", 2, snapshot.in_flight_requests, snapshot.in_flight_tokens, ({},) * 2), COSTS
    )
    assert made.own_share.tolist() == [share, 1.0]
    assert made.cache_tokens.tolist() == [1_300.0 + share * 6_000.0, 0.0]


_SECONDS = st.floats(0.0, 5.0)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("dispatch"), st.integers(0, 1), _SECONDS, st.integers(0, 10_000)),
        st.tuples(st.just("scrape"), st.integers(0, 6), st.floats(0.0, 1.0)),
        st.tuples(st.sampled_from(["answer", "abort", "move"]), st.integers(0, 30)),
        st.tuples(st.just("wait"), _SECONDS),
    ),
    max_size=40,
)


@given(_STEPS)
def test_whatever_happens_nothing_is_left_in_the_end(steps: list[tuple[object, ...]]) -> None:
    """Never negative, never longer than all work there is and was said to wait; nothing once all have ended."""
    made, now, number, at = clock(), 10.0, 0, 0.0
    open_requests: dict[int, float] = {}
    for kind, *said in steps:
        if kind == "dispatch":
            row, seconds, tokens = int(said[0]), float(said[1]), float(said[2])  # type: ignore[call-overload]
            made.dispatched(row, number, Work(seconds, tokens, tokens), now)
            open_requests[number] = seconds
            number += 1
        elif kind == "wait":
            now += float(said[0])  # type: ignore[arg-type]
        elif kind == "scrape":
            at = max(at, now - float(said[1]))  # type: ignore[arg-type]
            scraped(made, [said[0], said[0]], [at, at])  # type: ignore[list-item]
        elif open_requests:
            ended = list(open_requests)[int(said[0]) % len(open_requests)]  # type: ignore[call-overload]
            seconds = open_requests.pop(ended)
            if kind == "move":
                made.moved(ended, number, 1, now)
                open_requests[number] = seconds
                number += 1
            else:
                made.ended(ended, now, answered=kind == "answer")
        pending = made.pending_seconds(now)
        assert (pending >= 0.0).all()
        assert (made.context_tokens >= 0.0).all()
        assert len(made) == len(open_requests)
    for each in open_requests:
        made.ended(each, now, answered=False)
    assert made.context_tokens.tolist() == [0.0, 0.0]
    assert len(made) == 0
    # Only what others were said to have waiting may be left.
    scraped(made, [0, 0], [now + 1.0, now + 1.0])
    assert made.pending_seconds(now + 1.0 + STEP).tolist() == [0.0, 0.0]


@given(st.lists(st.tuples(st.integers(0, 1), _SECONDS), max_size=20), st.randoms())
def test_without_scrapes_the_order_of_ends_does_not_matter(sent: list[tuple[int, float]], rng: Random) -> None:
    """All that was sent at once and is cut again leaves nothing pending, in whatever order it is cut."""
    made = clock()
    for number, (row, seconds) in enumerate(sent):
        made.dispatched(row, number, Work(seconds, 7, 7), now=10.0)
    order = list(range(len(sent)))
    rng.shuffle(order)
    for place, number in enumerate(order):
        made.ended(number, 10.0, answered=False)
        left = [sent[other] for other in order[place + 1 :]]
        expected = [sum(seconds for row, seconds in left if row == wanted) for wanted in (0, 1)]
        assert made.pending_seconds(10.0).tolist() == pytest.approx(expected, abs=1e-9)


@dataclass
class Plain:
    """A prefill as its definition says: after the one before it, and not before a time of its own."""

    seconds: float
    not_before: float

    @staticmethod
    def finishes(line: dict[int, "Plain"]) -> dict[int, float]:
        found, finish = dict[int, float](), 0.0
        for number, each in line.items():
            finish = found[number] = max(finish, each.not_before) + each.seconds
        return found

    @staticmethod
    def ended(line: dict[int, "Plain"], number: int, now: float, *, answered: bool) -> None:
        """All before an answer have begun. What comes after an end began no sooner, if the clock had not come to it."""
        if number not in line:
            return
        finish, numbers = Plain.finishes(line)[number], list(line)
        place = numbers.index(number)
        for other in numbers[: place + 1] if answered else [number]:
            del line[other]
        for other in numbers[place + 1 : place + 2]:
            line[other].not_before = max(line[other].not_before, min(now, finish))


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("dispatch"), _SECONDS),
            st.tuples(st.just("wait"), st.floats(0.0, 2.0)),
            st.tuples(st.sampled_from(["answer", "abort"]), st.floats(0.0, 0.999)),
        ),
        max_size=60,
    )
)
def test_it_is_the_walk_over_all_that_is_ahead(events: list[tuple[str, float]]) -> None:
    made, line, now, sent = clock(), dict[int, Plain](), 10.0, list[int]()
    for number, (kind, said) in enumerate(events):
        if kind == "dispatch":
            made.dispatched(0, number, Work(said, 1, 1), now)
            line[number] = Plain(said, now)
            sent.append(number)
        elif kind == "wait":
            now += said
        elif sent:
            ended = sent.pop(int(said * len(sent)))
            made.ended(ended, now, answered=kind == "answer")
            Plain.ended(line, ended, now, answered=kind == "answer")
        finish = max(Plain.finishes(line).values(), default=0.0)
        assert made.pending_seconds(now)[0] == pytest.approx(max(finish - now, 0.0), abs=1e-9)


def lines_run(work: Callable[[], None]) -> int:
    """How many lines of the clock's module `work` runs."""
    count = 0

    def line(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return line

    def call(frame: FrameType, _event: str, _argument: object) -> Any:
        return line if frame.f_code.co_filename == prefill_clock.__file__ else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.skipif(Path(prefill_clock.__file__).suffix == ".so", reason="what is compiled runs no lines to be counted")
@pytest.mark.parametrize(
    ("answered", "order"),
    [
        pytest.param(False, list[int].sort, id="all leave, the oldest first"),
        pytest.param(False, list[int].reverse, id="all leave, the youngest first"),
        pytest.param(False, Random(1).shuffle, id="all leave in any order"),
        pytest.param(True, list[int].sort, id="all are answered, the oldest first"),
        pytest.param(True, Random(2).shuffle, id="all are answered in any order"),
    ],
)
@pytest.mark.parametrize("at", [10.0, 15.0, 1e6], ids=["at once", "half computed", "all computed"])
def test_an_end_costs_the_same_however_much_is_in_flight(
    answered: bool, order: Callable[[list[int]], None], at: float
) -> None:
    """Two thousand on one endpoint, whose page is silent: as many lines for each as with twenty."""

    def each(requests: int) -> float:
        made, numbers = clock(), list(range(requests))
        for number in numbers:
            made.dispatched(0, number, Work(10.0 / requests, 1, 1), now=10.0)
        order(numbers)

        def end() -> None:
            for number in numbers:
                made.ended(number, at, answered=answered)

        return lines_run(end) / requests

    assert each(2_000) == pytest.approx(each(20), rel=0.5)
