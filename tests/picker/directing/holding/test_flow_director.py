"""Requests that wait: when they do, in which order they go, what becomes of each, and that the books come back to 0."""

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from infscale.endpoint import Phase
from picker.directing.holding.pool_flow import FlowSettings
from picker.flow.budgets import Budget
from picker.flow.tenants import CostFairness
from picker.request import Decision, Outcome, Reason
from tests.fakes.pools import POOL
from tests.picker.directing.asked import Asked
from tests.picker.directing.holding.held_queue import LONG, Queue, as_class, of_tenant, order


def queued(queue: Queue) -> int:
    """How many wait by the store's book."""
    snapshot = queue.store.snapshot(POOL)
    assert snapshot is not None
    assert snapshot.queue is not None
    return sum(part.requests for part in snapshot.queue.of(None))


def test_a_request_waits_while_every_endpoint_has_enough_and_goes_when_one_has_not() -> None:
    queue = Queue(endpoints=2)
    first, second, third = queue.ask(), queue.ask(), queue.ask()
    assert {first.decision.destinations[0], second.decision.destinations[0]} == {"10.0.0.1:8000", "10.0.0.2:8000"}
    assert third.held is not None
    assert not third.verdicts
    assert queue.in_flight == 2, "what waits is charged to no endpoint"
    queue.passes(5.0)
    assert third.decision.record is not None
    assert third.decision.record.waited_for == "an endpoint with room for it"
    waited = third.decision.record.waited_seconds
    assert waited is not None
    # 20,000 tokens at 62.8 µs and the steps they take.
    assert 0.5 < waited < 2.0
    assert queue.in_flight == 3


def test_an_end_makes_room_at_once() -> None:
    queue = Queue()
    first, second = queue.ask(), queue.ask()
    queue.ends(first)
    assert queue.alarm <= queue.now + 0.002
    queue.passes(0.01)
    assert second.decision.destinations == first.decision.destinations


def test_all_that_fits_goes_in_one_turn_each_charged_before_the_next_is_judged() -> None:
    queue = Queue(endpoints=4)
    busy = [queue.ask() for _ in range(4)]
    waiting = [queue.ask() for _ in range(6)]
    for each in busy:
        queue.ends(each)
    queue.now += 0.01
    queue.flow.ring(queue.now)
    went = [each for each in waiting if each.verdicts]
    assert len(went) == 4
    assert len({each.decision.destinations[0] for each in went}) == 4, (
        "none of them is sent where another has just gone"
    )


def test_what_fits_nowhere_keeps_one_endpoint_for_itself_and_the_others_for_all() -> None:
    queue = Queue(endpoints=3)
    # 32,000 tokens.
    queue.blocks = 2_000
    queue.scrape()
    running = [queue.ask(20_000) for _ in range(3)]
    patient = {"x-slo-ttft-ms": "50000"}
    large, small = queue.ask(25_000), queue.ask(5_000, patient)
    queue.passes(3.0)
    assert large.waits
    assert small.verdicts, "it fits beside one that runs"
    later = queue.ask(11_000, patient)
    queue.passes(3.0)
    assert later.verdicts
    kept = {each.decision.destinations[0] for each in running}
    kept -= {small.decision.destinations[0], later.decision.destinations[0]}
    queue.ends(next(each for each in running if each.decision.destinations[0] in kept))
    queue.passes(0.1)
    assert large.decision.destinations[0] in kept, "nothing was sent there since"


def test_bands_are_strict_and_what_is_due_first_goes_first() -> None:
    queue = Queue()
    first = queue.ask()
    batch = queue.ask(headers=as_class("batch"))
    long = queue.ask(LONG)
    short = queue.ask(100)
    urgent = queue.ask(LONG, {**as_class("interactive")})
    queue.passes(20.0)
    assert order(first, batch, long, short, urgent) == [0, 4, 3, 2, 1]


def test_what_waits_in_a_lower_band_delays_no_request_that_has_room() -> None:
    queue = Queue()
    queue.ask(100)
    queue.passes(0.5)
    choosy = queue.ask(100, {**as_class("batch"), "x-slo-tpot-ms": "1"})
    assert choosy.held is not None, "with another beside it its tokens would come too slowly"
    queue.passes(0.3)
    queue.flow.ring(queue.now)
    assert queue.alarm > queue.now
    interactive = queue.ask(100, as_class("interactive"))
    assert queue.alarm == queue.now
    queue.flow.ring(queue.now)
    assert interactive.decision.destinations
    assert not choosy.verdicts


def test_a_prompt_that_wants_its_first_token_soon_passes_others_of_its_tenant() -> None:
    queue = Queue()
    first, usual = queue.ask(), queue.ask()
    queue.now += 0.1
    hurried = queue.ask(headers={"x-slo-ttft-ms": "4000"})
    queue.passes(10.0)
    assert order(first, usual, hurried) == [0, 2, 1]


def test_tenants_share_what_there_is_whoever_asks_more() -> None:
    queue = Queue()
    queue.ask()
    greedy = [queue.ask(headers=of_tenant("a")) for _ in range(10)]
    modest = [queue.ask(headers=of_tenant("b")) for _ in range(2)]
    queue.passes(40.0)
    places = order(*greedy, *modest)
    assert max(places.index(10), places.index(11)) <= 4


def test_what_has_waited_as_long_as_it_may_is_refused_with_the_time_that_the_queue_takes() -> None:
    queue = Queue(flow=FlowSettings(max_wait_seconds=1.5))
    queue.ask()
    late = [queue.ask() for _ in range(2)][1]
    queue.passes(1.6)
    assert late.rejection.reason is Reason.WAITED
    assert late.rejection.status == 429
    assert late.rejection.dropped_reason == "rejected-ttl-expired"
    assert late.rejection.retry_after_seconds is not None
    assert late.rejection.retry_after_seconds >= 1.0


def test_what_can_no_longer_have_its_first_token_in_time_is_refused_before_its_time_is_over() -> None:
    """Its prefill takes 1.3 s, and so does that of the one that runs, and that of the one before it."""
    queue = Queue()
    queue.ask()
    queue.ask(headers={"x-slo-ttft-ms": "3000"})
    hopeless = queue.ask(headers={"x-slo-ttft-ms": "3100"})
    queue.passes(1.7)
    assert hopeless.rejection.reason is Reason.WAITED


@pytest.mark.parametrize(
    ("headers", "max_wait_seconds"),
    [
        pytest.param({"x-slo-ttft-ms": "1400"}, 60.0, id="a first token that is wanted"),
        pytest.param({"x-llm-d-inference-ttl": "500ms"}, 60.0, id="a wait that is wanted"),
        pytest.param({}, 0.5, id="a wait that is allowed"),
    ],
)
def test_what_cannot_be_begun_in_time_is_refused_when_it_comes(
    headers: dict[str, str], max_wait_seconds: float
) -> None:
    """The prompt that the only endpoint has keeps it busy for 1.3 s."""
    queue = Queue(flow=FlowSettings(max_wait_seconds=max_wait_seconds))
    queue.ask()
    rejection = queue.ask(headers=headers).rejection
    assert rejection.reason is Reason.DEADLINE
    assert rejection.status == 429
    assert rejection.retry_after_seconds is not None
    assert queue.flow.flows[POOL].stats.refusals == {(0, Reason.DEADLINE): 1}


def test_a_request_waits_no_longer_than_it_asks_for_and_than_it_may() -> None:
    queue = Queue(flow=FlowSettings(max_wait_seconds=2.0))
    queue.ask()
    queue.ask()
    asks_less = queue.ask(headers={"x-llm-d-inference-ttl": "1800ms"})
    asks_more = queue.ask(headers={"x-llm-d-inference-ttl": "10m"})
    queue.passes(1.85)
    assert asks_less.rejection.reason is Reason.WAITED
    assert asks_more.waits
    queue.passes(0.2)
    assert asks_more.rejection.reason is Reason.WAITED


@pytest.mark.parametrize("budget", [Budget(requests=1), Budget(size_bytes=150)])
def test_a_full_queue_refuses_at_once(budget: Budget) -> None:
    queue = Queue(flow=FlowSettings(budget=budget))
    queue.ask()
    assert queue.ask().held is not None
    refused = queue.ask().rejection
    assert refused.reason is Reason.QUEUE_FULL
    assert refused.retry_after_seconds is not None
    assert queue.flow.flows[POOL].stats.refusals == {(0, Reason.QUEUE_FULL): 1}


def test_a_client_that_leaves_has_left_the_queue() -> None:
    queue = Queue()
    first, gone = queue.ask(), queue.ask()
    assert gone.held is not None
    gone.held.give_up()
    queue.ends(first)
    queue.passes(3.0)
    assert not gone.verdicts
    assert queue.in_flight == 0
    assert queue.flow.flows[POOL].stats.given_up == 1


def test_where_requests_do_not_wait_for_endpoints_these_are_asked_for_and_the_request_is_refused() -> None:
    queue = Queue(endpoints=0, flow=FlowSettings(no_endpoint_seconds=0.0))
    assert queue.ask().rejection.reason is Reason.NO_ENDPOINTS


def test_a_request_to_an_empty_pool_waits_for_its_first_endpoint() -> None:
    """Each is counted, and told to what scales the pool, when it comes; none a second time."""
    queue = Queue(endpoints=0)
    called: list[float] = []
    queue.store.on_request_without_endpoint(lambda _: called.append(queue.now))
    first, second = queue.ask(100), queue.ask(100)
    assert called == [1.0, 1.0]
    queue.passes(5.0)
    assert not first.verdicts
    queue.state(1)
    queue.passes(0.01)
    assert first.decision.destinations == ("10.0.0.1:8000",)
    queue.passes(1.0)
    assert isinstance(second.decision, Decision)
    assert called == [1.0, 1.0]


def test_an_empty_pool_that_stays_empty_answers_503_with_the_reason() -> None:
    queue = Queue(endpoints=0, flow=FlowSettings(no_endpoint_seconds=3.0))
    asked = queue.ask(100)
    queue.passes(3.1)
    assert asked.rejection.status == 503
    assert asked.rejection.reason is Reason.NO_ENDPOINTS
    assert asked.rejection.dropped_reason == "rejected-no-endpoints"


def test_a_pool_that_goes_takes_what_waits_with_it() -> None:
    queue = Queue()
    queue.ask()
    waiting = queue.ask()
    queue.state(0, pools=0)
    assert waiting.rejection.status == 404


def test_a_long_turn_is_cut_into_slices() -> None:
    """Each look at the clock takes a tenth of a millisecond: after ten decisions the loop has its turn."""
    queue = Queue(endpoints=100)
    busy = [queue.ask() for _ in range(100)]
    waiting = [queue.ask() for _ in range(100)]
    for each in busy:
        queue.ends(each)
    queue.ticks = 0.0001
    queue.flow.ring(queue.now)
    went = sum(bool(each.verdicts) for each in waiting)
    assert 5 <= went <= 11
    assert queue.alarm <= queue.now, "the rest goes as soon as possible"


def test_sheddable_requests_wait_and_are_not_shed() -> None:
    queue = Queue()
    queue.ask()
    assert queue.ask(headers=as_class("batch")).held is not None


class FlowLaws(RuleBasedStateMachine):
    """Any order of arrivals, ends, aborts, evictions, scrapes and pool changes: one outcome each, and books at 0."""

    @initialize(endpoints=st.integers(0, 3), blocks=st.sampled_from([None, 64]))
    def begin(self, endpoints: int, blocks: int | None) -> None:
        flow = FlowSettings(max_wait_seconds=8.0, no_endpoint_seconds=5.0, budget=Budget(requests=6))
        self.queue = Queue(endpoints, flow, blocks=blocks)
        self.running: list[Asked] = []
        self.gone: list[Asked] = []

    @rule(
        tokens=st.sampled_from([10, 1_000, LONG]),
        name=st.sampled_from(["interactive", "batch", ""]),
        tenant=st.sampled_from(["a", "b", ""]),
        ttft=st.sampled_from(["", "500", "3000"]),
    )
    def comes(self, tokens: int, name: str, tenant: str, ttft: str) -> None:
        headers = {**(as_class(name) if name else {}), **(of_tenant(tenant) if tenant else {})}
        self.queue.ask(tokens, {**headers, **({"x-slo-ttft-ms": ttft} if ttft else {})})

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.3, 2.0]))
    def time_passes(self, seconds: float) -> None:
        self.queue.passes(seconds)

    @precondition(lambda self: self.running)
    @rule(
        data=st.data(),
        kind=st.sampled_from(["completed", "aborted", "error"]),
        status=st.sampled_from([None, 200, 503]),
    )
    def ends(self, data: st.DataObject, kind: str, status: int | None) -> None:
        asked = data.draw(st.sampled_from(self.running))
        outcome = Outcome(kind, status, first_byte_seconds=0.1, duration_seconds=2.0)  # type: ignore[arg-type] # one of three
        self.queue.ends(asked, outcome)
        self.gone.append(asked)

    @rule(data=st.data())
    def gives_up(self, data: st.DataObject) -> None:
        waiting = [each for each in self.queue.went if each.held is not None and each.held.waiting]
        if waiting:
            asked = data.draw(st.sampled_from(waiting))
            assert asked.held is not None
            asked.held.give_up()

    @rule(endpoints=st.integers(0, 3), phase=st.sampled_from([Phase.READY, Phase.DRAINING]))
    def pool_changes(self, endpoints: int, phase: Phase) -> None:
        self.queue.state(endpoints, phase)

    @invariant()
    def one_outcome_each(self) -> None:
        went = self.queue.went
        assert all(len(each.verdicts) <= 1 for each in went)
        waiting = [each for each in went if each.held is not None and each.held.waiting]
        assert len(self.queue.flow.flows[POOL].queue) == len(self.queue.flow.flows[POOL].entries) == len(waiting)
        assert not waiting or self.queue.alarm < math.inf, "what waits is looked at again"
        assert queued(self.queue) == len(waiting), "what is published is what waits"
        decided = [each for each in went if each.verdicts and isinstance(each.verdicts[0], Decision)]
        self.gone += [each for each in decided if each.evicted and each not in self.gone]
        assert all(len(each.evicted) <= 1 for each in decided)
        self.running = [each for each in decided if each not in self.gone]
        for priority in (10, 0, -10):
            fairness = self.queue.flow.flows[POOL].queue.fairness(priority)
            assert isinstance(fairness, CostFairness)
            outstanding = sum(fairness.outstanding_seconds(name) for name in ("a", "b", ""))
            assert (outstanding > 0.0) == any(each.decision.priority == priority for each in self.running)

    def teardown(self) -> None:
        if not hasattr(self, "queue"):
            return
        queue = self.queue
        # More than the longest wait: what is not let go is refused.
        queue.passes(10.0)
        for asked in [each for each in self.queue.went if each.verdicts and isinstance(each.verdicts[0], Decision)]:
            if asked not in self.gone:
                queue.ends(asked)
        for asked in queue.went:
            assert asked.held is None or not asked.held.waiting
        flow = queue.flow.flows[POOL]
        assert not flow._running  # pyright: ignore[reportPrivateUsage]
        assert not flow._active  # pyright: ignore[reportPrivateUsage]
        assert not len(flow.preemption)
        assert queue.in_flight == 0


TestFlowLaws = FlowLaws.TestCase
TestFlowLaws.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
