"""Averages of pools: of whom they are, and that nothing unknown is told."""

import math
from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from infscale.endpoint import Phase
from infscale.metrics.pages.interpreter import NobodyCounted, interpret
from infscale.metrics.snapshot import PoolSettings, PoolSnapshot
from infscale.metrics.store.metrics_store import MetricStore
from picker.epp_config.loader import load_picker_config
from picker.telemetry.pool_averages import PoolAveragesCollector
from tests.fakes.pools import POOL, FakePool

EXTRACTOR = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins: [{type: multicluster-metrics-extractor}]
"""
(NAMES,) = load_picker_config(EXTRACTOR, "epp.yaml").scraping.engines
DIALECT = NAMES.dialect()


class Pools:
    """A store of these pools."""

    def __init__(self, *pools: FakePool) -> None:
        self._snapshots = tuple(pool.snapshot() for pool in pools)

    def snapshots(self) -> tuple[PoolSnapshot, ...]:
        return self._snapshots


def page(now: float, *pools: FakePool) -> bytes:
    registry = CollectorRegistry()
    registry.register(PoolAveragesCollector(cast("MetricStore", Pools(*pools)), lambda: now))
    return generate_latest(registry)


def values(text: bytes) -> dict[str, float]:
    lines = [line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#")]
    return {name.partition("{")[0].removeprefix("llm_d_epp_"): float(value) for name, _, value in lines}


def test_only_ready_endpoints_with_fresh_metrics_count() -> None:
    pool = FakePool(
        4,
        waiting=[2, 4, 100, 100],
        running=[1, None, 100, 100],
        kv=[None] * 4,
        phases=[Phase.READY, Phase.READY, Phase.DRAINING, Phase.READY],
        observed_at=[10, 10, 10, 1],
        settings=PoolSettings(staleness_limit_seconds=2),
    )
    assert values(page(11, pool)) == {
        "average_queue_size": 3,
        "average_running_requests": 1,
        "ready_endpoints": 2,
    }


def test_of_nobody_there_is_nothing_but_the_number() -> None:
    stale = FakePool(1, waiting=[0], observed_at=[0], settings=PoolSettings(staleness_limit_seconds=2))
    assert values(page(10, stale)) == values(page(10, FakePool(0))) == {"ready_endpoints": 0}


def test_series_have_the_reference_pickers_label_and_ours() -> None:
    labels = f'{{name="{POOL.name}",pool="{POOL}"}}'
    assert f"llm_d_epp_average_queue_size{labels} 0.0" in page(0, FakePool(1)).decode()


numbers = st.floats(0, 1e6) | st.none()


def mean(given: Sequence[float | None]) -> float | None:
    known = [each for each in given if each is not None]
    return sum(known) / len(known) if known else None


@given(st.lists(st.tuples(st.floats(0, 1e6), numbers, st.floats(0, 1) | st.none()), max_size=5))
def test_what_one_picker_publishes_another_reads(endpoints: list[tuple[float, float | None, float | None]]) -> None:
    waiting, running, kv = ([each[column] for each in endpoints] for column in range(3))
    text = page(0, FakePool(len(endpoints), waiting=waiting, running=running, kv=kv))
    if not endpoints:
        with pytest.raises(NobodyCounted):
            interpret(text, DIALECT)
        return
    sample = interpret(text, DIALECT)
    assert sample.gauges.waiting == pytest.approx(mean(waiting))
    assert sample.gauges.kv_utilization == pytest.approx(mean(kv))
    assert sample.gauges.running is None


@given(st.floats(0, 1e6), st.floats(0, 1), st.sampled_from(["0", "0.0", "NaN"]) | st.integers(1, 9).map(str))
def test_averages_of_nobody_are_no_sample_however_they_look(queue: float, kv: float, ready: str) -> None:
    """The reference picker keeps publishing the averages of endpoints that have gone."""
    text = (
        f'llm_d_epp_average_kv_cache_utilization{{name="p"}} {kv}\nllm_d_epp_average_queue_size{{name="p"}} {queue}\n'
        f'llm_d_epp_ready_endpoints{{name="p"}} {ready}\n'
    ).encode()
    if math.isnan(float(ready)) or not float(ready):
        with pytest.raises(NobodyCounted, match=r"^the page is an average over no endpoint$"):
            interpret(text, DIALECT)
    else:
        sample = interpret(text, DIALECT)
        assert (sample.gauges.waiting, sample.gauges.kv_utilization) == (queue, kv)
