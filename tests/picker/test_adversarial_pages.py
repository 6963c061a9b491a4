"""Whatever pages say, requests go to the endpoints beside them, answers are numbers or unknown, and books end at 0."""

import math
import random
from collections.abc import Callable

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.core import Metric

from infscale.endpoint import DiscoveryState, Endpoint, Pool
from infscale.errors import ExpositionError
from infscale.metrics.pages.dialect import Dialect
from infscale.metrics.pages.dialects import DIALECTS, VLLM
from infscale.metrics.pages.interpreter import Interpreter
from infscale.metrics.published.answers import group_reading, models, pod_readings
from infscale.metrics.published.catalogue import PUBLISHED
from infscale.metrics.published.gpu_readers import GPU
from infscale.metrics.published.inspection import snapshot_document
from infscale.metrics.sample import EngineSample, GpuSample, Reading
from infscale.metrics.saturation import SaturationKind, SaturationSettings
from infscale.metrics.snapshot import PoolSettings, PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore
from infscale.telemetry.telemetry_server import StoreCollector
from picker.directing.director import PoolDirector
from picker.epp_config.loader import PickerConfig, load_picker_config, preset
from picker.epp_config.presets import PRESETS
from picker.request import Decision, Headers, InferenceRequest, Outcome, ParsedBody, Rejection
from tests.fakes.hostile_pages import pages_of
from tests.fakes.pools import NO_HEADERS, POOL, endpoint, headers
from tests.scrape.pages import vllm_page

ENDPOINTS = tuple(endpoint(row) for row in range(4))
HOSTILE, GOOD = ENDPOINTS[:2], ENDPOINTS[2:]

EVERYTHING = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {type: predicted-latency-producer}
- {type: slo-headroom-tier-filter}
- {type: latency-scorer}
- {type: lmetric-scorer}
- {type: gpu-memory-scorer}
- {type: staleness-discount-scorer}
- {type: speed-and-cost-scorer}
- {type: lora-affinity-scorer}
- {type: queue-scorer}
- {type: running-requests-size-scorer}
- {type: kv-cache-utilization-scorer}
- {type: load-aware-scorer}
- {type: in-flight-tokens-scorer}
- {type: approx-prefix-cache-producer}
- {type: prefix-cache-scorer}
- {type: power-of-two-picker}
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: slo-headroom-tier-filter}
  - {pluginRef: latency-scorer}
  - {pluginRef: lmetric-scorer}
  - {pluginRef: gpu-memory-scorer}
  - {pluginRef: staleness-discount-scorer}
  - {pluginRef: speed-and-cost-scorer}
  - {pluginRef: lora-affinity-scorer}
  - {pluginRef: queue-scorer}
  - {pluginRef: running-requests-size-scorer}
  - {pluginRef: kv-cache-utilization-scorer}
  - {pluginRef: load-aware-scorer}
  - {pluginRef: in-flight-tokens-scorer}
  - {pluginRef: prefix-cache-scorer}
  - {pluginRef: power-of-two-picker}
"""
CONFIGURATIONS = {name: lambda name=name: preset(name) for name in PRESETS} | {
    "everything": lambda: load_picker_config(EVERYTHING, "epp.yaml")
}

Round = tuple[bytes, tuple[Dialect, bytes], GpuSample | None]
"""A page of vLLM, one of any engine, and what an exporter says."""

gpus = st.builds(GpuSample, *[st.none() | st.floats(0, 2**50)] * 2, st.none() | st.floats(0, 1))
spoken = st.sampled_from([*DIALECTS.values()])
rounds = st.tuples(
    pages_of(VLLM) | st.just(vllm_page()),
    spoken.flatmap(lambda each: st.tuples(st.just(each), pages_of(each))),
    st.none() | gpus,
)


class World:
    """Two endpoints that say anything, two that are as they should be, and a director over all of them."""

    def __init__(self, config: PickerConfig, kind: SaturationKind) -> None:
        self.store = MetricStore("s", default_pool=PoolSettings(saturation=SaturationSettings(kind)))
        state = DiscoveryState(ENDPOINTS, (Pool(POOL, {}),))
        self.director = PoolDirector(POOL, config, self.store, random.Random(1))
        self.store.sync(state)
        self.director.sync(state)
        self.interpreters = {dialect.name: Interpreter(dialect) for dialect in DIALECTS.values()}
        self.causes: list[str] = []
        self.open: list[tuple[InferenceRequest, Decision]] = []

    def scrape(self, of: Endpoint, page: bytes, dialect: Dialect, at: float) -> EngineSample | None:
        try:
            sample = self.interpreters[dialect.name].interpret(page)
        except ExpositionError as error:
            self.causes.append(str(error))
            self.store.record_failure(of.key, str(error), at)
            return None
        self.store.record_scrape(of.key, sample, at)
        return sample

    def pick(self, limit: int | None, of: Headers, now: float, subset: tuple[str, ...] | None = None) -> None:
        body = ParsedBody("chat_completions", "m", b"hello " * 100, 150, limit)
        request = InferenceRequest("id", "/v1/chat/completions", of, body, subset)
        answer = self.director.direct(request, now)
        if isinstance(answer, Rejection) and subset is None:
            # All others may be full by what the pages say; the good ones never are.
            raise AssertionError(answer)
        if isinstance(answer, Decision):
            self.open.append((request, answer))

    def finish(self, now: float) -> None:
        for number, (request, decision) in enumerate(self.open):
            tokens = (None, 0, 17, 10**400)[number % 4]
            self.director.response_started(decision, 200, None, now)
            self.director.finished(request, decision, Outcome("completed", 200, completion_tokens=tokens), now)
        self.open.clear()

    @property
    def view(self) -> PoolSnapshot:
        snapshot = self.store.snapshot(POOL)
        assert snapshot is not None
        return snapshot


def check_answers(view: PoolSnapshot, now: float) -> None:
    """What others are told of the pool can be told: finite numbers, or that they are unknown."""
    for metric in PUBLISHED:
        for model in models(metric, view)[:3]:
            reading = group_reading(metric, view, now, model)
            if isinstance(reading, Reading):
                assert math.isfinite(reading.value), metric.name
        assert np.isfinite(pod_readings(metric, view, now).values).all(), metric.name
    orjson.dumps(snapshot_document(view, now))


@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
@given(st.sampled_from(SaturationKind), st.lists(rounds, min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_no_page_fails_a_pick_of_others_or_stays_in_the_books(
    configuration: Callable[[], PickerConfig],
    kind: SaturationKind,
    said: list[tuple[bytes, tuple[Dialect, bytes], GpuSample | None]],
) -> None:
    world = World(configuration(), kind)
    wanted = headers(x_llm_d_slo_ttft_ms="100", x_llm_d_slo_tpot_ms="10")
    for number, (first, (dialect, second), gpu) in enumerate(said):
        now = number * 0.7
        world.scrape(HOSTILE[0], first, VLLM, now)
        world.scrape(HOSTILE[1], second, dialect, now)
        for each in GOOD:
            assert world.scrape(each, vllm_page(waiting=number % 3), VLLM, now) is not None
        if gpu is not None:
            world.store.record_beside(GPU, HOSTILE[0].key, gpu, now)
        for limit in (None, 0, 10, 10**400):
            for of in (NO_HEADERS, wanted):
                world.pick(limit, of, now + 0.1)
        world.pick(None, NO_HEADERS, now + 0.1, tuple(each.authority for each in HOSTILE))
        view = world.view
        assert np.isfinite(view.in_flight_tokens).all()
        assert (view.in_flight_tokens >= 0).all()
        check_answers(view, now + 0.1)
        if number % 2:
            world.finish(now + 0.2)
    world.finish(10.0)
    view = world.view
    assert view.in_flight_requests.tolist() == [0.0] * 4
    assert view.in_flight_tokens.tolist() == [0.0] * 4
    assert view.in_flight_models == {}
    assert max(map(len, world.causes), default=0) < 200


@given(st.lists(pages_of(VLLM), min_size=1, max_size=3))
@settings(max_examples=20, deadline=None)
def test_our_own_metrics_page_can_be_written_whatever_pages_say(said: list[bytes]) -> None:
    world = World(preset("infscale"), SaturationKind.UTILIZATION)
    for number, each in enumerate(said):
        world.scrape(HOSTILE[0], each, VLLM, number * 0.7)
    families: list[Metric] = list(StoreCollector(world.store, lambda: 2.0).collect())
    assert all(math.isfinite(sample.value) for family in families for sample in family.samples)


def counting(generated: str, waiting: str = "1") -> bytes:
    lines = [
        f'vllm:num_requests_waiting{{model_name="m"}} {waiting}',
        f'vllm:num_requests_running{{model_name="m"}} {waiting}',
        f'vllm:generation_tokens_total{{model_name="m"}} {generated}',
        'vllm:request_success_total{model_name="m"} 1',
    ]
    return "\n".join([*lines, ""]).encode()


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param([counting("0"), counting("1.7e308")], id="a counter between 0 and 1.7e308"),
        pytest.param([counting("0"), counting("1e300")], id="a counter between 0 and 1e300"),
        pytest.param([counting("0"), counting("9e15")], id="a counter that jumps as far as one can count"),
        pytest.param([counting("1", "1.7e308"), counting("2", "1.7e308")], id="gauges whose sum overflows"),
        pytest.param([counting("1", "-1e300"), counting("2", "NaN")], id="gauges below nothing, and no numbers"),
    ],
)
def test_numbers_beyond_reason_fail_no_pick_and_leave_no_token_in_the_books(pages: list[bytes]) -> None:
    world = World(preset("infscale"), SaturationKind.UTILIZATION)
    for number in range(20):
        now = number * 0.7
        finished = b'success_total{model_name="m"} %d' % number
        page = pages[number % 2].replace(b'success_total{model_name="m"} 1', finished)
        assert world.scrape(HOSTILE[0], page, VLLM, now) is not None
        for each in GOOD:
            world.scrape(each, vllm_page(waiting=number % 3), VLLM, now)
        for limit in (None, 100):
            world.pick(limit, NO_HEADERS, now + 0.1)
        world.pick(None, NO_HEADERS, now + 0.1, (HOSTILE[0].authority,))
    world.finish(20.0)
    assert world.view.in_flight_tokens.tolist() == [0.0] * 4
    assert world.view.in_flight_requests.tolist() == [0.0] * 4
