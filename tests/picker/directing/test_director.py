"""The director against a real store: who gets which request, what is booked, and what refused clients hear."""

import math
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from infscale.endpoint import (
    DiscoveryState,
    Endpoint,
    EndpointKey,
    Objective,
    ObjectKey,
    Phase,
    Pool,
    Rewrite,
    RewriteRule,
    RewriteTarget,
)
from infscale.metrics.sample import FloatArray, LoraState, ModelLoad
from infscale.metrics.snapshot import IntArray
from infscale.metrics.store.metrics_store import MetricStore
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorSettings
from picker.epp_config.loader import load_picker_config, preset
from picker.epp_config.registry import BUILT_IN, Plugins
from picker.pick_record import KEPT_SCORES
from picker.request import Api, Decision, Headers, InferenceRequest, Outcome, ParsedBody, Reason, Rejection
from picker.scheduling.plugin import SchedulingContext
from tests.fakes.counts import counts_of
from tests.fakes.pools import NO_HEADERS, POOL, endpoint, headers
from tests.fakes.samples import engine_sample

PROMPT = random.Random(5).randbytes(4096)

FIXTURE = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {type: openai-parser}
- {type: queue-scorer}
- {type: kv-cache-utilization-scorer}
- {type: prefix-cache-scorer}
- {type: lora-affinity-scorer}
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: queue-scorer
  - pluginRef: kv-cache-utilization-scorer
  - pluginRef: prefix-cache-scorer
  - pluginRef: lora-affinity-scorer
requestHandler: {parsers: [{pluginRef: openai-parser}]}
"""


REFUSING = DirectorSettings(unknown_load="refuse")
FINISHED = counts_of(counters={("requests_finished", "m"): 1.0})


class Bench:
    """A store, a pool of `size` endpoints and its director; every endpoint is idle and was scraped at second 0."""

    def __init__(
        self,
        size: int = 3,
        config: str | None = None,
        settings: DirectorSettings | None = None,
        phases: tuple[Phase, ...] = (),
    ) -> None:
        self.store = MetricStore("s")
        self.fingerprint = 0
        self.pool = Pool(POOL, {})
        endpoints = tuple(endpoint(row, phase=phases[row] if phases else Phase.READY) for row in range(size))
        self.state = DiscoveryState(endpoints, (self.pool,))
        chosen = load_picker_config(config, "epp.yaml") if config else preset("infscale")
        self.director = PoolDirector(POOL, chosen, self.store, random.Random(1), settings)
        self.sync(self.state)
        for each in endpoints:
            self.scrape(each)

    def sync(self, state: DiscoveryState) -> None:
        self.state = state
        self.store.sync(state)
        self.director.sync(state)

    def scrape(
        self,
        each: Endpoint,
        *,
        at: float = 0.0,
        waiting: float | None = 0.0,
        kv: float | None = 0.0,
        lora: LoraState | None = None,
        models: tuple[str, ...] = (),
    ) -> None:
        self.fingerprint += 1
        loads = {model: ModelLoad(waiting, 0.0) for model in models}
        sample = engine_sample(waiting, 0.0, kv, loads, lora, counts=FINISHED, fingerprint=self.fingerprint)
        self.store.record_scrape(each.key, sample, at)

    def authority(self, row: int) -> str:
        return self.state.endpoints[row].authority

    def routed(self, request: InferenceRequest, now: float = 0.1) -> Decision:
        answer = self.director.direct(request, now)
        assert isinstance(answer, Decision), answer
        return answer

    def refused(self, request: InferenceRequest, now: float = 0.1) -> Rejection:
        answer = self.director.direct(request, now)
        assert isinstance(answer, Rejection), answer
        return answer

    def in_flight(self) -> tuple[list[float], list[float]]:
        snapshot = self.store.snapshot(POOL)
        assert snapshot is not None
        return snapshot.in_flight_requests.tolist(), snapshot.in_flight_tokens.tolist()


def ask(
    prompt: bytes = b"hello",
    *,
    model: str = "model",
    subset: tuple[str, ...] | None = None,
    given: Headers = NO_HEADERS,
    api: Api = "chat_completions",
    limit: int | None = 100,
    salt: str = "",
) -> InferenceRequest:
    body = ParsedBody(api, model, prompt, len(prompt) // 4, limit, cache_salt=salt)
    return InferenceRequest("id", "/v1/chat/completions", given, body, subset)


def get(subset: tuple[str, ...] | None = None) -> InferenceRequest:
    return InferenceRequest("id", "/v1/models", NO_HEADERS, None, subset)


def done(status: int | None = 200, **values: object) -> Outcome:
    return Outcome("completed", status, **values)  # type: ignore[arg-type] # names are Outcome's own


def test_a_burst_between_two_scrapes_spreads_over_equal_endpoints() -> None:
    bench = Bench(4)
    picks = Counter(bench.routed(ask(random.Random(n).randbytes(400))).destinations[0] for n in range(80))
    assert len(picks) == 4
    assert max(picks.values()) - min(picks.values()) <= 1


def test_the_scraped_blend_alone_would_send_such_a_burst_to_one_endpoint() -> None:
    bench = Bench(4, FIXTURE)
    bench.scrape(bench.state.endpoints[1], kv=0.0)
    for row in (0, 2, 3):
        bench.scrape(bench.state.endpoints[row], kv=0.1)
    assert {bench.routed(ask(random.Random(n).randbytes(400))).destinations[0] for n in range(20)} == {
        bench.authority(1)
    }


def test_a_shared_prefix_stays_on_its_endpoint_while_that_is_cheaper() -> None:
    bench = Bench(4)
    first = bench.routed(ask(PROMPT + b"1"))
    bench.director.finished(ask(PROMPT + b"1"), first, done(), 0.2)
    second = bench.routed(ask(PROMPT + b"2"))
    assert second.destinations[0] == first.destinations[0]
    assert first.prefix_hit_ratio == 0.0
    assert second.prefix_hit_ratio == 1.0


def test_another_cache_salt_or_model_shares_no_prefix() -> None:
    bench = Bench(1)
    bench.routed(ask(PROMPT))
    assert bench.routed(ask(PROMPT, salt="tenant")).prefix_hit_ratio == 0.0
    assert bench.routed(ask(PROMPT, model="lora")).prefix_hit_ratio == 0.0
    assert bench.routed(ask(PROMPT)).prefix_hit_ratio == 1.0


def test_a_dispatch_is_charged_with_what_is_not_cached_and_released_when_it_ends() -> None:
    bench = Bench(1)
    first = bench.routed(ask(PROMPT))
    second = bench.routed(ask(PROMPT))
    assert first.charge is not None
    assert second.charge is not None
    assert (first.charge.tokens, second.charge.tokens) == (1024 + 100, 100)
    assert bench.in_flight() == ([2.0], [1224.0])
    for decision in (first, second):
        bench.director.finished(ask(PROMPT), decision, Outcome("aborted"), 0.2)
    assert bench.in_flight() == ([0.0], [0.0])


def test_embeddings_are_charged_without_output() -> None:
    charge = Bench(1).routed(ask(PROMPT, api="embeddings", limit=None)).charge
    assert charge is not None
    assert charge.tokens == 1024


def test_expected_output_is_learned_from_usage_and_capped_by_the_request() -> None:
    bench = Bench(1, settings=DirectorSettings(output_tokens=256))
    unknown = bench.routed(ask(b"", limit=None))
    bench.director.finished(ask(b""), unknown, done(completion_tokens=40), 0.2)
    learned, capped = bench.routed(ask(b"", limit=None)), bench.routed(ask(b"", limit=10))
    charges = [each.charge.tokens for each in (unknown, learned, capped) if each.charge is not None]
    assert charges == [256, 40, 10]


@pytest.mark.parametrize(
    ("subset", "rows"),
    [
        pytest.param(("10.0.0.1:8000", "10.0.0.3:8000"), {0, 2}, id="authorities"),
        pytest.param(("10.0.0.2",), {1}, id="address"),
        pytest.param(("10.0.0.2:9999",), {1}, id="a port nobody serves names the address"),
        pytest.param(("10.0.0.1:8000,10.0.0.2:8000",), {0, 1}, id="one string"),
        pytest.param(("192.168.1.1:8000", "10.0.0.3:8000"), {2}, id="unknown names are ignored"),
        pytest.param(None, {0, 1, 2}, id="no hint"),
    ],
)
def test_only_the_hinted_endpoints_are_picked(subset: tuple[str, ...] | None, rows: set[int]) -> None:
    bench = Bench(3)
    wanted = {bench.authority(row) for row in rows}
    assert {bench.routed(ask(subset=subset)).destinations[0] for _ in range(20)} == wanted
    assert {bench.routed(get(subset)).destinations[0] for _ in range(40)} == wanted


@pytest.mark.parametrize("subset", [(), ("192.168.1.1:8000",), ("nonsense",)])
def test_a_hint_that_names_nobody_is_unavailable(subset: tuple[str, ...]) -> None:
    for request in (ask(subset=subset), get(subset)):
        answer = Bench(2).refused(request)
        assert (answer.status, answer.dropped_reason) == (503, "rejected-no-endpoints")
        assert answer.message == "failed to find endpoint candidates for serving the request"


@pytest.mark.parametrize("request_", [ask(), get()], ids=["with a body", "without"])
def test_an_empty_pool_is_unavailable(request_: InferenceRequest) -> None:
    answer = Bench(0).refused(request_)
    assert (answer.status, answer.dropped_reason, answer.retry_after_seconds) == (503, "rejected-no-endpoints", 1.0)


def test_a_pool_nobody_knows_is_like_an_empty_one() -> None:
    store = MetricStore("s")
    director = PoolDirector(ObjectKey("default", "none"), preset("infscale"), store, random.Random(1))
    answer = director.direct(ask(), 0.0)
    assert isinstance(answer, Rejection)
    assert answer.status == 503


def test_starting_and_draining_endpoints_get_nothing() -> None:
    bench = Bench(3, phases=(Phase.STARTING, Phase.READY, Phase.DRAINING))
    for request in (ask(), get()):
        assert {bench.routed(request).destinations for _ in range(10)} == {(bench.authority(1),)}


def test_stale_endpoints_are_never_picked_where_unknown_load_is_refused_and_the_refusal_says_how_old() -> None:
    bench = Bench(2, settings=REFUSING)
    bench.scrape(bench.state.endpoints[1], at=5.0)
    for request in (ask(), get()):
        assert {bench.routed(request, 6.0).destinations for _ in range(20)} == {(bench.authority(1),)}
    answer = bench.refused(ask(), 10.0)
    assert (answer.status, answer.dropped_reason) == (503, "rejected-no-endpoints")
    assert answer.message.endswith(
        "none of 2 ready endpoints has reported its load within 2 s (the latest report is 5.0 s old)"
    )
    assert answer.reason is Reason.UNKNOWN_LOAD


def test_an_endpoint_that_reports_nothing_usable_is_not_idle() -> None:
    bench = Bench(2, settings=REFUSING)
    bench.scrape(bench.state.endpoints[0], waiting=None, kv=None)
    assert {bench.routed(ask()).destinations for _ in range(10)} == {(bench.authority(1),)}
    bench.scrape(bench.state.endpoints[1], waiting=None, kv=None)
    assert "give neither a queue nor a KV-cache utilisation" in bench.refused(ask()).message


def test_sheddable_requests_are_refused_while_the_pool_is_saturated() -> None:
    bench = Bench(1)
    bench.sync(
        DiscoveryState(bench.state.endpoints, (bench.pool,), (Objective(ObjectKey("default", "batch"), -1, "pool"),))
    )
    bench.scrape(bench.state.endpoints[0], waiting=9.0)
    batch = ask(given=headers(x_llm_d_inference_objective="batch"))
    assert bench.refused(batch).dropped_reason == "rejected-saturated"
    assert bench.routed(ask()).priority == 0
    bench.scrape(bench.state.endpoints[0], waiting=0.0)
    assert bench.routed(batch).priority == -1


def test_filters_that_leave_nobody_refuse_the_request() -> None:
    config = (
        "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins: [{type: header-based-testing-filter}]\n"
    )
    answer = Bench(2, config).refused(ask(given=headers(test_epp_endpoint_selection="256.256.256.256")))
    assert (answer.status, answer.message) == (429, "no endpoints available for the given request")
    assert answer.dropped_reason == "rejected-saturated"


def test_rewrites_apply_to_bodies_that_are_read_and_not_to_opaque_ones() -> None:
    bench = Bench(1)
    rule = RewriteRule(("model",), (RewriteTarget("rewritten"),))
    rewrite = Rewrite(ObjectKey("default", "r"), "pool", (rule,))
    bench.sync(DiscoveryState(bench.state.endpoints, (bench.pool,), (), (rewrite,)))
    assert bench.routed(ask()).target_model == "rewritten"
    assert bench.routed(ask(api="opaque", model="", given=headers(x_llm_d_model_name_rewrite="x"))).target_model == ""


@pytest.mark.parametrize("given", [headers(), headers(x_llm_d_model_name_rewrite="x")], ids=["a rule", "a header"])
def test_rewrites_do_not_apply_to_grpc_messages(given: Headers) -> None:
    bench = Bench(1)
    rewrite = Rewrite(ObjectKey("default", "r"), "pool", (RewriteRule((), (RewriteTarget("rewritten"),)),))
    bench.sync(DiscoveryState(bench.state.endpoints, (bench.pool,), (), (rewrite,)))
    for body in (
        ParsedBody("completions", "", PROMPT, 1024, framing="vllm"),
        ParsedBody("chat_completions", "asked", PROMPT, 1024, framing="vertex"),
    ):
        assert bench.routed(replace(ask(given=given), body=body)).target_model == body.model


NAMELESS = replace(ask(model=""), body=ParsedBody("completions", "", PROMPT, 1024, needs_model=True))


def test_a_missing_model_is_the_clients_fault_also_while_there_is_no_endpoint() -> None:
    assert Bench(0).refused(NAMELESS).status == 400


class Broken(dict[str, int]):
    """Counts that cannot be written."""

    def __setitem__(self, key: str, value: int) -> None:
        raise RuntimeError(key)


def test_a_decision_that_fails_charges_nobody() -> None:
    bench = Bench(1)
    bench.director.direct(replace(ask(), body=None), 0.1)
    bench.director.stats.picks = Broken()
    with pytest.raises(RuntimeError):
        bench.director.direct(ask(), 0.1)
    assert bench.in_flight() == ([0.0], [0.0])


def test_a_missing_model_is_refused_unless_a_rewrite_supplies_one() -> None:
    bench = Bench(1)
    nameless = NAMELESS
    refused = bench.refused(nameless)
    assert (refused.status, refused.message) == (400, "model not found in request body")
    rewrite = Rewrite(ObjectKey("default", "r"), "pool", (RewriteRule((), (RewriteTarget("supplied"),)),))
    bench.sync(DiscoveryState(bench.state.endpoints, (bench.pool,), (), (rewrite,)))
    assert bench.routed(nameless).target_model == "supplied"


@pytest.mark.parametrize(
    ("model", "refused"),
    [("served", False), ("running-lora", False), ("idle-lora", False), ("unheard-of", True), ("", False)],
)
def test_unknown_models_are_refused_where_that_is_asked_for(model: str, refused: bool) -> None:
    bench = Bench(1, settings=DirectorSettings(unknown_models="reject"))
    lora = LoraState(frozenset({"running-lora"}), frozenset(), 4, frozenset({"idle-lora"}))
    bench.scrape(bench.state.endpoints[0], models=("served",), lora=lora)
    answer = bench.director.direct(ask(model=model), 0.1)
    assert isinstance(answer, Rejection) == refused
    if isinstance(answer, Rejection):
        assert (answer.status, answer.code) == (404, "NotFound")
        assert model not in answer.message


class Lists:
    """What endpoints list, by their rows' names."""

    def __init__(self, **names: frozenset[str] | None) -> None:
        self._names = names

    def listed(self, key: EndpointKey) -> frozenset[str] | None:
        return self._names.get(key.name.replace("-", "_"), frozenset())


@pytest.mark.parametrize(
    ("model", "listed", "refused"),
    [
        pytest.param("idle-lora", frozenset({"served", "idle-lora"}), False, id="a LoRA adapter that is idle"),
        pytest.param("second-name", frozenset({"served", "second-name"}), False, id="the second of two names"),
        pytest.param("unheard-of", frozenset({"served"}), True, id="on no list"),
        pytest.param("unheard-of", frozenset(), True, id="no list at all"),
        pytest.param("unheard-of", None, False, id="the list is not known"),
        pytest.param("served", frozenset(), False, id="named by metrics alone"),
    ],
)
def test_a_model_that_an_endpoint_lists_is_served(model: str, listed: frozenset[str] | None, refused: bool) -> None:
    bench = Bench(2, settings=DirectorSettings(unknown_models="reject", lists=Lists(pod_1=listed)))
    for each in bench.state.endpoints:
        bench.scrape(each, models=("served",))
    answer = bench.director.direct(ask(model=model), 0.1)
    assert isinstance(answer, Rejection) == refused


@pytest.mark.parametrize(
    ("model", "refused"), [("served", False), ("unheard-of", True)], ids=["on its list", "not on its list"]
)
def test_a_list_speaks_for_an_endpoint_whose_metrics_name_no_model(model: str, refused: bool) -> None:
    bench = Bench(1, settings=DirectorSettings(unknown_models="reject", lists=Lists(pod_0=frozenset({"served"}))))
    assert isinstance(bench.director.direct(ask(model=model), 0.1), Rejection) == refused


def test_an_endpoint_that_does_not_say_what_it_serves_may_serve_anything() -> None:
    assert Bench(1, settings=DirectorSettings(unknown_models="reject")).routed(ask(model="any"))


@pytest.mark.parametrize(
    ("model", "booked"),
    [
        pytest.param("served", "served", id="a model"),
        pytest.param("elsewhere", "elsewhere", id="another endpoint's model"),
        pytest.param("running-lora", "running-lora", id="a LoRA adapter"),
        pytest.param("made-up", "", id="of no endpoint"),
        pytest.param("served-deadbeef", "", id="one that looks like a key"),
    ],
)
@pytest.mark.parametrize("silent", [False, True], ids=["all say what they serve", "one says nothing"])
def test_the_books_have_no_name_that_nobody_serves(model: str, booked: str, silent: bool) -> None:
    bench = Bench(3)
    lora = LoraState(frozenset({"running-lora"}), frozenset(), 4)
    bench.scrape(bench.state.endpoints[0], models=("served",), lora=lora)
    bench.scrape(bench.state.endpoints[1], models=("elsewhere",), lora=lora)
    if not silent:
        bench.scrape(bench.state.endpoints[2], models=("served",), lora=lora)
    request = ask(model=model)
    decision = bench.routed(request)
    snapshot = bench.store.snapshot(POOL)
    assert snapshot is not None
    assert set(snapshot.in_flight_models) == {booked}
    assert decision.target_model == model
    bench.director.finished(request, decision, done(), 0.2)
    assert bench.in_flight() == ([0.0] * 3, [0.0] * 3)


def test_a_thousand_names_that_nobody_serves_are_one() -> None:
    bench = Bench(1)
    bench.scrape(bench.state.endpoints[0], models=("served",))
    for number in range(1_000):
        bench.routed(ask(model=f"made-up-{number}"))
    snapshot = bench.store.snapshot(POOL)
    assert snapshot is not None
    assert list(snapshot.in_flight_models) == [""]


def test_a_charge_follows_the_request_to_the_endpoint_that_answered() -> None:
    bench = Bench(2)
    decision = bench.routed(ask())
    first = decision.destinations[0]
    other = next(each.authority for each in bench.state.endpoints if each.authority != first)
    rows = [each.authority for each in bench.state.endpoints]
    tokens = max(bench.in_flight()[1])
    for served in (None, first, "10.0.0.9:8000"):
        decision = bench.director.response_started(decision, 200, served, 0.2)
        assert bench.in_flight()[0][rows.index(first)] == 1.0
    decision = bench.director.response_started(decision, 200, other, 0.2)
    assert (bench.in_flight()[0][rows.index(other)], bench.in_flight()[1][rows.index(other)]) == (1.0, tokens)
    assert sum(bench.in_flight()[0]) == 1.0
    bench.director.finished(ask(), decision, done(served=other), 0.3)
    assert bench.in_flight() == ([0.0, 0.0], [0.0, 0.0])


STREAMING = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {type: predicted-latency-producer, parameters: {streamingMode: true}}
- {type: latency-scorer}
"""


def test_what_a_request_wants_of_output_tokens_is_a_promise_of_the_endpoint_that_answers() -> None:
    given = headers(x_llm_d_slo_tpot_ms="30")
    bench = Bench(3, STREAMING)
    decision = bench.routed(ask(given=given))
    first = decision.destinations[0]
    other = next(each.authority for each in bench.state.endpoints if each.authority != first)
    assert promised(bench) == {first: 0.03}
    # The one that was chosen leaves before another one answers.
    left = tuple(each for each in bench.state.endpoints if each.authority != first)
    bench.sync(replace(bench.state, endpoints=left))
    moved = bench.director.response_started(decision, 200, other, 0.2)
    assert promised(bench) == {other: 0.03}
    bench.director.finished(ask(given=given), moved, done(served=other), 0.3)
    assert promised(bench) == {}
    for config, asked in (
        (STREAMING, ask()),
        (STREAMING, ask(given=given, api="embeddings")),
        ("", ask(given=given)),
    ):
        assert Bench(2, config).routed(asked).promise is None


def promised(bench: Bench) -> dict[str, float]:
    """The tightest promise of each endpoint that has any, as the next decision sees them."""
    seen: list[SchedulingContext] = []

    class Looks:
        def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
            seen.append(context)
            return np.zeros(len(rows))

    plugins = BUILT_IN.joined(Plugins(scorers={"looks": lambda _: Looks()}))
    text = f"{STREAMING}- {{type: looks}}\n"
    bench.director.configure(load_picker_config(text, "epp.yaml", plugins))
    decision = bench.routed(ask(), 0.25)
    bench.director.finished(ask(), decision, done(), 0.26)
    (context,) = seen
    tightest = dict(zip(context.snapshot.endpoints, context.memory.tightest().tolist(), strict=True))
    return {each.authority: seconds for each, seconds in tightest.items() if seconds < math.inf}


def test_the_endpoint_that_served_learns_the_prefix() -> None:
    bench = Bench(2)
    decision = bench.routed(ask(PROMPT))
    other = next(each.authority for each in bench.state.endpoints if each.authority != decision.destinations[0])
    bench.director.finished(ask(PROMPT), decision, done(served=other), 0.2)
    assert bench.routed(ask(PROMPT, subset=(other,))).prefix_hit_ratio == 1.0


@pytest.mark.parametrize(
    ("outcome", "generates", "held_against"),
    [
        pytest.param(Outcome("completed", 200), True, True, id="success"),
        pytest.param(Outcome("completed", 200), False, False, id="no work for the engine, such as counting tokens"),
        pytest.param(Outcome("completed", 404), True, False, id="refused by the engine"),
        pytest.param(Outcome("completed", 200, served="10.0.0.9:8000"), True, False, id="served elsewhere"),
        pytest.param(Outcome("aborted", 200), True, False, id="aborted"),
        pytest.param(Outcome("error"), True, False, id="failed"),
    ],
)
def test_only_tokens_of_the_chosen_endpoint_prove_that_its_metrics_must_move(
    outcome: Outcome, generates: bool, held_against: bool
) -> None:
    bench = Bench(1, settings=REFUSING)
    request = ask()
    assert request.body is not None
    request = replace(request, body=replace(request.body, generates=generates))
    decision = bench.routed(request, 0.1)
    bench.director.finished(request, decision, outcome, 0.2)
    # The same page again, later: a frozen page vouches only for the time before the request it does not show.
    frozen = engine_sample(0.0, 0.0, 0.0, counts=FINISHED, fingerprint=bench.fingerprint)
    bench.store.record_scrape(bench.state.endpoints[0].key, frozen, 3.0)
    assert isinstance(bench.director.direct(ask(), 3.1), Rejection) == held_against
    assert bench.director.stats.unknown_load == 0


def test_destinations_are_a_list_with_distinct_fallbacks() -> None:
    decision = Bench(3).routed(ask())
    assert len(set(decision.destinations)) == 2
    assert decision.candidates == 3


def test_scores_are_given_to_those_who_asked() -> None:
    asked = Bench(20, settings=DirectorSettings(emit_scores=True))
    decision = asked.routed(ask())
    assert set(decision.scores) == {asked.authority(row) for row in range(20)}
    assert decision.record is not None
    assert len(decision.record.scores) == KEPT_SCORES, "debugging has the best ones alone"
    assert Bench(2).routed(ask()).scores == {}


def test_decisions_are_counted_and_recorded() -> None:
    bench = Bench(2, settings=DirectorSettings(records=2))
    decisions = [bench.routed(ask(), 0.5) for _ in range(3)]
    bench.director.response_started(decisions[0], 200, None, 0.6)
    bench.director.finished(ask(), decisions[0], done(), 0.7)
    stats = bench.director.stats
    assert sum(stats.picks.values()) == 3
    assert (stats.responses, stats.outcomes) == ({"2xx": 1}, {"completed": 1})
    assert [record.revision for record in bench.director.records] == [each.revision for each in decisions[1:]]
    record = bench.director.records[-1]
    assert (record.destinations[0], record.observed_age_seconds) == (decisions[2].destinations[0], 0.5)
    assert (record.request_id, record.model, record.candidates) == ("id", "model", 2)
    assert decisions[2].record is record


def test_counts_of_gone_endpoints_are_dropped() -> None:
    bench = Bench(2)
    for _ in range(6):
        bench.routed(ask())
    bench.sync(DiscoveryState(bench.state.endpoints[:1], (bench.pool,)))
    bench.routed(ask())
    assert set(bench.director.stats.picks) == {bench.authority(0)}


def test_each_decision_names_the_revision_it_read() -> None:
    bench = Bench(2)
    before = bench.store.snapshot(POOL)
    assert before is not None
    assert bench.routed(ask()).revision == before.revision
    assert bench.routed(ask()).revision != before.revision


@pytest.mark.parametrize(
    ("pods", "model", "expected"),
    [
        pytest.param([(3, 0.2, []), (0, 0.1, []), (10, 0.2, [])], "my-model-12345", 1, id="lower queue and kv cache"),
        pytest.param(
            [(10, 0.2, ["foo", "bar"]), (10, 0.4, ["foo", "sql-lora"]), (10, 0.3, ["foo"])],
            "sql-lora",
            1,
            id="active lora despite higher kv cache",
        ),
        pytest.param(
            [(6, 0.2, ["foo", "bar", "sql-lora"]), (0, 0.85, ["foo"]), (10, 0.9, ["foo"])],
            "sql-lora",
            0,
            id="saturated pools are not shed by default",
        ),
        pytest.param(
            [(4, 0.2, ["foo", "bar", "sql-lora"]), (4, 0.85, ["foo", "sql-lora"])], "sql-lora", 0, id="split body"
        ),
    ],
)
def test_the_references_own_cases_end_at_the_same_endpoint(
    pods: list[tuple[float, float, list[str]]], model: str, expected: int
) -> None:
    bench = Bench(len(pods), FIXTURE)
    for each, (waiting, kv, active) in zip(bench.state.endpoints, pods, strict=True):
        lora = LoraState(frozenset(active), frozenset(), 2)
        bench.scrape(each, waiting=waiting, kv=kv, lora=lora)
    assert bench.routed(ask(model=model)).destinations == (bench.authority(expected),)


def test_a_new_configuration_applies_to_the_next_request_and_keeps_what_is_cached() -> None:
    bench = Bench(2)
    bench.routed(ask(PROMPT))
    bench.director.configure(load_picker_config(FIXTURE, "epp.yaml"))
    decision = bench.routed(ask(PROMPT))
    assert (len(decision.destinations), decision.prefix_hit_ratio) == (1, 1.0)
