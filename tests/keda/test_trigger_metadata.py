"""Metadata of triggers: what is ours is read strictly, what is KEDA's is let pass, and mistakes are named."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.keda.errors import InvalidTrigger, NotThere, ScalerError
from infscale.keda.trigger_metadata import LONGEST, MOST_KEYS, MetricTrigger, SloTrigger, Trigger, read_trigger
from infscale.metrics.published.catalogue import BY_NAME
from infscale.metrics.published.metric_table import FormulaSettings, MetricTable
from tests.keda.pools import asked

TABLE = MetricTable.of([FormulaSettings("pressure_ratio", "waiting_requests / 3", "ratio")])


def read(metadata: Mapping[str, str], *, other_namespaces: bool = False) -> Trigger:
    return read_trigger(asked(metadata), TABLE, other_namespaces=other_namespaces)


def metric(**metadata: str) -> MetricTrigger:
    trigger = read({"metric": "waiting_requests", **metadata})
    assert isinstance(trigger, MetricTrigger)
    return trigger


def slo(text: str, **metadata: str) -> SloTrigger:
    trigger = read({"slo": text, "pool": "chat", **metadata})
    assert isinstance(trigger, SloTrigger)
    return trigger


def test_a_metric_its_target_and_what_it_is_of() -> None:
    trigger = metric(pool="chat", model="m", target="5", activation="2")
    assert (trigger.name, trigger.target, trigger.activation) == ("waiting_requests", 5.0, 2.0)
    assert (str(trigger.scope.key), trigger.scope.model) == ("llm/chat", "m")
    bare = metric()
    assert (bare.target, bare.activation, bare.scope.key, bare.scope.model) == (None, None, None, None)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("target", "500m", 0.5),
        ("target", " 0.001 ", 0.001),
        ("targetValue", "60Gi", 60 * 2**30),
        ("targetFromEnv", "7", 7.0),
        ("targetValueFromEnv", "7.5", 7.5),
    ],
)
def test_targets_as_kubernetes_writes_numbers_and_keda_keys(key: str, text: str, value: float) -> None:
    assert metric(**{key: text}).target == value


def test_formulas_are_metrics() -> None:
    trigger = read({"metric": "pressure_ratio", "pool": "chat", "target": "0.8"})
    assert trigger.name == "pressure_ratio"


def test_keys_that_keda_itself_passes_are_let_pass() -> None:
    passed = dict.fromkeys(
        ("scalerAddress", "metricType", "enableTLS", "unsafeSsl", "tlsCertFile", "caCert", "tlsClientCert"), "x"
    )
    assert metric(**passed, tlsClientKey="x", useCachedMetrics="true", tlsCertFileFromEnv="x") == metric()


def test_a_metric_can_be_called_as_an_engine_calls_it() -> None:
    assert metric(metric="vllm:num_requests_waiting").metric is BY_NAME["waiting_requests"]


def test_goals() -> None:
    trigger = slo("ttft_p90=1s, itl_mean=50ms,queue_p99 = 1m30s", saturation="0.5")
    assert [(each.metric.name, each.seconds) for each in trigger.goals] == [
        ("time_to_first_token_p90_seconds", 1.0),
        ("inter_token_latency_mean_seconds", 0.05),
        ("queue_latency_p99_seconds", 90.0),
    ]
    assert trigger.saturation == 0.5
    assert slo("ttft_p50=1ms").saturation == 0.8


GIVEN = {"metric": "waiting_requests"}
GOALS = {"slo": "ttft_p90=1s", "pool": "chat"}


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({**GIVEN, "tresholdValue": "5"}, "tresholdValue: there is no such key; did you mean targetValue?"),
        ({**GIVEN, "targetvalue": "5"}, "targetvalue: there is no such key; did you mean targetValue?"),
        ({**GIVEN, "poool": "a"}, "poool: there is no such key; did you mean pool?"),
        ({**GIVEN, "xyz": "a"}, "xyz: there is no such key; there are metric, slo, pool"),
        ({**GIVEN, "target": "1", "targetValue": "2"}, "targetValue: is given twice, as target, too"),
        (
            {"metric": "DCGM_FI_DEV_FB_USED"},
            "is not answered under that name: it is in MiB; ask for gpu_memory_used_bytes",
        ),
        ({**GIVEN, "target": "0"}, "target: expected at least 0.001 (KEDA keeps three decimals), got '0'"),
        ({**GIVEN, "target": "0.0009"}, "target: expected at least 0.001"),
        ({**GIVEN, "target": "-1"}, "target: expected at least 0.001"),
        ({**GIVEN, "target": "many"}, "target: expected a number such as 5, 0.5 or 500m, got 'many'"),
        ({**GIVEN, "target": "nan"}, "target: expected a number"),
        ({**GIVEN, "target": "1e18"}, "target: expected a number"),
        ({**GIVEN, "target": " "}, "target: is empty"),
        ({**GIVEN, "activationTarget": "-1"}, "activationTarget: expected 0 or more, got '-1'"),
        (
            {**GIVEN, "pool": "llm/chat"},
            "pool: expected the name of an InferencePool, got 'llm/chat'; its namespace is",
        ),
        ({**GIVEN, "namespace": "a/b"}, "namespace: expected a namespace, got 'a/b'"),
        ({**GIVEN, "namespace": "other"}, "namespace: 'other' is not the ScaledObject's own; keda.other_namespaces"),
        ({**GIVEN, "saturation": "0.8"}, "saturation: goes with slo only"),
        ({**GIVEN, **GOALS}, "metric: give either metric (what to scale on) or slo (what to keep), and not both"),
        ({"pool": "chat"}, "metric: give either metric"),
        ({"slo": "ttft_p90=1s"}, "pool: is missing: slo is about one InferencePool"),
        ({**GOALS, "target": "1"}, "target: goes with metric only"),
        ({**GOALS, "activation": "1"}, "activation: goes with metric only"),
        ({**GOALS, "saturation": "1.2"}, "saturation: expected a share of capacity"),
        ({**GOALS, "slo": "ttft_p90"}, "slo: expected ttft, itl or queue with a statistic and a duration"),
        ({**GOALS, "slo": "ttft_p95=1s"}, "got 'ttft_p95=1s'; did you mean ttft_p9"),
        ({**GOALS, "slo": "ttft_p90=1"}, "slo: expected a duration from 1ms to 1h, such as 500ms or 2s, got '1'"),
        ({**GOALS, "slo": "ttft_p90=0s"}, "slo: expected a duration"),
        ({**GOALS, "slo": "ttft_p90=2h"}, "slo: expected a duration"),
        ({**GOALS, "slo": "ttft_p90=1s,ttft_p90=2s"}, "slo: 'ttft_p90=2s' is given twice"),
        ({**GOALS, "slo": ",".join(["ttft_p90=1s"] * 9)}, "slo: expected at most 8 goals, got 9"),
        ({**GIVEN, "model": "m" * (LONGEST + 1)}, f"model: is longer than {LONGEST} characters"),
        ({**GIVEN, "k" * 2000: "x"}, f"is longer than {LONGEST} characters"),
        ({f"key{number}": "x" for number in range(MOST_KEYS + 1)}, f"its trigger has more than {MOST_KEYS} keys"),
    ],
)
def test_mistakes_name_the_scaled_object_the_key_and_the_cause(metadata: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidTrigger) as caught:
        read(metadata)
    assert str(caught.value).startswith("ScaledObject llm/chat: ")
    assert words in str(caught.value)


def test_a_metric_that_there_is_not() -> None:
    with pytest.raises(NotThere, match=r"^ScaledObject llm/chat: metric: there is no metric 'waiting'; did you mean w"):
        read({"metric": "waiting"})
    with pytest.raises(NotThere, match=r"metricName: there is no metric 'zzz'; known are queue_latency_p50_seconds"):
        read({"metricName": "zzz"})


def test_other_namespaces_where_they_are_allowed() -> None:
    trigger = read({"metric": "waiting_requests", "namespace": "other", "pool": "chat"}, other_namespaces=True)
    assert str(trigger.scope.key) == "other/chat"
    assert read({"metric": "waiting_requests", "namespace": "llm", "pool": "chat"}).scope.namespace == "llm"


keys = st.one_of(
    st.sampled_from(["metric", "slo", "pool", "namespace", "model", "target", "activation", "saturation"]),
    st.text(max_size=20),
)
texts = st.one_of(st.sampled_from(["waiting_requests", "chat", "1", "ttft_p90=1s", "llm"]), st.text(max_size=30))


@given(st.dictionaries(keys, texts, max_size=6))
def test_any_metadata_is_a_trigger_or_a_refusal_on_one_line(metadata: dict[str, str]) -> None:
    words = ""
    try:
        read(metadata)
    except ScalerError as error:
        words = str(error)
    assert "\n" not in words
    assert len(words) < 1000
