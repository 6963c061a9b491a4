"""The file of a scenario's servers: which are in it, in which phase, and which are the first to leave."""

import orjson
import pytest

from infscale.demo.scenarios.pool_file import POOL, PoolServers
from infscale.discovery.state import read_state
from infscale.documents.strict_document import load
from infscale.endpoint import DiscoveryState, Phase
from infscale.sim.engine.coefficients import coefficient_set


def servers(ready: int) -> PoolServers:
    found = PoolServers(coefficient_set("llama-3.1-8b-l4"))
    for _ in range(ready):
        name = found.begin()
        found.started(name, "127.0.0.1", 8000 + len(found.servers))
    return found


def read(found: PoolServers) -> DiscoveryState:
    """What `serve` reads of the file."""

    return read_state(load(orjson.dumps(found.document()).decode(), "endpoints.yaml"), default_pool=POOL)


def test_a_server_is_in_the_file_once_it_listens_and_until_it_is_gone() -> None:
    found = servers(1)
    name = found.begin()
    assert (found.ready, found.staying) == (1, 2)
    assert [each.key.name for each in read(found).endpoints] == ["server-0"]
    found.started(name, "127.0.0.1", 9000)
    assert [each.authority for each in read(found).endpoints] == ["127.0.0.1:8001", "127.0.0.1:9000"]
    found.stopped("server-0")
    assert [each.key.name for each in read(found).endpoints] == ["server-1"]


def test_an_empty_pool_can_be_read_and_classes_have_their_priorities() -> None:
    state = read(servers(0))
    assert state.endpoints == ()
    assert {each.key.name: each.priority for each in state.objectives} == {"interactive": 10, "batch": -1}


@pytest.mark.parametrize(
    ("leaving", "names"),
    [
        ({"oldest": 1}, ["server-0"]),
        ({"newest": 2}, ["server-1", "server-2"]),
        ({"oldest": 1, "newest": 1}, ["server-0", "server-2"]),
        ({}, []),
    ],
)
def test_the_oldest_and_the_newest_of_those_that_are_ready_leave(leaving: dict[str, int], names: list[str]) -> None:
    found = servers(3)
    found.begin()
    assert found.drain(**leaving) == names
    drained = [each.key.name for each in read(found).endpoints if each.phase is Phase.DRAINING]
    assert drained == names
    assert found.staying == 4 - len(names)


def test_names_do_not_come_back() -> None:
    found = servers(2)
    found.stopped("server-1")
    assert found.begin() == "server-2"
