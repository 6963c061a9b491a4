"""Parts of a mixture go on side by side, as each would alone."""

import random
from itertools import pairwise

import orjson
import pytest

from infscale.errors import ConfigError
from infscale.sim.load.distributions.arrival_times import Arrivals
from infscale.sim.load.distributions.lengths import fixed
from infscale.sim.load.group_load import GroupLoad
from infscale.sim.load.mixed_load import MixedLoad
from infscale.sim.load.session_load import SessionLoad
from infscale.sim.load.traffic import LoadTarget
from infscale.sim.load.virtual_request import RequestClass

PEOPLE = SessionLoad(
    LoadTarget("model"), Arrivals(100.0, (2.0,)), fixed(100), fixed(10), fixed(20), turns=fixed(2), think=fixed(3)
)
WORK = GroupLoad(
    LoadTarget("model", request_class=RequestClass.BATCH), Arrivals(100.0, (5.0,)), fixed(500), fixed(50), groups=4
)


def test_requests_are_in_order_and_have_numbers_and_sessions_of_their_own() -> None:
    stream = MixedLoad((PEOPLE, WORK)).stream(random.Random(1))
    made = list(stream.arriving())
    assert all(earlier.at_seconds <= later.at_seconds for earlier, later in pairwise(made))
    assert len({one.number for one in made}) == len(made)
    assert len({one.session for one in made if one.turn == 0}) == len(made)
    shares = {kind: sum(one.request_class is kind for one in made) for kind in RequestClass}
    assert shares[RequestClass.BATCH] == pytest.approx(500, rel=0.2)
    assert shares[RequestClass.INTERACTIVE] == pytest.approx(100, rel=0.4)


def test_answers_are_followed_by_the_next_turn_of_the_same_conversation() -> None:
    stream = MixedLoad((WORK, PEOPLE)).stream(random.Random(1))
    made = list(stream.arriving())
    asked = next(one for one in made if one.request_class is RequestClass.INTERACTIVE)
    following = stream.next(asked, 5.0)
    assert following is not None
    assert (following.session, following.turn, following.at_seconds) == (asked.session, 1, 8.0)
    assert following.pieces[: len(asked.pieces)] == asked.pieces
    assert following.number not in {one.number for one in made}
    assert stream.next(following, 20.0) is None
    assert stream.next(next(one for one in made if one.request_class is RequestClass.BATCH), 5.0) is None


def test_parts_share_no_text() -> None:
    stream = MixedLoad((WORK, WORK)).stream(random.Random(1))
    made = list(stream.arriving())
    assert len({one.prompt() for one in made}) == len(made)


def test_its_description_has_those_of_its_parts() -> None:
    said = MixedLoad((PEOPLE, WORK)).description()
    assert [part["kind"] for part in orjson.loads(orjson.dumps(said))["parts"]] == ["sessions", "groups"]


def test_a_mixture_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError):
        MixedLoad(())
