"""Engines by names of one's own, and which endpoint speaks what."""

from dataclasses import replace

import pytest

from infscale.metrics.pages.dialect import NO_SPECS, CacheNumber, Dialect
from infscale.metrics.pages.dialects import DIALECTS, SGLANG, TRTLLM_SERVE, VLLM
from infscale.metrics.pages.exposition import MetricSpec
from infscale.metrics.pages.interpreter import detect, interpret
from infscale.metrics.pages.written_dialects import NOT_GIVEN, EngineNames, Engines
from infscale.metrics.sample import LoraState
from tests.fakes.counts import counters_of

SPEC = MetricSpec("w")

RENAMED = b"""\
acme_queue{state="waiting",model="m"} 3
acme_queue{state="running",model="m"} 2
acme_kv_ratio{model="m"} 0.25
acme_lora{tier="old",max_lora="1",running_lora_adapters="x",waiting_lora_adapters=""} 9
acme_lora{tier="gpu",max_lora="4",running_lora_adapters="a,b",waiting_lora_adapters="c"} 1
acme_cache{page="32",pages="1000"} 1
acme_wait_bucket{model="m",le="1"} 4
acme_wait_bucket{model="m",le="+Inf"} 5
acme_wait_sum{model="m"} 2.5
acme_prompt_total{model="m"} 700
acme_heat_celsius{gpu="0"} 61.5
acme_heat_celsius{gpu="1"} 48
acme_odd NaN
"""
ACME = EngineNames(
    name="acme",
    gauges=NOT_GIVEN._replace(
        waiting="acme_queue{state=waiting}",
        running='acme_queue{state="running"}',
        kv_utilization="acme_kv_ratio",
    ),
    lora="acme_lora{tier=gpu}",
    cache_info="acme_cache",
    block_size_label="page",
    num_blocks_label="pages",
    model_label="model",
    histograms={"queue_time": "acme_wait"},
    counters={"prompt_tokens": "acme_prompt_total"},
)


def test_a_page_is_read_by_names_of_ones_own() -> None:
    dialect = ACME.dialect()
    assert detect(RENAMED, (*DIALECTS.values(), dialect)) is dialect
    sample = interpret(RENAMED, dialect)
    assert (sample.gauges.waiting, sample.gauges.running, sample.gauges.kv_utilization) == (3, 2, 0.25)
    assert sample.lora == LoraState(frozenset("ab"), frozenset("c"), 4)
    assert (sample.block_size_tokens, sample.num_blocks) == (32, 1000)
    assert sample.models.keys() == {"m"}
    assert sample.counts.histograms["queue_time", "m"].counts.tolist() == [4, 5]
    assert counters_of(sample.counts) == {("prompt_tokens", "m"): 700}


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        pytest.param("acme_heat_celsius", {"a": 61.5}, id="of several, the first"),
        pytest.param("acme_heat_celsius{gpu=1}", {"a": 48.0}, id="the one with the label"),
        pytest.param("acme_queue{state=waiting}", {"a": 3.0}, id="what is read anyway"),
        pytest.param("acme_heat_celsius{gpu=2}", {}, id="not there"),
        pytest.param("acme_odd", {}, id="no number"),
    ],
)
def test_a_page_is_read_for_numbers_of_ones_own(spec: str, value: dict[str, float]) -> None:
    dialect = replace(ACME, attributes={"a": spec}).dialect()
    assert spec.partition("{")[0] in dialect.names
    sample = interpret(RENAMED, dialect)
    assert sample.attributes == value
    assert sample.gauges.waiting == 3


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param(EngineNames("x", "vllm"), replace(VLLM, name="x"), id="nothing of one's own"),
        pytest.param(
            EngineNames("vllm", "vllm", NOT_GIVEN._replace(waiting="w", kv_utilization="")),
            replace(VLLM, gauges=VLLM.gauges._replace(waiting=(SPEC,), kv_utilization=())),
            id="one name, and one that there is not",
        ),
        pytest.param(
            EngineNames("x", gauges=NOT_GIVEN._replace(waiting="w")),
            Dialect("x", NO_SPECS._replace(waiting=(SPEC,))),
            id="nothing but a queue",
        ),
        pytest.param(EngineNames("x", "vllm", lora=""), replace(VLLM, name="x", lora=None), id="no LoRA"),
        pytest.param(
            EngineNames("x", "sglang", cache_info="", block_size="w"),
            replace(SGLANG, name="x", block_size=(CacheNumber(SPEC),), num_blocks=()),
            id="the cache by values",
        ),
        pytest.param(
            EngineNames("x", "sglang", cache_info="w"),
            replace(
                SGLANG,
                name="x",
                block_size=(CacheNumber(SPEC, "block_size"),),
                num_blocks=(CacheNumber(SPEC, "num_gpu_blocks"),),
            ),
            id="the cache by labels",
        ),
        pytest.param(
            EngineNames("x", "vllm", histograms={"queue_time": ""}, counters={"preemptions": "w"}),
            replace(
                VLLM,
                name="x",
                histograms={**VLLM.histograms, "queue_time": ()},
                counters={**VLLM.counters, "preemptions": (SPEC,)},
            ),
            id="histograms and counters one by one",
        ),
    ],
)
def test_names_are_put_over_those_of_another_dialect(names: EngineNames, expected: Dialect) -> None:
    assert names.dialect() == expected


NOTHING = NOT_GIVEN._replace(waiting="", running="")


@pytest.mark.parametrize("names", [EngineNames("x"), EngineNames("x", "vllm", NOTHING)])
def test_an_engine_says_how_busy_it_is(names: EngineNames) -> None:
    with pytest.raises(ValueError, match="give waiting or running"):
        names.dialect()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, VLLM),
        ({"llm-d.ai/engine-type": "sglang"}, SGLANG),
        ({"inference.networking.k8s.io/engine-type": "trtllm-serve"}, TRTLLM_SERVE),
        ({"llm-d.ai/engine-type": "sglang", "inference.networking.k8s.io/engine-type": "vllm"}, SGLANG),
        ({"llm-d.ai/engine-type": "homemade"}, None),
    ],
    ids=["unlabelled", "current label", "legacy label", "current label first", "unknown engine"],
)
def test_labels_tell_the_dialect(labels: dict[str, str], expected: Dialect | None) -> None:
    assert Engines.of((), "vllm", None).dialect(labels) is expected


def test_own_dialects_come_first_and_take_the_place_of_those_of_their_names() -> None:
    over = EngineNames("vllm", "vllm", NOT_GIVEN._replace(waiting="w"))
    engines = Engines.of((ACME, over), "acme", "engine")
    assert list(engines.dialects) == ["acme", *DIALECTS]
    assert engines.dialect({}) == ACME.dialect()
    assert engines.dialect({"engine": "vllm"}) == over.dialect()
    # One's own label is the only one.
    assert engines.dialect({"llm-d.ai/engine-type": "sglang"}) == ACME.dialect()


def test_without_a_default_the_page_tells() -> None:
    assert Engines().dialect({}) is None
