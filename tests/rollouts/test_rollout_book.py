"""The book follows discovery, and several rollouts do not confuse each other."""

from dataclasses import replace

import pytest

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Phase, Pool, Version
from infscale.rollouts.rollout_book import RolloutBook
from infscale.rollouts.rollout_state import CommandRefused, RolloutPhase, RolloutState
from infscale.rollouts.sequential_test import RequestResult
from tests.rollouts.made_rollouts import CANARY, KEY, canary

POOL, OTHER = ObjectKey("default", "pool"), ObjectKey("default", "green")


def pod(name: str, version: str, phase: Phase = Phase.READY) -> Endpoint:
    number = sum(map(ord, name)) % 250 + 1
    return Endpoint(EndpointKey("default", name), f"10.0.0.{number}", 8000, {"version": version}, phase)


def state(*rollouts: object, endpoints: tuple[Endpoint, ...] = ()) -> DiscoveryState:
    pools = (Pool(POOL, {}), Pool(OTHER, {"version": "v2"}))
    return DiscoveryState(endpoints, pools, rollouts=tuple(rollouts))  # type: ignore[arg-type] # rollouts


def only(book: RolloutBook) -> RolloutPhase:
    (running,) = book
    return running.state.phase


def test_it_begins_when_the_new_version_has_endpoints_that_are_ready() -> None:
    book = RolloutBook()
    for endpoints, phase in (
        ((pod("a", "v1"),), RolloutPhase.WAITING),
        ((pod("a", "v1"), pod("b", "v2", Phase.STARTING)), RolloutPhase.WAITING),
        ((pod("a", "v1"), pod("b", "v2")), RolloutPhase.PROGRESSING),
    ):
        book.sync(state(CANARY, endpoints=endpoints), 0.0)
        book.advance(1.0)
        assert only(book) is phase


def test_a_rollout_goes_on_as_long_as_it_is_the_same_and_begins_anew_with_another_revision() -> None:
    book = RolloutBook()
    book.sync(state(CANARY, endpoints=(pod("b", "v2"),)), 0.0)
    book.advance(1.0)
    book.sync(state(CANARY), 2.0)
    assert only(book) is RolloutPhase.PROGRESSING
    book.sync(state(canary(revision="2")), 3.0)
    assert only(book) is RolloutPhase.WAITING
    book.sync(state(), 4.0)
    assert list(book) == []


def test_a_rollout_goes_on_where_it_was_before_this_process() -> None:
    book = RolloutBook()
    book.restore({(KEY, ""): RolloutState(0.0, RolloutPhase.ROLLED_BACK, 1)})
    book.sync(state(CANARY), 5.0)
    assert only(book) is RolloutPhase.ROLLED_BACK
    book.sync(state(canary(revision="2")), 6.0)
    assert only(book) is RolloutPhase.WAITING


def test_the_rollout_of_a_model_wins_over_one_of_all_and_the_oldest_of_equals() -> None:
    every = canary(key=ObjectKey("default", "every"))
    old = canary(key=ObjectKey("default", "old"), model="m", created="2025-01-01T00:00:00Z")
    young = canary(key=ObjectKey("default", "a-young"), model="m", created="2026-01-01T00:00:00Z")
    book = RolloutBook()
    book.sync(state(every, young, old), 0.0)
    table = book.table(POOL)
    first, other = table.of("m"), table.of("n")
    assert first is not None
    assert other is not None
    assert (first.rollout.key.name, other.rollout.key.name) == ("old", "every")
    assert not book.table(OTHER)


def test_a_rollout_to_another_pool_is_known_there() -> None:
    book = RolloutBook()
    book.sync(state(canary(new=Version(pool="green")), endpoints=(pod("b", "v2"),)), 0.0)
    assert book.leading_to(OTHER).of("m") is book.table(POOL).of("m")
    book.advance(1.0)
    assert only(book) is RolloutPhase.PROGRESSING


def test_results_go_to_their_own_rollout_and_late_ones_nowhere() -> None:
    book = RolloutBook()
    one, two = canary(key=ObjectKey("default", "one"), model="a"), canary(key=ObjectKey("default", "two"), model="b")
    book.sync(state(one, two), 0.0)
    first, second = book
    first.state = second.state = RolloutState(0.0, RolloutPhase.PROGRESSING)
    share = first.share(None, "x")
    book.observe(share, RequestResult(True))
    assert (sum(first.test.requests.values()), sum(second.test.requests.values())) == (1, 0)
    book.observe(replace(share, revision="another"), RequestResult(True))
    book.sync(state(), 1.0)
    book.observe(share, RequestResult(True))
    assert sum(first.test.requests.values()) == 1


def test_commands_name_one_rollout() -> None:
    book = RolloutBook()
    book.sync(state(CANARY, canary(key=ObjectKey("other", "v2"))), 0.0)
    with pytest.raises(CommandRefused, match="give namespace/name"):
        book.command("v2", "abort", 1.0)
    with pytest.raises(CommandRefused, match="no rollout"):
        book.command("v3", "abort", 1.0)
    assert book.command("default/v2", "abort", 1.0).state.phase is RolloutPhase.ABORTED
