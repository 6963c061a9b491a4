"""Plain queries are recognised whole; of all others nothing is said."""

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.prometheus.rules.promql_shape import Condition, shape_of


@pytest.mark.parametrize(
    ("query", "aggregation", "by", "function", "timestamps"),
    [
        ("up", None, None, None, "timestamp(up{})"),
        (
            'sum(vllm:x{a="b",pod=~"b|c"}) by (pod)',
            "sum",
            ("pod",),
            None,
            'min by (pod) (timestamp(vllm:x{a="b",pod=~"b|c"}))',
        ),
        ("avg by(pod, ns) (x{})", "avg", ("pod", "ns"), None, "min by (pod,ns) (timestamp(x{}))"),
        ('max(rate(x{a=")}"}[5m]))', "max", None, "rate", 'min by () (timestamp(x{a=")}"}))'),
        ("rate(x[1m])", None, None, "rate", "timestamp(x{})"),
    ],
)
def test_plain_queries_are_recognised(
    query: str, aggregation: str | None, by: tuple[str, ...] | None, function: str | None, timestamps: str
) -> None:
    shape = shape_of(query)
    assert shape is not None
    assert (shape.aggregation, shape.by, shape.function, shape.timestamps) == (aggregation, by, function, timestamps)
    promql_parser.parse(shape.timestamps)


@pytest.mark.parametrize(
    "query",
    [
        "sum(x) / sum(y)",
        "sum(x) + 1",
        "x offset 5m",
        "sum(x offset 5m)",
        "x @ 5",
        "sum without (a) (x)",
        "sum(sum(x))",
        "histogram_quantile(0.9, x)",
        "count(x)",
        "x[5m]",
        "rate(x)",
        "rate(x[5m:1m])",
        "sum by (a) (x) by (b)",
        'x{a="b" or c="d"}',
        "-x",
        "(x)",
        "1",
        "",
        "x" * 20_000,
    ],
)
def test_of_other_queries_nothing_is_said(query: str) -> None:
    assert shape_of(query) is None


def test_conditions_are_unquoted() -> None:
    shape = shape_of(r"""x{a="b\"c",d!='e',}""")
    assert shape is not None
    assert shape.conditions == (Condition("a", "=", 'b"c'), Condition("d", "!=", "e"))


@given(st.text(alphabet=st.sampled_from("sumby x(){}[]=\"'~!,5m/+a:"), max_size=30))
def test_what_is_recognised_is_promql(query: str) -> None:
    shape = shape_of(query)
    if shape is not None and "by ()" not in shape.timestamps:
        promql_parser.parse(shape.timestamps)
