"""Requests that may go to some endpoints only: they wait for those, keep no others back, and are kept back by none."""

from dataclasses import replace
from typing import Any

import pytest

from picker.directing.pool_directors import PoolDirectors
from picker.epp_config.loader import PickerConfig, load_picker_config
from picker.flow.lanes import MOST_LANES
from picker.request import InferenceRequest, Verdict
from picker.sessions.session_tokens import TokenKeys
from tests.fakes.pools import endpoint
from tests.fakes.samples import engine_sample
from tests.picker.directing.asked import Asked
from tests.picker.directing.holding.held_queue import LONG, Queue

HEADER = "x-infscale-session"
HEAD = "apiVersion: llm-d.ai/v1\nkind: EndpointPickerConfig\n"
SESSIONS = """
plugins:
- type: session-affinity-filter
  parameters: {strategy: signed_token, signedTokenConfig: {keys: keys, header: %s, minStaySeconds: 0.5}}
- {type: marginal-cost-scorer}
"""
BY_ID = """
plugins:
- {type: session-affinity-filter, parameters: {strategy: session_id}}
- {type: marginal-cost-scorer}
"""
TIERS = """
plugins:
- {type: label-selector-filter, name: of-a, parameters: {matchLabels: {tier: a}}}
- {type: label-selector-filter, name: of-b, parameters: {matchLabels: {tier: b}}}
- {type: header-profile-handler}
- {type: marginal-cost-scorer}
- {type: max-score-picker}
schedulingProfiles:
- {name: a, plugins: [{pluginRef: of-a}, {pluginRef: marginal-cost-scorer}, {pluginRef: max-score-picker}]}
- {name: b, plugins: [{pluginRef: of-b}, {pluginRef: marginal-cost-scorer}, {pluginRef: max-score-picker}]}
- {name: decode, plugins: [{pluginRef: marginal-cost-scorer}, {pluginRef: max-score-picker}]}
"""
NAMED = "plugins: [{type: header-based-testing-filter}, {type: marginal-cost-scorer}]\n"


def scheduling(plugins: str) -> PickerConfig:
    config = load_picker_config(HEAD + plugins.replace("%s", HEADER), "epp.yaml")
    return replace(config, session_keys={"keys": TokenKeys([bytes(range(32))])})


def first_of(asked: Asked) -> str:
    return asked.decision.destinations[0]


def token_of(asked: Asked) -> dict[str, str]:
    (token,) = [value.decode() for name, value in asked.decision.response_headers if name == HEADER]
    return {HEADER: token}


def sessions_on_each(endpoints: int = 2) -> tuple[Queue, list[dict[str, str]]]:
    """A pool whose endpoints have a session each and are idle."""
    queue = Queue(endpoints, config=scheduling(SESSIONS))
    begun = [queue.ask() for _ in range(endpoints)]
    assert len({first_of(each) for each in begun}) == endpoints
    for each in begun:
        queue.ends(each)
    queue.went.clear()
    queue.passes(0.1)
    begun.sort(key=first_of)
    return queue, [token_of(each) for each in begun]


def test_a_session_waits_for_its_endpoint_and_keeps_no_other_request_back() -> None:
    queue, (here, there) = sessions_on_each()
    running, waiting = queue.ask(headers=here), queue.ask(headers=here)
    assert waiting.waits
    free = queue.ask(100)
    other = queue.ask(100, headers=there)
    queue.passes(0.05)
    assert {first_of(free), first_of(other)} == {"10.0.0.2:8000"}
    assert waiting.waits
    queue.passes(3.0)
    assert first_of(waiting) == first_of(running) == "10.0.0.1:8000"


def test_a_session_waits_for_its_endpoint_although_one_of_unknown_load_has_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue, (here, there) = sessions_on_each()
    bound = [queue.ask(headers=each) for each in (here, here, there, there)]
    free = queue.ask()
    monkeypatch.setattr(queue, "scrape", lambda: None)
    queue.state(3)
    queue.now += 0.003
    queue.flow.ring(queue.now)
    assert [each.waits for each in bound] == [False, True, False, True]
    assert first_of(free) == "10.0.0.3:8000"


def test_what_may_go_anywhere_keeps_no_session_back() -> None:
    """All endpoints are full; the one that has room first is that of the session, which came last."""
    queue, (here, there) = sessions_on_each()
    short, long = queue.ask(LONG, headers=here), queue.ask(4 * LONG, headers=there)
    free = [queue.ask(8 * LONG) for _ in range(3)]
    bound = queue.ask(100, headers=there)
    queue.ends(long)
    queue.passes(0.01)
    assert first_of(bound) == first_of(long)
    assert sum(not each.waits for each in free) <= 1
    assert not short.waits


def test_a_session_whose_endpoint_is_saturated_moves_and_once() -> None:
    queue, (here, _) = sessions_on_each()
    queue.ask(headers=here)
    waiting = [queue.ask(100, headers=here) for _ in range(3)]
    assert all(each.waits for each in waiting)
    queue.now += 0.6
    queue.store.record_scrape(endpoint(0).key, engine_sample(9.0, 9.0, 0.0, block_size_tokens=16), queue.now)
    queue.flow.stir(queue.now)
    queue.now += 0.003
    queue.flow.ring(queue.now)
    assert {first_of(each) for each in waiting} == {"10.0.0.2:8000"}
    (stats,) = queue.directors.stats().values()
    assert stats.session_moves == {"saturated": 1}


def test_a_session_whose_endpoint_drains_waits_for_it_no_longer() -> None:
    queue, (here, _) = sessions_on_each()
    queue.ask(headers=here)
    waiting = queue.ask(100, headers=here)
    assert waiting.waits
    queue.state(2, gone=(0,))
    queue.passes(0.01)
    assert first_of(waiting) == "10.0.0.2:8000"


def test_sessions_by_name_wait_for_the_endpoint_they_are_bound_to() -> None:
    queue = Queue(2, config=scheduling(BY_ID))
    first = queue.ask(headers={"x-session-id": "s"})
    waiting = queue.ask(100, headers={"x-session-id": "s"})
    free = queue.ask(100)
    queue.passes(0.05)
    assert waiting.waits
    assert first_of(free) != first_of(first)
    queue.passes(3.0)
    assert first_of(waiting) == first_of(first)


def test_filters_by_label_make_lanes_of_their_own() -> None:
    queue = Queue(2, config=scheduling(TIERS))
    running = queue.ask(4 * LONG, {"epp-profile": "a"})
    waiting = queue.ask(LONG, {"epp-profile": "a"})
    other = queue.ask(100, {"epp-profile": "b"})
    anywhere = queue.ask(100)
    queue.passes(0.05)
    assert waiting.waits
    assert {first_of(other), first_of(anywhere)} == {"10.0.0.2:8000"}
    queue.passes(10.0)
    assert first_of(waiting) == first_of(running)


def test_the_hint_of_a_gateway_makes_a_lane_of_its_own() -> None:
    queue = Queue(2)
    only = ("10.0.0.1:8000",)
    queue.ask(4 * LONG, subset=only)
    waiting, free = queue.ask(LONG, subset=only), queue.ask(100)
    queue.passes(0.05)
    assert waiting.waits
    assert first_of(free) == "10.0.0.2:8000"
    queue.passes(10.0)
    assert first_of(waiting) == "10.0.0.1:8000"


def test_a_wish_for_fast_tokens_keeps_no_other_back() -> None:
    """A step of the only endpoint with two requests takes longer than a microsecond."""
    queue = Queue()
    queue.ask(LONG)
    hurried, usual = queue.ask(100, {"x-slo-tpot-ms": "0.001"}), queue.ask(100)
    queue.passes(5.0)
    assert hurried.waits
    assert not usual.waits


def test_a_request_that_no_endpoint_may_have_waits_and_keeps_none_back() -> None:
    queue = Queue(1, config=scheduling(NAMED))
    queue.ask(LONG)
    behind = [queue.ask(100) for _ in range(2)]
    nowhere = queue.ask(100, {"test-epp-endpoint-selection": "10.0.0.2"})
    queue.passes(5.0)
    assert nowhere.waits
    assert not any(each.waits for each in behind)
    queue.state(2)
    queue.passes(0.01)
    assert first_of(nowhere) == "10.0.0.2:8000"


class Counted:
    """Passes on to a director, and counts how often it is asked."""

    def __init__(self, director: PoolDirectors) -> None:
        self._director = director
        self.count = 0

    def direct(self, request: InferenceRequest, now: float) -> Verdict:
        self.count += 1
        return self._director.direct(request, now)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._director, name)


@pytest.mark.parametrize("endpoints", [20, MOST_LANES + 80])
def test_a_turn_asks_about_so_many_lanes_only(endpoints: int) -> None:
    """Each endpoint is full and has a session that waits, and some lanes are too many to be told apart.

    What waits is asked about once, and then only so much of what is in no lane.
    """
    queue, sessions = sessions_on_each(endpoints)
    busy = [queue.ask(headers=session) for session in sessions]
    waiting = [queue.ask(100, headers=session) for session in sessions]
    assert all(each.waits for each in waiting)
    asked = Counted(queue.directors)
    queue.flow._director = asked  # type: ignore[assignment] # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    turns = 0
    for _ in range(20):
        queue.now += 0.003
        queue.flow.stir(queue.now)
        queue.flow.ring(queue.now)
        turns += 1
    assert 0 < asked.count <= endpoints + 64 + turns
    queue.ends(busy[-1])
    queue.passes(0.6)
    if endpoints < MOST_LANES:
        assert [first_of(each) for each in waiting if not each.waits] == [first_of(busy[-1])]
    queue.passes(10.0)
    assert not any(each.waits for each in waiting)


def test_a_session_waits_for_its_own_endpoint_beside_one_whose_load_is_not_known() -> None:
    queue = Queue(config=scheduling(BY_ID))
    chat = {"x-session-id": "chat"}
    first = queue.ask(headers=chat)
    queue.state(2, scraped=False)
    queue.store.record_failure(endpoint(1).key, "connection refused", queue.now)
    again = queue.ask(headers=chat)
    assert again.waits
    queue.ends(first)
    queue.passes(3.0)
    assert first_of(again) == endpoint(0).authority
