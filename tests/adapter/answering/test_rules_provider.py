"""Rules answer from what was evaluated, own scrapes first where they hold the same; what is unknown says why."""

from dataclasses import dataclass, field, replace

import pytest

from adapter.answering.provider import ObjectValues
from adapter.answering.rules_provider import BEING_EVALUATED, ChainedProvider, RulesProvider
from adapter.answering.store_provider import StoreProvider
from adapter.api.paths import ExternalRequest, ObjectRequest, parse
from adapter.errors import NotFound, Unavailable
from infscale.endpoint import ObjectKey
from infscale.metrics.published.catalogue import BY_NAME
from infscale.metrics.sample import Reading
from infscale.prometheus.rules.asked_board import Asked, Evaluated
from infscale.prometheus.rules.object_kinds import POD
from infscale.prometheus.rules.rules_file import parse_rules
from infscale.prometheus.rules.series_registry import SeriesRegistry, registry
from tests.adapter.support import E1, G2, World, values

NOW = 100.0
PODS = "resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}, node: {resource: node}}}"
RULES = parse_rules(
    f"""
rules:
- {{seriesQuery: x, {PODS}, metricsQuery: 'sum(<<.Series>>{{<<.LabelMatchers>>}}) by (<<.GroupBy>>)'}}
externalRules:
- {{seriesQuery: x, {PODS}, metricsQuery: 'sum(<<.Series>>{{<<.LabelMatchers>>}})'}}
""",
    "rules.yaml",
)
SERIES = ("queue_length", "vllm:num_requests_waiting", "waiting_requests", "DCGM_FI_DEV_FB_USED")


@dataclass
class Evaluation:
    """Rules whose evaluation a test sets."""

    evaluated: dict[Asked, Evaluated] = field(default_factory=dict[Asked, Evaluated])
    asked: list[Asked] = field(default_factory=list[Asked])
    staleness_limit_seconds: float = 60.0
    pending: str | None = None
    broken: str | None = None

    @property
    def registry(self) -> SeriesRegistry:
        return registry([(rule, [(name, ("namespace", "node", "pod")) for name in SERIES]) for rule in RULES.all])

    def undiscovered(self) -> str | None:
        return self.pending

    def unreadable(self) -> str | None:
        return self.broken

    def ask(self, asked: Asked, now: float) -> Evaluated | None:
        assert now == NOW
        self.asked.append(asked)
        return self.evaluated.get(asked)


class Chain:
    """infscale's own metrics of a pool of two pods, and rules behind them."""

    def __init__(self) -> None:
        self.world = World(2)
        self.world.report_all(NOW, waiting=4.0)
        self.evaluation = Evaluation()
        own = StoreProvider(self.world.store)
        self.provider = ChainedProvider(own, RulesProvider(self.evaluation, own), BY_NAME)

    def objects(self, path: str, query: str = "") -> ObjectValues:
        request = parse("GET", f"{G2}/{path}", query)
        assert isinstance(request, ObjectRequest)
        return self.provider.objects(request, NOW)

    def external(self, metric: str, query: str = "") -> dict[tuple[tuple[str, str], ...], float]:
        request = parse("GET", f"{E1}/namespaces/llm/{metric}", query)
        assert isinstance(request, ExternalRequest)
        found = self.provider.external(request, NOW)
        return {tuple(each.labels.items()): each.reading.value for each in found.items}


OF_POD = Asked("queue_length", POD, "llm", name="stranger")


def test_the_first_question_is_told_that_it_is_being_evaluated() -> None:
    chain = Chain()
    with pytest.raises(Unavailable, match=BEING_EVALUATED):
        chain.objects("namespaces/llm/pods/stranger/queue_length")
    assert chain.evaluation.asked == [OF_POD]


def test_then_the_value_comes_with_the_age_of_its_sample() -> None:
    chain = Chain()
    chain.evaluation.evaluated[OF_POD] = Evaluated(99.0, {"stranger": Reading(7.0, 70.0)}, number=3)
    answer = chain.objects("namespaces/llm/pods/stranger/queue_length")
    assert list(answer.items) == [(ObjectKey("llm", "stranger"), Reading(7.0, 70.0))]
    assert (answer.kind.kind, answer.kind.api_version, answer.revision) == ("Pod", "v1", "prometheus.3")


@pytest.mark.parametrize(
    ("evaluated", "words"),
    [
        (Evaluated(99.0, {"stranger": Reading(7.0, 30.0)}), "the sample of stranger is 70 s old, and used for 60 s"),
        (
            Evaluated(99.0, {"stranger": Reading(7.0, 30.0)}, cause="connection refused"),
            "70 s old, and used for 60 s; the last query failed: connection refused",
        ),
        (Evaluated(99.0, cause="timed out after 5 s"), "timed out after 5 s"),
        (Evaluated(99.0, unknown={"stranger": "no finite number"}), "stranger: no finite number"),
        (Evaluated(99.0), "gives no row for it"),
    ],
)
def test_an_unknown_value_says_why(evaluated: Evaluated, words: str) -> None:
    chain = Chain()
    chain.evaluation.evaluated[OF_POD] = evaluated
    with pytest.raises(Unavailable) as refused:
        chain.objects("namespaces/llm/pods/stranger/queue_length")
    assert words in str(refused.value)


def test_of_a_list_the_fresh_ones_are_answered() -> None:
    chain = Chain()
    asked = Asked("queue_length", POD, "llm", labels=Asked("", None, "").labels)
    readings = {"a": Reading(1.0, 90.0), "b": Reading(2.0, 10.0)}
    chain.evaluation.evaluated[asked] = Evaluated(99.0, readings)
    assert [key.name for key, _ in chain.objects("namespaces/llm/pods/*/queue_length").items] == ["a"]


def test_own_metrics_come_first() -> None:
    chain = Chain()
    assert values(chain.objects("namespaces/llm/pods/*/waiting_requests")) == {"a-0": 4.0, "a-1": 4.0}
    assert chain.evaluation.asked == []


def test_series_that_infscale_scrapes_are_answered_from_the_store() -> None:
    chain = Chain()
    answer = chain.objects("namespaces/llm/pods/*/vllm:num_requests_waiting")
    assert values(answer) == {"a-0": 4.0, "a-1": 4.0}
    assert not answer.revision.startswith("prometheus")
    assert chain.evaluation.asked == []


def test_what_the_store_does_not_know_is_asked_of_the_prometheus() -> None:
    chain = Chain()
    with pytest.raises(Unavailable) as refused:
        chain.objects("namespaces/llm/pods/*/DCGM_FI_DEV_FB_USED")
    assert BEING_EVALUATED in str(refused.value)
    assert "infscale's own scrapes: " in str(refused.value)
    # A selector of series is the Prometheus' alone.
    with pytest.raises(Unavailable, match=BEING_EVALUATED):
        chain.objects("namespaces/llm/pods/*/vllm:num_requests_waiting", "metricLabelSelector=a%3Db")
    assert [each.metric for each in chain.evaluation.asked] == ["DCGM_FI_DEV_FB_USED", "vllm:num_requests_waiting"]


def test_root_scoped_objects_are_asked_for_without_a_namespace() -> None:
    chain = Chain()
    for path in ("nodes/n/queue_length", "namespaces/llm/nodes/n/queue_length", "namespaces/llm/metrics/queue_length"):
        with pytest.raises(Unavailable):
            chain.objects(path)
    assert [(each.kind and each.kind.plural, each.namespace, each.name) for each in chain.evaluation.asked] == [
        ("nodes", "", "n"),
        ("nodes", "", "n"),
        ("namespaces", "", "llm"),
    ]


def test_what_neither_knows_is_not_found_so_that_another_adapter_is_asked() -> None:
    chain = Chain()
    with pytest.raises(NotFound, match=r"did you mean waiting_requests.*no rule of prometheus.adapter_rules"):
        chain.objects("namespaces/llm/pods/*/waiting_request")
    chain.evaluation.broken = "the series of rules[3] could not be read: timed out"
    with pytest.raises(NotFound, match=r"rules\[3\] could not be read: timed out"):
        chain.objects("namespaces/llm/pods/*/nothing")
    chain.evaluation.pending = "the series of rules[0] are being read"
    with pytest.raises(Unavailable, match="are being read"):
        chain.objects("namespaces/llm/pods/*/nothing")


def test_external_metrics_keep_their_labels() -> None:
    chain = Chain()
    asked = Asked("queue_length", None, "llm")
    sets = {(("a", "1"),): Reading(1.0, 90.0), (("a", "2"),): Reading(2.0, 95.0)}
    chain.evaluation.evaluated[asked] = Evaluated(99.0, label_sets=sets)
    assert chain.external("queue_length") == {(("a", "1"),): 1.0, (("a", "2"),): 2.0}
    # The HPA adds items up: a sum that lacks one of them is unknown.
    chain.evaluation.evaluated[asked] = Evaluated(99.0, label_sets={**sets, (("a", "3"),): Reading(1.0, 10.0)})
    with pytest.raises(Unavailable, match="a=3 is 90 s old"):
        chain.external("queue_length")
    chain.evaluation.evaluated[asked] = replace(
        chain.evaluation.evaluated[asked], label_sets=sets, unknown={"a=3": "?"}
    )
    with pytest.raises(Unavailable, match="a=3"):
        chain.external("queue_length")
