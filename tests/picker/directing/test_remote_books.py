"""What the books have of a request whose prefill, or whose encoding, is done elsewhere."""

import pytest

from infscale.endpoint import DiscoveryState
from picker.request import Outcome
from tests.picker.directing.test_director import PROMPT, ask
from tests.picker.scheduling.test_disaggregation import BOTH, PREFILLING, DisaggregatedBench, text, with_media

ONE_EACH = ("prefill", "decode", "encode")
TOKENS = len(PROMPT) // 4
CLOCK = """
- type: prefill-filter
- type: decode-filter
- type: marginal-cost-scorer
schedulingProfiles:
- {name: prefill, plugins: [{pluginRef: prefill-filter}, {pluginRef: marginal-cost-scorer}]}
- {name: decode, plugins: [{pluginRef: decode-filter}, {pluginRef: marginal-cost-scorer}]}
"""


def test_a_prefill_is_charged_where_it_is_done_until_the_answer_begins() -> None:
    bench = DisaggregatedBench(text(PREFILLING), ONE_EACH)
    request = ask(PROMPT)
    decision = bench.routed(request)
    # As in the reference both have the prompt; the answer is the decoding endpoint's alone.
    assert bench.in_flight() == ([1.0, 1.0, 0.0], [TOKENS, TOKENS + 100.0, 0.0])
    started = bench.director.response_started(decision, 200, None, 0.2)
    assert bench.in_flight() == ([0.0, 1.0, 0.0], [0.0, TOKENS + 100.0, 0.0])
    bench.director.finished(request, started, Outcome("completed", 200), 0.3)
    assert bench.in_flight() == ([0.0] * 3, [0.0] * 3)


@pytest.mark.parametrize("kind", ["aborted", "error", "evicted"])
def test_nothing_stays_in_flight_of_a_request_that_is_never_answered(kind: str) -> None:
    bench = DisaggregatedBench(text(BOTH), ONE_EACH)
    request = with_media(ask(PROMPT))
    decision = bench.routed(request)
    assert bench.in_flight()[0] == [1.0, 1.0, 1.0]
    assert bench.in_flight()[1][2] == 0.0
    bench.director.finished(request, decision, Outcome(kind), 0.3)  # type: ignore[arg-type] # one of them
    assert bench.in_flight() == ([0.0] * 3, [0.0] * 3)


def test_a_prompt_is_cached_where_it_was_computed_too() -> None:
    bench = DisaggregatedBench(text(PREFILLING), ("prefill", "prefill", "decode"))
    decision = bench.routed(ask(PROMPT))
    row = bench.rows(decision)["prefill"][0]
    bench.director.finished(ask(PROMPT), decision, Outcome("completed", 200), 0.2)
    again = bench.routed(ask(PROMPT), 0.3)
    tokens = bench.in_flight()[1]
    where = bench.rows(again)["prefill"][0]
    assert tokens[where] == pytest.approx(0.0 if where == row else TOKENS, abs=1.0)
    assert tokens[2] == pytest.approx(100.0, abs=1.0)


def test_the_clock_has_a_prompt_where_it_is_computed() -> None:
    """The decoding endpoint computes the last token; what the whole prompt takes is the other one's."""
    bench = DisaggregatedBench(text(PREFILLING, rest=CLOCK), ("prefill", "decode"))
    request = ask(PROMPT * 16)
    decision = bench.routed(request)
    clock = bench.director._dispatches.memory.clock  # pyright: ignore[reportPrivateUsage] # nothing else tells of it
    prefilling, decoding = clock.pending_seconds(0.1).tolist()
    assert prefilling > 100 * decoding > 0.0
    assert clock.context_tokens.tolist() == [TOKENS * 16, TOKENS * 16 + 50.0]
    bench.director.response_started(decision, 200, None, 0.2)
    assert clock.context_tokens.tolist() == [0.0, TOKENS * 16 + 50.0]


def test_media_are_known_where_they_were_encoded() -> None:
    scorer = "- type: mm-embeddings-cache-scorer\n"
    bench = DisaggregatedBench(
        text(BOTH, "- type: always-disagg-pd-decider\n- type: always-disagg-multimodal-decider\n" + scorer)
    )
    memory = bench.director._dispatches.memory  # pyright: ignore[reportPrivateUsage] # nothing else tells of it
    rows = bench.rows(bench.routed(with_media(ask())))
    held = memory.media_of((7, 8))
    assert [row for row, media in enumerate(held) if media] == rows["encode"]


def test_an_endpoint_that_leaves_takes_its_charge_with_it() -> None:
    bench = DisaggregatedBench(text(PREFILLING), ONE_EACH)
    request = ask(PROMPT)
    decision = bench.routed(request)
    bench.sync(DiscoveryState(bench.state.endpoints[1:], bench.state.pools))
    started = bench.director.response_started(decision, 200, None, 0.2)
    bench.director.finished(request, started, Outcome("completed", 200), 0.3)
    assert bench.in_flight() == ([0.0] * 2, [0.0] * 2)
