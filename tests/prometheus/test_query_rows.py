"""Rows of queries of ours become readings of what they are of; what cannot be told is unknown."""

import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import ObjectKey
from infscale.metrics.sample import Reading
from infscale.prometheus.api_answer import Row
from infscale.prometheus.query_rows import Target, covers, of_pools, told
from infscale.prometheus.query_settings import QueryInstance, QueryLabels, QuerySettings
from infscale.prometheus.rules.evaluated_rows import Ages, of_objects

A, B = ObjectKey("llm", "a"), ObjectKey("llm", "b")
ALL = QueryInstance("q", None)


def settings(of: str = "pod", **labels: str) -> QuerySettings:
    return QuerySettings("m", "q", of, labels=QueryLabels(**labels))  # type: ignore[arg-type] # words of a table


def row(value: float = 1.0, /, **labels: str) -> Row:
    return Row(labels, value, 1_000.0)


@pytest.mark.parametrize(
    ("asked", "instance", "given_row", "target"),
    [
        (settings(), ALL, row(namespace="llm", pod="a"), (A, None)),
        (
            settings(namespace="exported_namespace", pod="exported_pod"),
            ALL,
            row(namespace="x", exported_namespace="llm", exported_pod="a"),
            (A, None),
        ),
        (settings(), QueryInstance("q", None, A), row(pod="p"), (ObjectKey("llm", "p"), None)),
        (settings("pool"), QueryInstance("q", None, A), row(), (A, None)),
        (settings("pool", pool="inference_pool"), ALL, row(namespace="llm", inference_pool="b"), (B, None)),
        (settings("model"), QueryInstance("q", None, A), row(model_name="m"), (A, "m")),
        (settings("model"), QueryInstance("q", None, A, "m"), row(), (A, "m")),
    ],
)
def test_a_row_is_of_what_its_labels_say(
    asked: QuerySettings, instance: QueryInstance, given_row: Row, target: Target
) -> None:
    assert told(asked, instance, [given_row], (), 50.0).readings == {target: Reading(1.0, 50.0)}


@pytest.mark.parametrize(
    ("asked", "rows", "problem"),
    [
        (settings(), [row(namespace="llm")], "a row has no label pod: namespace=llm"),
        (settings(), [row(pod="a")], "a row has no label namespace: pod=a"),
        (settings("model"), [row(namespace="llm", pool="a")], "a row has no label model_name"),
        (settings(), [row(math.nan, namespace="llm", pod="a")], "is no finite number"),
        (settings(), [row(namespace="llm", pod="a", x=x) for x in "ab"], "several rows are of llm/a: aggregate"),
    ],
)
def test_a_row_that_tells_nothing_is_said(asked: QuerySettings, rows: Sequence[Row], problem: str) -> None:
    found = told(asked, ALL, [*rows, row(7.0, namespace="llm", pod="b", pool="b", model_name="m")], (), 50.0)
    assert problem in (found.problem or "")
    assert [each.value for each in found.readings.values()] == [7.0], "the others are told"


def test_ages_are_those_of_samples_by_the_servers_clock() -> None:
    times = [Row({"pod": "a"}, 990.0, 1_000.0), Row({"pod": "b"}, 1_010.0, 1_000.0), Row({"pod": "c"}, math.nan, 1.0)]
    ages = Ages(times)
    assert [ages.of({"pod": pod, "x": "y"}) for pod in "abcd"] == [10.0, 0.0, 0.0, 0.0]
    assert Ages([*times, Row({}, 980.0, 1_000.0)]).of({"pod": "a"}) == 20.0, "the oldest counts"
    assert Ages([]).of({"pod": "a"}) == 0.0


@given(st.dictionaries(st.sampled_from("abc"), st.floats()), st.lists(st.sampled_from("abcd")))
def test_objects_have_a_finite_reading_or_none(values: Mapping[str, float], names: list[str]) -> None:
    rows = [Row({"pod": name}, value if math.isfinite(value) else math.nan, 1.0) for name, value in values.items()]
    found = of_objects(rows, (), "pod", names, 5.0)
    assert set(found.objects) | set(found.unknown) <= set(names)
    assert not set(found.objects) & set(found.unknown)
    assert all(math.isfinite(each.value) for each in found.objects.values())


def test_a_failing_instance_leaves_what_it_asks_for() -> None:
    of_a = QueryInstance("q", None, A)
    assert covers(settings("pool"), of_a, (A, None), ())
    assert not covers(settings("pool"), of_a, (B, None), ())
    assert covers(settings(), of_a, (ObjectKey("llm", "p"), None), [ObjectKey("llm", "p")])
    assert not covers(settings("model"), QueryInstance("q", None, A, "m"), (A, "n"), ())


def test_pools_have_what_is_theirs() -> None:
    pod = ObjectKey("llm", "a-0")
    reading = Reading(1.0, 2.0)
    of_pods = of_pools(settings(), {(pod, None): reading, (B, None): reading}, {A: [pod], B: []}, None)
    assert of_pods[A].pods == {pod: reading}
    assert of_pods[B].pods == {}
    of_models = of_pools(settings("model"), {(A, "m"): reading}, {A: [], B: []}, "late")
    assert (of_models[A].parts, of_models[A].failure, of_models[B].parts) == ({"m": reading}, "late", {})
