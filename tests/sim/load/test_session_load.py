"""A turn comes when the answer before it has been read, and what is said does not depend on when that is."""

import random
from heapq import heappop, heappush
from typing import Any

import orjson
import pytest

from infscale.errors import ConfigError
from infscale.sim.load.distributions.arrival_times import Arrivals
from infscale.sim.load.distributions.lengths import Lengths, Shape, even, fixed
from infscale.sim.load.session_load import SessionLoad
from infscale.sim.load.traffic import LoadTarget
from infscale.sim.load.virtual_request import VirtualRequest


def load(**settings: Any) -> SessionLoad:
    chosen: dict[str, Any] = {"turns": Lengths(Shape.EVEN, 3.0, 2.0), "think": even(5.0, 0.5), "groups": 3, **settings}
    return SessionLoad(
        chosen.pop("target", LoadTarget("model")),
        chosen.pop("arrivals", Arrivals(600.0, (6.0,))),
        first=even(300, 0.5),
        output=even(50, 0.5),
        question=even(20, 0.5),
        system=fixed(100),
        **chosen,
    )


def played(load: SessionLoad, answer_seconds: float, seed: int = 1) -> list[VirtualRequest]:
    """Every request of a run in which each answer takes so long."""
    stream = load.stream(random.Random(seed))
    arriving = stream.arriving()
    made: list[VirtualRequest] = []
    ends: list[tuple[float, int, VirtualRequest]] = []
    upcoming = next(arriving, None)
    while upcoming is not None or ends:
        if upcoming is not None and (not ends or upcoming.at_seconds <= ends[0][0]):
            request: VirtualRequest | None = upcoming
            upcoming = next(arriving, None)
        else:
            at, _, ended = heappop(ends)
            request = stream.next(ended, at)
            assert request is None or request.at_seconds > at
        if request is not None:
            made.append(request)
            heappush(ends, (request.at_seconds + answer_seconds, request.number, request))
    return made


def test_what_is_said_is_the_same_however_long_answers_take() -> None:
    def said(answer_seconds: float) -> dict[tuple[int | None, int], tuple[object, int]]:
        made = played(load(arrivals=Arrivals(60.0, (3.0,))), answer_seconds)
        return {(one.session, one.turn): (one.pieces, one.output_tokens) for one in made}

    quick, slow = said(0.1), said(20.0)
    assert 0 < len(slow) < len(quick)
    assert {key: quick[key] for key in slow} == slow


def test_a_turn_quotes_what_was_said_before_and_comes_after_a_while_of_thinking() -> None:
    made = played(load(), 2.0)
    turns: dict[int | None, VirtualRequest] = {}
    for one in made:
        before = turns.get(one.session)
        assert one.turn == (0 if before is None else before.turn + 1)
        if before is not None:
            assert one.pieces[: len(before.pieces)] == before.pieces
            assert one.pieces[-2].tokens == before.output_tokens
            assert 2.5 <= one.at_seconds - before.at_seconds - 2.0 <= 7.5
        turns[one.session] = one
    assert max(one.turn for one in made) == 4


def test_requests_come_at_the_rate_and_end_with_the_arrivals() -> None:
    made = played(load(), 1.0)
    steady = [one for one in made if one.at_seconds >= 60.0]
    assert len(steady) / 540.0 == pytest.approx(6.0, rel=0.1)
    assert max(one.at_seconds for one in made) < 600.0
    assert sorted(one.number for one in made) == list(range(len(made)))


def test_a_conversation_ends_when_servers_could_not_hold_it() -> None:
    limited = load(target=LoadTarget("model", max_tokens=500), turns=fixed(50))
    made = played(limited, 1.0)
    assert max(one.engine_prompt_tokens + one.output_tokens for one in made) <= 500
    assert max(one.turn for one in made) > 1


def test_groups_share_their_system_prompt() -> None:
    made = played(load(), 1.0)
    assert {one.pieces[0] for one in made} == {("system", group, 100) for group in range(3)}


def test_its_description_is_json() -> None:
    assert orjson.loads(orjson.dumps(load().description()))["think"]["shape"] == "even"


@pytest.mark.parametrize("bad", [{"groups": 0}, {"turns": fixed(0)}])
def test_an_impossible_load_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        load(**bad)
