"""Servers are asked for names of operators, each for those of its pools, and for so many at most."""

from infscale.endpoint import (
    DiscoveryState,
    Endpoint,
    EndpointKey,
    Objective,
    ObjectKey,
    Pool,
    Rewrite,
    RewriteRule,
    RewriteTarget,
)
from infscale.sources.health_names import MOST_NAMES, names_by_endpoint

CHAT, CODE = ObjectKey("llm", "chat"), ObjectKey("llm", "code")
A, B = EndpointKey("llm", "a"), EndpointKey("llm", "b")


def state(*rewritten: str) -> DiscoveryState:
    endpoints = tuple(Endpoint(key, "127.0.0.1", 8000 + each, {"pool": pool}) for each, (key, pool) in enumerate(OF))
    pools = tuple(Pool(key, {"pool": key.name}) for key in (CHAT, CODE))
    objectives = (
        Objective(ObjectKey("llm", "one"), 1, "chat", model="chat-model"),
        Objective(ObjectKey("llm", "two"), 1, "chat"),
        Objective(ObjectKey("other", "three"), 1, "chat", model="of another namespace"),
    )
    targets = tuple(RewriteTarget(each) for each in rewritten)
    rewrites = (Rewrite(ObjectKey("llm", "r"), "code", (RewriteRule(("asked-for",), targets),)),)
    return DiscoveryState(endpoints, pools, objectives, rewrites)


OF = ((A, "chat"), (B, "code"))


def test_names_are_the_configured_ones_and_those_of_objects_of_the_pool() -> None:
    found = names_by_endpoint(state("tuned", "base"), ("z", "a"), (), discovered=True)
    assert found == {A: ("z", "a", "chat-model"), B: ("z", "a", "base", "tuned")}


def test_objects_and_pools_can_be_left_out() -> None:
    assert names_by_endpoint(state("tuned"), ("z",), (), discovered=False) == {A: ("z",), B: ("z",)}
    assert names_by_endpoint(state("tuned"), (), (CODE,), discovered=True) == {B: ("tuned",)}
    assert names_by_endpoint(DiscoveryState(), ("z",), (), discovered=True) == {}


def test_too_many_names_and_too_long_ones_are_left_out() -> None:
    many = [f"name-{number:03}" for number in range(100)]
    found = names_by_endpoint(state(*many, "x" * 513, ""), ("first",), (), discovered=True)[B]
    assert found == ("first", *many[: MOST_NAMES - 1])
