"""Groups share their system prompt, users' conversations grow, and nothing depends on answers."""

import random
from itertools import pairwise
from typing import Any

import orjson
import pytest

from infscale.errors import ConfigError
from infscale.sim.load.distributions.arrival_times import Arrivals
from infscale.sim.load.distributions.lengths import even, fixed
from infscale.sim.load.distributions.popularity import Popularity
from infscale.sim.load.group_load import GroupLoad
from infscale.sim.load.traffic import LoadTarget
from infscale.sim.load.virtual_request import VirtualRequest

TARGET = LoadTarget("model")


def load(**settings: Any) -> GroupLoad:
    chosen: dict[str, Any] = {"groups": 5, "users": 2, "system": fixed(200), "turns": 4, **settings}
    arrivals = chosen.pop("arrivals", Arrivals(50.0, (10.0,), 2.0))
    target = chosen.pop("target", TARGET)
    return GroupLoad(target, arrivals, chosen.pop("question", even(40, 0.5)), even(30, 0.5), **chosen)


def requests(seed: int = 1, **settings: Any) -> list[VirtualRequest]:
    return list(load(**settings).stream(random.Random(seed)).arriving())


def test_one_seed_gives_one_load() -> None:
    def told(seed: int) -> list[tuple[float, bytes]]:
        return [(one.at_seconds, one.body()) for one in requests(seed)]

    assert told(5) == told(5)
    assert told(5) != told(6)


def test_a_group_s_system_prompt_is_the_same_bytes_in_all_its_requests() -> None:
    systems = {orjson.loads(one.body())["messages"][0]["content"] for one in requests()}
    assert len(systems) == 5
    assert {len(system) for system in systems} == {800}


def test_a_conversation_grows_by_whole_turns_up_to_its_limit() -> None:
    made = requests(groups=1, users=1, turns=3)
    assert [len(one.pieces) for one in made][:7] == [2, 4, 6, 2, 4, 6, 2]
    assert [one.turn for one in made][:7] == [0, 1, 2, 0, 1, 2, 0]
    assert [one.session for one in made][:7] == [0, 0, 0, 1, 1, 1, 2]
    for earlier, later in pairwise(made):
        if later.turn:
            assert later.pieces[: len(earlier.pieces)] == earlier.pieces
            assert later.pieces[-2].tokens == earlier.output_tokens


def test_without_a_system_prompt_and_further_turns_nothing_is_shared() -> None:
    made = requests(system=fixed(0), turns=1)
    assert {len(one.pieces) for one in made} == {1}
    assert len({one.prompt() for one in made}) == len(made)


def test_no_request_is_longer_than_servers_can_hold() -> None:
    """A conversation that has become too long starts anew, and a question that is too long alone is cut."""
    made = requests(target=LoadTarget("model", max_tokens=400), question=even(150, 1.0), turns=50)
    assert len(made) == 500
    assert max(one.engine_prompt_tokens + one.output_tokens for one in made) <= 400
    assert max(one.turn for one in made) > 0
    assert [one.number for one in made] == list(range(len(made)))


def test_a_system_prompt_that_servers_cannot_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="a prompt of 203 tokens leaves no room"):
        requests(target=LoadTarget("model", max_tokens=200))


def test_a_hot_prefix_has_its_share() -> None:
    made = requests(popularity=Popularity(first=0.8), arrivals=Arrivals(200.0, (10.0,)))
    assert sum(one.pieces[0].key == 0 for one in made) / len(made) == pytest.approx(0.8, abs=0.05)


def test_a_group_uses_one_lora_adapter() -> None:
    made = requests(loras=3)
    assert {(one.pieces[0].key % 3, one.lora) for one in made} == {(0, "lora-0"), (1, "lora-1"), (2, "lora-2")}
    assert all(one.model == one.lora for one in made)


def test_bodies_state_no_limit_where_clients_would_not_know_one() -> None:
    assert {one.max_output_tokens for one in requests(target=LoadTarget("model", limited=False))} == {None}
    assert all(one.max_output_tokens == one.output_tokens for one in requests())


def test_its_description_is_json() -> None:
    assert orjson.loads(orjson.dumps(load().description()))["system"]["mean"] == 200


@pytest.mark.parametrize("bad", [{"groups": 0}, {"users": 0}, {"turns": 0}, {"loras": -1}])
def test_an_impossible_load_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        load(**bad)
