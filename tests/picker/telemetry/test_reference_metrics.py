"""The reference's metrics: counted once under both names, bounded whatever clients send, and gone back to 0."""

import asyncio
import random
from collections.abc import Sequence

import pytest
from prometheus_client.parser import text_string_to_metric_families

from infscale.endpoint import ObjectKey
from infscale.metrics.sample import ModelLoad
from infscale.telemetry.own_metrics import OwnMetrics
from picker.directing.watching.observed_director import ObservedDirector
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.ext_proc.messages import Incoming, RequestBody, RequestHeaders
from picker.request import Decision, Headers, InferenceRequest, Outcome, ParsedBody, Reason, Rejection
from picker.telemetry.reference_counts import (
    MAX_ATTEMPTS,
    MAX_FLOWS,
    MAX_SERIES,
    MAX_STRANGE_MODELS,
    OTHER,
    ReferenceCounts,
)
from picker.telemetry.reference_metrics import ReferenceCollector, ReferencePoolCollector, listed
from tests.fakes.samples import engine_sample
from tests.picker.directing.test_director import ask, get
from tests.picker.directing.test_pool_directors import CHAT, OTHER_CHAT, Bench
from tests.picker.scheduling.test_disaggregation import BOTH, DisaggregatedBench, text, with_media

REQUEST = {"model_name": "m", "target_model_name": "m", "fairness_id": "default-flow", "priority": "0"}
STREAMED = Outcome(
    "completed", 200, 7, 11, 3, first_byte_seconds=0.5, duration_seconds=2.5, size_bytes=90, streamed=True
)


class Counted:
    """One pool with an endpoint that serves "served", and everything that counts its requests."""

    def __init__(self, *pools: ObjectKey) -> None:
        self.bench = Bench(*(pools or (CHAT,)))
        for endpoint in self.bench.store.discovery.endpoints:
            loads = {"served": ModelLoad(0.0, 0.0)}
            self.bench.store.record_scrape(endpoint.key, engine_sample(4.0, 2.0, 0.5, loads, fingerprint=9), 0.1)
        self.counts = ReferenceCounts(self.bench.directors, lambda model: listed(self.bench.store.snapshots(), model))
        self.director = ObservedDirector(self.counts, lambda: 0.0)

    def ask(self, model: str = "m", flow: str | None = None, size: int = 30) -> tuple[InferenceRequest, Decision]:
        headers = Headers((("x-llm-d-inference-fairness-id", flow.encode()),) if flow else ())
        request = InferenceRequest("id", "/", headers, ParsedBody("completions", model, b"hello", 2), size_bytes=size)
        decision = self.director.direct(request, 0.2)
        assert isinstance(decision, Decision)
        return request, decision

    def done(self, asked: tuple[InferenceRequest, Decision], outcome: Outcome = STREAMED) -> None:
        self.director.finished(*asked, outcome, 2.7)

    def samples(self, name: str) -> list[tuple[dict[str, str], float]]:
        requests = ReferenceCollector(self.counts, self.director.durations, self.bench.directors, "1.2")
        pools = ReferencePoolCollector(self.bench.store, lambda: 0.2)
        page = asyncio.run(OwnMetrics([requests, pools]).written([name])).decode()
        families = text_string_to_metric_families(page)
        return [(each.labels, each.value) for family in families for each in family.samples if each.name == name]

    def one(self, name: str, **labels: str) -> float:
        """The value of the one sample of `name` with these labels among its own."""
        (found,) = [value for each, value in self.samples(name) if each.items() >= labels.items()]
        return found


def test_a_request_is_counted_under_both_names() -> None:
    counted = Counted()
    asked = counted.ask()
    assert counted.samples("llm_d_epp_request_total") == [(REQUEST, 1)]
    before = {key: REQUEST[key] for key in ("model_name", "target_model_name", "priority")}
    assert counted.samples("inference_objective_request_total") == [(before, 1)]
    assert counted.samples("llm_d_epp_request_running") == [(REQUEST, 1)]
    assert counted.samples("inference_objective_running_requests") == [({"model_name": "m"}, 1)]
    counted.done(asked)
    assert counted.samples("llm_d_epp_request_running") == [(REQUEST, 0)]
    assert counted.samples("llm_d_epp_request_error_total") == []


def test_a_request_with_a_long_prompt_runs_no_longer_than_others() -> None:
    """Its exchange keeps the beginning of it alone."""
    counted = Counted()
    exchange = Exchange(ExchangeSettings(), counted.director, random.Random(1))
    body = b'{"model":"served","prompt":"' + b"word " * 10_000 + b'"}'
    exchange.receive(Incoming(RequestHeaders(Headers(((":path", b"/v1/completions"),)))), 0.2)
    exchange.receive(Incoming(RequestBody(body, end_of_stream=True)), 0.2)
    assert counted.one("llm_d_epp_request_running") == 1
    exchange.closed(1.0)
    assert counted.one("llm_d_epp_request_running") == 0


@pytest.mark.parametrize(
    ("today", "before", "total", "below", "above"),
    [
        ("request_duration_seconds", "request_duration_seconds", 2.5, "2.0", "3.0"),
        ("request_size_bytes", "request_sizes", 30, None, "64.0"),
        ("response_size_bytes", "response_sizes", 90, "64.0", "128.0"),
        ("request_input_tokens", "input_tokens", 7, "1.0", "8.0"),
        ("request_output_tokens", "output_tokens", 11, "8.0", "16.0"),
        ("request_cached_tokens", "prompt_cached_tokens", 3, "1.0", "8.0"),
        ("request_ntpot_seconds", "normalized_time_per_output_token_seconds", 2.5 / 11, "0.2", "0.5"),
        ("request_streaming_tpot_seconds", None, 0.2, "0.15", "0.2"),
        ("request_ttft_seconds", None, 0.5, "0.4", "0.6"),
    ],
)
def test_what_an_answer_says_is_observed(
    today: str, before: str | None, total: float, below: str | None, above: str
) -> None:
    counted = Counted()
    counted.done(counted.ask())
    for name in (f"llm_d_epp_{today}", *([f"inference_objective_{before}"] if before else [])):
        assert counted.one(f"{name}_sum") == pytest.approx(total)
        assert counted.one(f"{name}_count") == 1
        assert counted.one(f"{name}_bucket", le=above) == 1
        if below is not None:
            assert counted.one(f"{name}_bucket", le=below) == 0


def test_what_is_unknown_is_not_observed() -> None:
    counted = Counted()
    counted.done(counted.ask(), Outcome("aborted", duration_seconds=1.0))
    assert counted.samples("llm_d_epp_request_duration_seconds_count") == []
    assert counted.samples("llm_d_epp_request_output_tokens_count") == []
    assert counted.samples("llm_d_epp_request_total") == [(REQUEST, 1)]


def test_errors_are_counted_by_code_whoever_answered_with_them() -> None:
    counted = Counted()
    counted.done(counted.ask(), Outcome("completed", 503, duration_seconds=1.0))
    counted.director.refused(Headers(()), None, Rejection("BadRequest", "no", Reason.INVALID_JSON))
    found = {labels["error_code"]: value for labels, value in counted.samples("llm_d_epp_request_error_total")}
    assert found == {"ModelServerError": 1, "BadRequest": 1}
    assert len(counted.samples("inference_objective_request_error_total")) == 2


def test_attempts_name_the_endpoint() -> None:
    counted = Counted()
    counted.ask()
    today = {"status": "success", "target_model_name": "m", "namespace": "llm", "port": "8000"}
    assert counted.samples("llm_d_epp_scheduler_attempts_total") == [({**today, "endpoint_name": "chat-0"}, 1)]
    assert counted.samples("inference_extension_scheduler_attempts_total") == [({**today, "pod_name": "chat-0"}, 1)]
    assert counted.one("llm_d_epp_scheduler_e2e_duration_seconds_count") == 1
    assert counted.one("inference_extension_info", build_ref="1.2") == 1


def test_what_is_believed_to_be_cached_is_observed() -> None:
    counted = Counted()
    body = ParsedBody("completions", "m", b"hello " * 400, 600)
    for _ in range(2):
        counted.director.direct(InferenceRequest("id", "/", Headers(()), body, size_bytes=2400), 0.2)
    for prefix in ("llm_d_epp", "inference_extension"):
        assert counted.one(f"{prefix}_prefix_indexer_hit_ratio_count") == 2
        assert counted.one(f"{prefix}_prefix_indexer_hit_ratio_bucket", le="0.0") == 1
        assert counted.one(f"{prefix}_prefix_indexer_hit_bytes_sum") > 1000
        assert counted.one(f"{prefix}_prefix_indexer_size") > 0
    assert counted.one("llm_d_epp_prefix_indexer_size", plugin_type="approx-prefix-cache-producer") > 0


@pytest.mark.parametrize("handler", ["disagg-profile-handler", "pd-profile-handler"])
def test_decisions_about_prefill_and_encoding_are_counted_by_what_was_decided(handler: str) -> None:
    older = handler == "pd-profile-handler"
    parameters = "deciderPluginName: always-disagg-pd-decider" if older else BOTH
    bench = DisaggregatedBench(text(parameters).replace("disagg-profile-handler", f"{handler}, name: split"))
    counts = ReferenceCounts(bench.director, lambda model: False)
    for request in (ask(), ask(), with_media(ask()), get()):
        counts.direct(request, 0.2)
    labels = {"plugin_name": "split", "plugin_type": handler, "model_name": "model", "decision_type": "prefill-decode"}
    encoding = {**labels, "decision_type": "encode-prefill-decode"}
    expected: list[tuple[dict[str, str], float]] = [(labels, 3)] if older else [(labels, 2), (encoding, 1)]
    collector = ReferenceCollector(
        counts, ObservedDirector(counts, lambda: 0.0).durations, Counted().bench.directors, "1"
    )
    for name, wanted in (("disagg", expected), ("pd", expected if older else [])):
        name = f"llm_d_epp_{name}_decision_total"
        page = asyncio.run(OwnMetrics([collector]).written([name])).decode()
        families = text_string_to_metric_families(page)
        assert [(each.labels, each.value) for one in families for each in one.samples if each.name == name] == wanted


def test_pools_are_described_under_the_names_of_before() -> None:
    counted = Counted()
    assert counted.samples("inference_pool_ready_pods") == [({"name": "chat"}, 1)]
    assert counted.samples("inference_pool_average_queue_size") == [({"name": "chat"}, 4)]
    assert counted.samples("llm_d_epp_std_dev_queue_size") == [({"name": "chat"}, 0)]
    queue = {"name": "chat", "model_server_endpoint": "chat-0"}
    assert counted.samples("llm_d_epp_per_endpoint_queue_size") == [(queue, 4)]


def test_two_pools_of_one_name_stay_two() -> None:
    names = [labels["name"] for labels, _ in Counted(CHAT, OTHER_CHAT).samples("inference_pool_ready_pods")]
    assert names == ["llm/chat", "test/chat"]


def flood(counted: Counted, models: Sequence[str], flows: Sequence[str | None] = (None,)) -> None:
    for model in models:
        for flow in flows:
            counted.done(counted.ask(model, flow))


def test_models_that_clients_invent_share_one_series_when_there_are_many() -> None:
    counted = Counted()
    flood(counted, [f"invented-{number}" for number in range(300)])
    found = {labels["model_name"]: value for labels, value in counted.samples("llm_d_epp_request_total")}
    assert len(found) == MAX_STRANGE_MODELS + 1
    assert found[OTHER] == 300 - MAX_STRANGE_MODELS
    flood(counted, ["served"])
    assert counted.one("llm_d_epp_request_total", model_name="served") == 1


def test_flows_and_long_names_are_bounded_too() -> None:
    counted = Counted()
    flood(counted, ["m"], [f"flow-{number}" for number in range(200)])
    assert len(counted.samples("llm_d_epp_request_total")) <= MAX_FLOWS + 1
    flood(counted, ["x" * 1_000_000], ["y" * 1_000_000])
    assert counted.one("llm_d_epp_request_total", model_name=OTHER) == 1
    assert all(each.running == 0 for each in counted.counts.requests.values())


def test_series_are_bounded_whatever_is_combined() -> None:
    counted = Counted()
    flood(counted, [f"m-{number}" for number in range(20)], [f"f-{number}" for number in range(20)])
    totals = [value for _, value in counted.samples("llm_d_epp_request_total")]
    assert len(totals) == MAX_SERIES + 1
    assert sum(totals) == 400
    assert len(counted.counts.attempts) <= MAX_ATTEMPTS


@pytest.mark.parametrize("name", ["a\nb", 'a"b', "a\\b", "\x00\x01", "\u2028", "a{b}"], ids=ascii)
def test_a_name_of_any_characters_is_a_label_that_can_be_read(name: str) -> None:
    counted = Counted()
    counted.done(counted.ask(name, name))
    assert counted.one("llm_d_epp_request_total", model_name=name) == 1
