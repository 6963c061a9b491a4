"""Requests that wait by the reference's configuration: who goes when, what the others are told, and what is counted."""

import math
import random
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from infscale.endpoint import DiscoveryState, Objective, ObjectKey, Phase, Pool
from infscale.metrics.snapshot import PoolSettings
from infscale.metrics.store.metrics_store import MetricStore
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorSettings
from picker.directing.pool_directors import PoolDirectors
from picker.directing.reference.reference_flow_director import ReferenceFlowControl, ReferenceFlowDirector
from picker.epp_config.loader import load_picker_config
from picker.flow.reference.flow_settings import BandSettings, FairnessChoice, ReferenceFlowSettings
from picker.flow.reference.program_aware import ProgramSettings
from picker.flow.reference.queue_outcomes import QueueOutcome
from picker.flow.reference.revocation import Victims
from picker.flow.reference.wait_budgets import WaitBudget
from picker.request import Decision, Headers, Held, InferenceRequest, Outcome, ParsedBody, Reason, Rejection, Verdict
from tests.fakes.pools import POOL, endpoint
from tests.fakes.samples import engine_sample
from tests.picker.directing.asked import Asked

CONFIG = load_picker_config(
    """
apiVersion: llm-d.ai/v1
kind: EndpointPickerConfig
featureGates: [flowControl]
plugins:
- {type: concurrency-detector, parameters: {maxConcurrency: 1}}
- type: queue-scorer
flowControl: {saturationDetector: {pluginRef: concurrency-detector}}
""",
    "epp.yaml",
)
"""An endpoint is full with one request."""
OBJECTIVES = {"interactive": 10, "batch": -10}
OBJECTIVE, FLOW = "x-llm-d-inference-objective", "x-llm-d-inference-fairness-id"
SHORT = WaitBudget(5.0, 20.0)


class Queue:
    """A flow director on a real store, with a clock and an alarm by hand."""

    def __init__(self, endpoints: int = 1, flow: ReferenceFlowSettings | None = None, role: str = "") -> None:
        """`role` is the endpoints' label."""
        self.labels = {"llm-d.ai/role": role} if role else {}
        self.now = 1.0
        self.alarm = math.inf
        self.store = MetricStore("s")
        told = DirectorSettings(holds=True, trusted_headers=frozenset({OBJECTIVE}))
        self.directors = PoolDirectors(
            lambda pool: PoolDirector(pool, CONFIG, self.store, random.Random(1), told), None, self.store
        )
        self.control = ReferenceFlowControl(flow or ReferenceFlowSettings())
        self.flow = ReferenceFlowDirector(
            self.directors, self.directors, self.store, self.control, self._set, lambda: self.now
        )
        self.went: list[Asked] = []
        self.over: set[int] = set()
        self.state(endpoints)

    def _set(self, at: float) -> None:
        self.alarm = at

    def state(self, endpoints: int, pools: int = 1) -> None:
        found = tuple(endpoint(row, phase=Phase.READY, labels=self.labels) for row in range(endpoints))
        objectives = tuple(
            Objective(ObjectKey(POOL.namespace, name), priority, POOL.name) for name, priority in OBJECTIVES.items()
        )
        state = DiscoveryState(found, (Pool(POOL, {}),) if pools else (), objectives)
        if pools:
            self.store.configure(POOL, CONFIG.pool_settings(PoolSettings(), None))
        self.store.sync(state)
        self.directors.sync(state)
        self.flow.sync(self.now)
        self.scrape()

    def scrape(self) -> None:
        snapshot = self.store.snapshot(POOL)
        running = [] if snapshot is None else snapshot.in_flight_requests.tolist()
        for each, count in zip(self.store.discovery.endpoints, running, strict=False):
            self.store.record_scrape(each.key, engine_sample(0.0, count, 0.0, block_size_tokens=16), self.now)
        self.flow.stir(self.now)

    def ask(
        self,
        objective: str = "",
        flow: str = "",
        *,
        model: str = "m",
        subset: tuple[str, ...] | None = None,
        **headers: str,
    ) -> Asked:
        named = {OBJECTIVE: objective, FLOW: flow} | {name.replace("_", "-"): each for name, each in headers.items()}
        given = Headers([(name, value.encode()) for name, value in named.items() if value])
        body = ParsedBody("completions", model, b"prompt", 10, 100, needs_model=True)
        asked = Asked(InferenceRequest("id", "/v1/completions", given, body, subset, 100))
        self.went.append(asked)
        verdict = self.flow.direct(asked.request, self.now)
        if isinstance(verdict, Held):
            asked.held = verdict
            verdict.listen(lambda told: self._told(asked, told))
        else:
            self._told(asked, verdict)
        return asked

    def _told(self, asked: Asked, verdict: Verdict) -> None:
        asked.verdicts.append(verdict)
        if isinstance(verdict, Decision) and verdict.recall is not None:
            verdict.recall.listen(lambda rejection: self._evicted(asked, rejection))

    def _evicted(self, asked: Asked, rejection: Rejection) -> None:
        asked.evicted.append(rejection)
        self.ends(asked, Outcome("evicted"))

    def ends(self, asked: Asked, outcome: Outcome | None = None) -> None:
        self.over.add(id(asked))
        self.flow.finished(asked.request, asked.decision, outcome or Outcome("completed", 200), self.now)

    def passes(self, seconds: float) -> None:
        """Let time pass, with scrapes each half second and rings of the alarm."""
        until = self.now + seconds
        scrape = self.now + 0.5
        while min(self.alarm, scrape) <= until:
            self.now = max(self.now, min(self.alarm, scrape))
            if self.alarm <= self.now:
                self.alarm = math.inf
                self.flow.ring(self.now)
            else:
                scrape += 0.5
                self.scrape()
        self.now = until

    def order(self) -> list[int]:
        """The places of those that went, in the order in which they did."""
        charges = [(each.decision.charge, place) for place, each in enumerate(self.went) if _went(each)]
        return [place for _, place in sorted((charge.number, place) for charge, place in charges if charge)]

    @property
    def outcomes(self) -> Mapping[QueueOutcome, int]:
        return {outcome: count for (outcome, _, _), count in self.flow.counts.outcomes.items()}


def _went(asked: Asked) -> bool:
    return bool(asked.verdicts) and isinstance(asked.verdicts[0], Decision)


def drained(queue: Queue) -> list[int]:
    """Let all that runs end, one after another, until nothing waits."""
    while open_ones := [each for each in queue.went if _went(each) and id(each) not in queue.over]:
        queue.ends(open_ones[0])
        queue.passes(0.01)
    return queue.order()


def test_a_request_goes_at_once_while_there_is_room_and_waits_while_there_is_none() -> None:
    queue = Queue(endpoints=2)
    first, second, third = queue.ask(), queue.ask(), queue.ask()
    assert {first.decision.destinations[0], second.decision.destinations[0]} == {"10.0.0.1:8000", "10.0.0.2:8000"}
    assert third.held is not None
    queue.passes(3.0)
    assert third.waits
    queue.ends(second)
    queue.passes(0.01)
    assert third.decision.destinations[0] == second.decision.destinations[0]
    assert queue.outcomes == {QueueOutcome.DISPATCHED: 3}


def test_sheddable_requests_wait_and_go_last() -> None:
    queue = Queue()
    queue.ask()
    for objective in ("batch", "", "interactive"):
        queue.ask(objective)
    assert [each.waits for each in queue.went] == [False, True, True, True]
    assert drained(queue) == [0, 3, 2, 1]


def test_flows_take_turns_where_the_band_says_so() -> None:
    turns = BandSettings(fairness=FairnessChoice("turns", "round-robin"))
    queue = Queue(flow=ReferenceFlowSettings(default_band=turns))
    queue.ask(flow="z")
    for flow in ("a", "a", "a", "b"):
        queue.ask(flow=flow)
    assert drained(queue) == [0, 1, 4, 2, 3]


def test_agents_are_flows_where_their_headers_are_known() -> None:
    turns = BandSettings(fairness=FairnessChoice("turns", "round-robin"))
    queue = Queue(flow=ReferenceFlowSettings(default_band=turns))
    queue.flow.configure(replace(queue.control, agent_headers=("session-id",)), queue.now)
    queue.ask()
    for agent in ("a", "a", "b"):
        queue.ask(session_id=agent)
    assert drained(queue) == [0, 1, 3, 2]


def test_programs_that_were_served_much_come_after_others() -> None:
    aware = BandSettings(fairness=FairnessChoice("programs", "program-aware", ProgramSettings()))
    queue = Queue(flow=ReferenceFlowSettings(default_band=aware))
    queue.ends(queue.ask(flow="a"), Outcome("completed", 200, prompt_tokens=5000, completion_tokens=5000))
    first = queue.ask(flow="z")
    queue.ask(flow="a")
    queue.ask(flow="b")
    gauges = queue.flow.gauges()[str(POOL)]
    assert gauges.programs["a"].served_tokens > 0.0
    assert first.decision
    assert drained(queue) == [0, 1, 3, 2]


def test_what_finds_the_queue_full_is_told_so() -> None:
    queue = Queue(flow=ReferenceFlowSettings(default_band=BandSettings(max_requests=1)))
    queue.ask()
    queue.ask()
    refused = queue.ask().rejection
    assert (refused.reason, refused.status, refused.dropped_reason) == (Reason.QUEUE_FULL, 429, "rejected-saturated")
    assert refused.retry_after_seconds is not None
    assert queue.outcomes[QueueOutcome.REJECTED_CAPACITY] == 1


def test_what_has_waited_for_long_enough_is_told_so() -> None:
    queue = Queue(flow=ReferenceFlowSettings(budget=SHORT))
    queue.ask()
    late = queue.ask()
    queue.passes(4.0)
    assert late.waits
    queue.passes(2.5)
    refused = late.rejection
    assert (refused.reason, refused.status, refused.dropped_reason) == (Reason.WAITED, 429, "rejected-ttl-expired")
    assert queue.outcomes[QueueOutcome.EVICTED_TTL] == 1


def test_a_client_may_ask_for_less_time() -> None:
    queue = Queue()
    queue.ask()
    hasty = queue.ask(x_llm_d_inference_ttl="500ms")
    queue.passes(2.5)
    assert hasty.rejection.reason is Reason.WAITED


def test_requests_wait_for_the_first_endpoint_and_have_the_pool_scaled_up() -> None:
    queue = Queue(endpoints=0, flow=ReferenceFlowSettings(budget=SHORT))
    called: list[ObjectKey] = []
    queue.store.on_request_without_endpoint(called.append)
    patient = queue.ask()
    queue.passes(10.0)
    assert patient.waits
    assert called == [POOL]
    queue.state(1)
    queue.passes(0.01)
    assert patient.decision.destinations[0] == "10.0.0.1:8000"


def test_requests_that_no_endpoint_came_for_are_told_so() -> None:
    queue = Queue(endpoints=0, flow=ReferenceFlowSettings(budget=SHORT))
    late = queue.ask()
    queue.passes(23.0)
    refused = late.rejection
    expected = Reason.NO_ENDPOINTS, 503, "rejected-no-endpoints"
    assert (refused.reason, refused.status, refused.dropped_reason) == expected


def test_a_client_that_leaves_gives_its_place_to_others() -> None:
    queue = Queue()
    first, leaver, third = queue.ask(), queue.ask(), queue.ask()
    assert leaver.held is not None
    leaver.held.give_up()
    queue.ends(first)
    queue.passes(0.01)
    assert leaver.waits
    assert third.decision
    assert queue.outcomes == {QueueOutcome.DISPATCHED: 2, QueueOutcome.EVICTED_CONTEXT_CANCELLED: 1}


def test_what_waits_for_a_pool_that_goes_is_told_so() -> None:
    queue = Queue()
    queue.ask()
    waiting = queue.ask()
    queue.state(0, pools=0)
    assert waiting.rejection.reason is Reason.UNKNOWN_POOL
    assert queue.flow.gauges() == {}
    assert queue.ask().rejection.reason is Reason.UNKNOWN_POOL


def test_a_request_that_scheduling_refuses_has_had_its_turn() -> None:
    queue = Queue()
    first = queue.ask()
    lost, waiting = queue.ask(subset=("10.0.0.9:8000",)), queue.ask()
    assert lost.waits
    queue.ends(first)
    queue.passes(0.01)
    assert lost.rejection.reason is Reason.NO_ENDPOINTS
    assert waiting.decision
    assert queue.outcomes == {QueueOutcome.DISPATCHED: 3}


def test_a_request_that_names_no_model_does_not_wait_to_hear_so() -> None:
    queue = Queue()
    queue.ask()
    assert queue.ask(model="").rejection.reason is Reason.MISSING_MODEL


def test_a_request_without_a_body_does_not_wait() -> None:
    queue = Queue()
    queue.ask()
    probe = InferenceRequest("id", "/v1/models", Headers([]), None, None, 0)
    assert isinstance(queue.flow.direct(probe, queue.now), Decision)


def test_a_changed_configuration_keeps_what_waits_as_far_as_it_may() -> None:
    queue = Queue()
    first = queue.ask()
    kept, over = queue.ask(), queue.ask()
    narrow = ReferenceFlowSettings(default_band=BandSettings(max_requests=1))
    queue.flow.configure(ReferenceFlowControl(narrow), queue.now)
    assert over.rejection.reason is Reason.QUEUE_FULL
    assert kept.waits
    queue.ends(first)
    queue.passes(0.01)
    assert kept.decision


def test_one_request_goes_in_each_turn_and_turns_come_a_millisecond_apart() -> None:
    queue = Queue(endpoints=4)
    running = [queue.ask() for _ in range(4)]
    for _ in range(4):
        queue.ask()
    for each in running:
        queue.ends(each)
    queue.flow.ring(queue.now)
    assert sum(map(_went, queue.went)) == 5
    assert queue.alarm == pytest.approx(queue.now + 0.001)  # pyright: ignore[reportUnknownMemberType]


EVICTING = ReferenceFlowSettings(evicting=Victims())


def test_sheddable_requests_are_taken_back_for_others_where_the_configuration_says_so() -> None:
    """The newest of the lowest band, of which one leaves the room of one: it goes in the same moment."""
    queue = Queue(endpoints=2, flow=EVICTING)
    batch = [queue.ask("batch"), queue.ask("batch")]
    urgent = queue.ask("interactive")
    queue.passes(0.05)
    assert [len(each.evicted) for each in batch] == [0, 1]
    (told,) = batch[1].evicted
    assert (told.status, told.dropped_reason, told.message) == (
        429,
        "evicted",
        "request evicted to make room for higher priorities",
    )
    assert urgent.decision.destinations == batch[1].decision.destinations
    assert batch[1].decision.record is not None
    assert batch[1].decision.record.end is not None
    assert batch[1].decision.record.end.evicted_for == "others of a higher priority that wait"
    reclamation = queue.flow.gauges()[str(POOL)].reclamation
    assert reclamation is not None
    assert (reclamation.issued, reclamation.confirmations.count) == ({10: 1}, 1)


def test_the_next_is_taken_back_when_the_last_has_been_seen_to_end() -> None:
    queue = Queue(endpoints=3, flow=EVICTING)
    batch = [queue.ask("batch") for _ in range(3)]
    urgent = [queue.ask("interactive") for _ in range(2)]
    assert sum(len(each.evicted) for each in batch) == 1
    queue.passes(0.005)
    assert [each.waits for each in urgent] == [False, True]
    queue.passes(0.1)
    assert [each.waits for each in urgent] == [False, False]
    assert [len(each.evicted) for each in batch] == [0, 1, 1]


@pytest.mark.parametrize(
    ("flow", "first", "second", "role"),
    [
        pytest.param(ReferenceFlowSettings(), "batch", "interactive", "", id="it is not switched on"),
        pytest.param(EVICTING, "", "interactive", "", id="what runs is not sheddable"),
        pytest.param(EVICTING, "batch", "batch", "", id="what waits is worth no more"),
        pytest.param(EVICTING, "batch", "interactive", "decode", id="the cache may be on its way from elsewhere"),
    ],
)
def test_nothing_is_taken_back_without_a_reason(
    flow: ReferenceFlowSettings, first: str, second: str, role: str
) -> None:
    queue = Queue(flow=flow, role=role)
    running, waiting = queue.ask(first), queue.ask(second)
    queue.passes(3.0)
    assert not running.evicted
    assert waiting.waits


@settings(max_examples=25, stateful_step_count=40, deadline=None)
class Books(RuleBasedStateMachine):
    """Whatever comes and goes: everyone is answered once, and the books come back to 0."""

    def __init__(self) -> None:
        super().__init__()
        programs = BandSettings(3, fairness=FairnessChoice("p", "program-aware", ProgramSettings()))
        turns = BandSettings(fairness=FairnessChoice("r", "round-robin"))
        flow = ReferenceFlowSettings(8, None, SHORT, turns, None, {10: programs}, evicting=Victims())
        self.queue = Queue(endpoints=2, flow=flow)

    @rule(objective=st.sampled_from(["", "interactive", "batch"]), flow=st.sampled_from("abc"))
    def ask(self, objective: str, flow: str) -> None:
        self.queue.ask(objective, flow)

    @rule(seconds=st.sampled_from([0.001, 0.01, 0.6, 3.0]))
    def passes(self, seconds: float) -> None:
        self.queue.passes(seconds)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def ends(self, data: st.DataObject) -> None:
        self.queue.ends(data.draw(st.sampled_from(self.running)))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        leaver = data.draw(st.sampled_from(self.waiting))
        assert leaver.held is not None
        leaver.held.give_up()

    @rule(endpoints=st.integers(0, 3))
    def scales(self, endpoints: int) -> None:
        self.queue.state(endpoints)

    @rule(requests=st.sampled_from([None, 1, 4]))
    def changes(self, requests: int | None) -> None:
        flow = replace(self.queue.control.settings, max_requests=requests)
        self.queue.flow.configure(ReferenceFlowControl(flow), self.queue.now)

    @property
    def running(self) -> list[Asked]:
        return [each for each in self.queue.went if _went(each) and id(each) not in self.queue.over]

    @property
    def waiting(self) -> list[Asked]:
        return [each for each in self.queue.went if each.held is not None and each.held.waiting]

    @invariant()
    def counted(self) -> None:
        counts = self.queue.flow.counts
        assert sum(each.requests for each in counts.held.values()) == len(self.waiting)
        assert sum(each.size_bytes for each in counts.held.values()) == 100 * len(self.waiting)
        assert sum(counts.outcomes.values()) == len(self.queue.went) - len(self.waiting)
        assert all(len(each.verdicts) <= 1 for each in self.queue.went)
        assert all(len(each.evicted) <= 1 for each in self.queue.went)
        snapshot = self.queue.store.snapshot(POOL)
        assert snapshot is not None
        assert snapshot.queue is not None
        assert sum(part.requests for part in snapshot.queue.of(None)) == len(self.waiting), "it is published"

    @invariant()
    def woken(self) -> None:
        assert not self.waiting or self.queue.alarm <= self.queue.now + 1.0

    def teardown(self) -> None:
        self.queue.state(3)
        self.queue.passes(60.0)
        assert not self.waiting, "a request waits for ever"
        drained(self.queue)
        gauges = self.queue.flow.gauges()[str(POOL)]
        assert all(each == (0.0, 0.0) for each in gauges.bands.values())


TestBooks = Books.TestCase
