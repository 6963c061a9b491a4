"""Requests that go elsewhere: when they do, in which order, within which limits, and what is told and counted."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from picker.directing.falling_back.fallback_target import FallbackTarget
from picker.directing.pool_directors import POOL_HEADER
from picker.request import ParsedBody, Reason
from tests.picker.directing.asked import Asked
from tests.picker.directing.falling_back.fallback_pools import CHAT, SMALL, STANDBY, Pools, Waits, told

EVERY: tuple[Waits, ...] = ("own", "reference", "none")
TO_STANDBY = {CHAT: [FallbackTarget(STANDBY)]}


@pytest.mark.parametrize("waits", EVERY)
def test_what_an_empty_pool_gets_goes_to_the_next_pool_at_once(waits: Waits) -> None:
    pools = Pools(TO_STANDBY, waits)
    pools.have(standby=1)
    asked = pools.ask(10)
    assert told(asked.decision) == "standby"
    assert asked.decision.target_model == "big"
    fallback, record = asked.decision.fallback, asked.decision.record
    assert fallback is not None
    assert record is not None
    assert (fallback.told, fallback.model) == (b'pool="llm/standby", reason=unavailable', "")
    assert record.fallback == "instead of pool llm/chat, which has no endpoint for it"
    assert pools.counted() == {("llm/standby", "unavailable"): 1}
    assert pools.there() == 1
    chat = pools.store.snapshot(CHAT)
    assert chat is not None
    assert chat.turned_away, "the pool is told that it has to be scaled up"
    pools.ends(asked)
    assert (pools.there(), pools.in_flight()) == (0, 0.0)


@pytest.mark.parametrize("waits", EVERY)
def test_while_its_pool_serves_a_request_stays(waits: Waits) -> None:
    pools = Pools(TO_STANDBY, waits)
    pools.have(chat=1, standby=1)
    asked = pools.ask(10)
    assert (told(asked.decision), asked.decision.fallback) == ("chat", None)
    assert pools.counted() == {}


@pytest.mark.parametrize("waits", EVERY)
def test_a_pool_whose_pages_cannot_be_read_again_and_again_is_passed_over(waits: Waits) -> None:
    pools = Pools(TO_STANDBY, waits)
    pools.have(chat=1, standby=1)
    pools.dead.add(CHAT)
    pools.scrape()
    first = pools.ask(10)
    assert told(first.decision) == "chat", "one page may be lost"
    pools.ends(first)
    pools.scrape()
    second = pools.ask(10)
    assert told(second.decision) == "standby"
    pools.dead.clear()
    pools.scrape()
    assert told(pools.ask(10).decision) == "chat"


@pytest.mark.parametrize("waits", EVERY)
def test_a_pool_that_answers_with_errors_alone_is_passed_over_for_a_while(waits: Waits) -> None:
    pools = Pools(TO_STANDBY, waits)
    pools.have(chat=1, standby=1)
    for _ in range(2):
        asked = pools.ask(10)
        assert told(asked.decision) == "chat"
        pools.ends(asked, 503)
    other = pools.ask(10)
    assert told(other.decision) == "standby"
    pools.ends(other)
    pools.passes(6.0)
    again = pools.ask(10)
    assert told(again.decision) == "chat", "it is tried again"


@pytest.mark.parametrize("waits", EVERY)
def test_where_both_are_dead_nothing_changes(waits: Waits) -> None:
    pools = Pools(TO_STANDBY, waits)
    pools.have(chat=1, standby=1)
    pools.dead |= {CHAT, STANDBY}
    pools.scrape()
    pools.scrape()
    assert told(pools.ask(10).decision) == "chat"


@pytest.mark.parametrize("waits", EVERY)
def test_where_both_seem_dead_the_one_that_was_alive_a_moment_ago_is_asked(waits: Waits) -> None:
    pools = Pools(TO_STANDBY, waits)
    pools.have(chat=1, standby=1)
    pools.dead.add(CHAT)
    pools.passes(3.0)
    pools.dead.add(STANDBY)
    pools.scrape()
    pools.scrape()
    assert told(pools.ask(10).decision) == "standby"


def test_a_request_goes_on_when_it_has_waited_for_long_enough() -> None:
    pools = Pools({CHAT: [FallbackTarget(STANDBY, after_seconds=1.0)]})
    pools.have(chat=1, standby=1)
    first, second = pools.ask(), pools.ask(60_000)
    assert told(first.decision) == "chat"
    pools.passes(0.9)
    if not second.verdicts:
        pools.passes(0.3)
    assert told(second.decision) == "standby"
    record = second.decision.record
    assert record is not None
    [((target, why), count)] = pools.counted().items()
    assert (target, count) == ("llm/standby", 1)
    assert why in ("waited", "forecast")
    assert pools.queue is not None
    pools.ends(first)
    pools.ends(second)
    assert (pools.there(), pools.in_flight()) == (0, 0.0)


def test_a_request_that_would_wait_for_too_long_goes_on_at_once() -> None:
    pools = Pools({CHAT: [FallbackTarget(STANDBY, after_seconds=2.0)]})
    pools.have(chat=1, standby=1)
    asked = [pools.ask(100_000) for _ in range(3)]
    assert told(asked[0].decision) == "chat"
    assert "standby" in [told(each.verdicts[0]) for each in asked if each.verdicts]
    assert pools.counted() == {("llm/standby", "forecast"): 1}


def test_load_moves_nothing_where_no_time_is_said() -> None:
    pools = Pools(TO_STANDBY, max_wait_seconds=3.0, no_endpoint_seconds=3.0)
    pools.have(chat=1, standby=1)
    asked = [pools.ask(200_000) for _ in range(5)]
    pools.passes(4.0)
    assert {told(each.verdicts[0]) for each in asked} <= {"chat", Reason.DEADLINE.value, Reason.WAITED.value}
    assert pools.counted() == {}


def test_a_request_keeps_its_place_while_the_other_pool_is_full() -> None:
    pools = Pools({CHAT: [FallbackTarget(STANDBY, after_seconds=0.5, max_requests=1)]})
    pools.have(chat=1, standby=1)
    for pool in ("chat", "chat", "chat"):
        pools.ask(60_000)
        del pool
    pools.passes(1.0)
    assert [told(each.verdicts[0]) for each in pools.went if each.verdicts] == ["chat", "standby"]
    assert pools.there() == 1
    last = pools.went[2]
    assert last.waits
    pools.ends(pools.went[0])
    pools.passes(0.2)
    assert told(last.decision) == "chat", "its own pool had room first"


@pytest.mark.parametrize("waits", EVERY)
def test_no_more_go_than_the_limit_and_the_next_target_takes_the_rest(waits: Waits) -> None:
    targets = {CHAT: [FallbackTarget(STANDBY, max_requests=2), FallbackTarget(SMALL, "tiny")]}
    pools = Pools(targets, waits)
    pools.have(standby=4, small=4)
    asked = [pools.ask(10) for _ in range(4)]
    assert [told(each.decision) for each in asked] == ["standby", "standby", "small", "small"]
    assert {each.decision.target_model for each in asked[2:]} == {"tiny"}
    fallback = asked[2].decision.fallback
    assert fallback is not None
    assert (fallback.told, fallback.model) == (b'pool="llm/small", model="tiny", reason=unavailable', "tiny")
    assert sum(pools.director.books.limited.values()) == 2
    pools.ends(asked[0])
    assert told(pools.ask(10).decision) == "standby"


def test_a_share_is_of_what_the_pool_takes() -> None:
    pools = Pools({CHAT: [FallbackTarget(STANDBY, max_share=0.02)]}, "none")
    pools.have(standby=2)
    asked = [pools.ask(10) for _ in range(6)]
    assert [told(each.verdicts[0]) for each in asked] == ["standby"] * 4 + ["no_endpoints"] * 2, "2 % of 2 × 100"


@pytest.mark.parametrize("waits", EVERY)
def test_pools_that_are_each_others_fallback_do_not_loop(waits: Waits) -> None:
    pools = Pools({CHAT: [FallbackTarget(STANDBY)], STANDBY: [FallbackTarget(CHAT)]}, waits)
    pools.have()
    asked = [pools.ask(10), pools.ask(10, {POOL_HEADER: "llm/standby"})]
    if waits == "none":
        assert [told(each.verdicts[0]) for each in asked] == ["no_endpoints"] * 2
    else:
        assert all(each.waits for each in asked)
    pools.have(chat=2)
    pools.passes(0.5)
    if waits != "none":
        assert [told(each.decision) for each in asked] == ["chat", "chat"]


@pytest.mark.parametrize("waits", EVERY)
def test_what_another_picker_has_sent_elsewhere_stays(waits: Waits) -> None:
    pools = Pools(TO_STANDBY, waits)
    pools.have(standby=1)
    asked = pools.ask(10, {"x-infscale-fallback": 'pool="x/y"'})
    assert asked.waits or told(asked.verdicts[0]) == "no_endpoints"


@pytest.mark.parametrize("waits", EVERY)
def test_the_gateways_hint_binds_the_other_pool_too(waits: Waits) -> None:
    pools = Pools(TO_STANDBY, waits)
    pools.have(standby=2)
    asked = pools.ask(10, subset=("10.0.0.1:8000",))
    assert asked.waits or told(asked.verdicts[0]) == "no_endpoints"
    assert pools.ask(10, subset=("10.0.1.2:8000",)).decision.destinations == ("10.0.1.2:8000",)


@pytest.mark.parametrize(
    ("body", "target", "expected"),
    [
        (None, FallbackTarget(STANDBY), "standby"),
        (None, FallbackTarget(STANDBY, "tiny"), "no_endpoints"),
        (ParsedBody("opaque", "big", b"", 0), FallbackTarget(STANDBY, "tiny"), "no_endpoints"),
        (ParsedBody("opaque", "big", b"", 0), FallbackTarget(STANDBY), "standby"),
        (ParsedBody("completions", "big", b"x", 1, framing="vllm"), FallbackTarget(STANDBY, "tiny"), "no_endpoints"),
        (ParsedBody("completions", "big", b"x", 1), FallbackTarget(STANDBY, models=frozenset({"big"})), "standby"),
        (ParsedBody("completions", "b", b"x", 1), FallbackTarget(STANDBY, models=frozenset({"big"})), "no_endpoints"),
    ],
    ids=["no body", "no body, model", "opaque, model", "opaque", "gRPC, model", "its model", "another model"],
)
def test_which_requests_a_target_takes(body: ParsedBody | None, target: FallbackTarget, expected: str) -> None:
    pools = Pools({CHAT: [target]}, "none")
    pools.have(standby=1)
    assert told(pools.ask(body=body).verdicts[0]) == expected


@pytest.mark.parametrize("waits", EVERY)
def test_a_request_keeps_the_priority_that_its_own_pool_gave_it(waits: Waits) -> None:
    pools = Pools(TO_STANDBY, waits)
    pools.have(standby=1)
    asked = pools.ask(10, {"x-llm-d-inference-objective": "gold"})
    assert (told(asked.decision), asked.decision.priority) == ("standby", 10)


def test_a_request_that_waits_goes_on_when_its_pool_dies() -> None:
    pools = Pools(TO_STANDBY)
    pools.have(chat=1, standby=1)
    for _ in range(12):
        pools.ask(60_000)
    waits = pools.ask(60_000)
    assert waits.waits
    pools.dead.add(CHAT)
    ended: list[Asked] = []
    while waits.waits and pools.now < 60.0:
        pools.passes(0.5)
        for each in pools.went:
            if each.verdicts and each not in ended:
                ended.append(each)
                pools.ends(each)
    assert told(waits.decision) == "standby"
    assert ("llm/standby", "unavailable") in pools.counted()


def test_a_client_that_leaves_takes_its_request_along() -> None:
    pools = Pools(TO_STANDBY, no_endpoint_seconds=30.0)
    pools.have()
    gone, stays = pools.ask(10), pools.ask(10)
    assert gone.held is not None
    gone.held.give_up()
    pools.have(standby=1)
    pools.passes(0.2)
    assert gone.verdicts == []
    assert told(stays.decision) == "standby"
    assert pools.there() == 1


@pytest.mark.parametrize("back", [True, False])
def test_its_own_pool_is_asked_once_more_when_the_other_is_gone(back: bool) -> None:
    pools = Pools(TO_STANDBY)
    pools.have(standby=1)
    for _ in range(8):
        pools.ask(60_000)
    waits = pools.ask(60_000)
    assert waits.waits
    assert pools.there() == 9
    pools.lose(STANDBY, chat=int(back))
    pools.passes(0.5)
    assert pools.there() == 1, "what runs there has not ended"
    last = pools.went[1]
    assert told(last.verdicts[0]) == ("chat" if back else "unknown_pool")
    assert not back or waits.waits, "it waits for its turn"
    pools.ends(pools.went[0])
    assert pools.there() == 0


class Life(RuleBasedStateMachine):
    """Whatever comes, goes, dies and ends: every request has one verdict, and the books are at 0 in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.pools = Pools(
            {
                CHAT: [
                    FallbackTarget(STANDBY, after_seconds=0.5, max_requests=2),
                    FallbackTarget(SMALL, "tiny", max_share=0.02),
                ],
                STANDBY: [FallbackTarget(CHAT)],
            },
            max_wait_seconds=5.0,
            no_endpoint_seconds=5.0,
        )
        self.pools.have(1, 1, 1)
        self.over: set[int] = set()

    @rule(tokens=st.sampled_from([10, 20_000, 90_000]), pool=st.sampled_from(["llm/chat", "llm/standby"]))
    def ask(self, tokens: int, pool: str) -> None:
        self.pools.ask(tokens, {POOL_HEADER: pool})

    @rule(chat=st.integers(0, 2), standby=st.integers(0, 2), small=st.integers(0, 2))
    def scale(self, chat: int, standby: int, small: int) -> None:
        self.pools.have(chat, standby, small)

    @rule(pool=st.sampled_from([CHAT, STANDBY, SMALL]))
    def die_or_come_back(self, pool: object) -> None:
        self.pools.dead ^= {pool}  # type: ignore[arg-type] # one of the three

    @rule(seconds=st.sampled_from([0.1, 0.6, 2.5]))
    def time(self, seconds: float) -> None:
        self.pools.passes(seconds)

    @precondition(lambda self: any(each.verdicts for each in self.pools.went))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        running = [
            place
            for place, each in enumerate(self.pools.went)
            if place not in self.over and each.verdicts and hasattr(each.verdicts[0], "destinations")
        ]
        if running:
            place = data.draw(st.sampled_from(running))
            self.over.add(place)
            self.pools.ends(self.pools.went[place], data.draw(st.sampled_from([200, 503])))

    @precondition(lambda self: any(each.waits for each in self.pools.went))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        waiting = [each for each in self.pools.went if each.held is not None and each.held.waiting]
        if waiting:
            held = data.draw(st.sampled_from(waiting)).held
            assert held is not None
            held.give_up()

    @invariant()
    def nothing_is_told_twice_and_limits_hold(self) -> None:
        assert all(len(each.verdicts) <= 1 for each in self.pools.went)
        for way, count in self.pools.director.books.there.items():
            assert 0 <= count <= (way.target.max_requests or 1_000)

    def teardown(self) -> None:
        self.pools.passes(12.0)
        for place, each in enumerate(self.pools.went):
            assert each.verdicts or each.held is not None
            if place not in self.over and each.verdicts and hasattr(each.verdicts[0], "destinations"):
                self.pools.ends(each)
        assert self.pools.there() == 0
        assert self.pools.in_flight() == 0.0


Life.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
test_life = Life.TestCase
