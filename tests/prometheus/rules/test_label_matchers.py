"""Matchers select what the metric selector says, and cannot be broken out of."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.errors import SelectorError
from infscale.labels import Operator, Requirement, Selector
from infscale.prometheus.rules.go_template import GoTemplate
from infscale.prometheus.rules.label_matchers import QueryError, equal, of_requirement, of_selector, query

VALUES = st.from_regex(r"[a-c]([-a-c.]{0,3}[a-c])?", fullmatch=True)
REQUIREMENTS = st.tuples(
    st.sampled_from([each for each in Operator if each not in {Operator.GREATER_THAN, Operator.LESS_THAN}]),
    st.lists(VALUES, max_size=3),
)


def selects(sign: str, value: str, actual: str) -> bool:
    """What Prometheus says: expressions are anchored, and a label that is not there is empty."""
    match sign:
        case "=":
            return actual == value
        case "!=":
            return actual != value
        case "=~":
            return re.fullmatch(value, actual) is not None
        case _:
            return re.fullmatch(value, actual) is None


@given(REQUIREMENTS, st.none() | VALUES)
def test_a_matcher_selects_what_the_selector_does(made: tuple[Operator, list[str]], actual: str | None) -> None:
    try:
        requirement = Requirement("pod", made[0], tuple(made[1]))
    except SelectorError:
        return
    matcher = of_requirement(requirement)
    wanted = requirement.matches({} if actual is None else {"pod": actual})
    selected = selects(matcher.sign, matcher.value, actual or "")
    # Values are not escaped, so that a dot in one of several stands for any character: more may be selected, or less.
    if "." not in matcher.value or matcher.sign in {"=", "!="}:
        assert selected == wanted


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("a=b", 'a="b"'),
        ("a in (b)", 'a="b"'),
        ("a in (c,b)", 'a=~"b|c"'),
        ("a!=b", 'a!="b"'),
        ("a notin (b)", 'a!="b"'),
        ("a notin (b,c)", 'a!~"b|c"'),
        ("a", 'a!=""'),
        ("!a", 'a=""'),
        ("z=1,a=2", 'a="2",z="1"'),
    ],
)
def test_selectors_are_written_as_by_prometheus_adapter(selector: str, expected: str) -> None:
    assert ",".join(map(str, of_selector(Selector.parse(selector)))) == expected


def test_comparisons_are_refused() -> None:
    with pytest.raises(QueryError, match="cannot be asked"):
        of_selector(Selector.parse("a>1"))


@given(st.lists(st.text(max_size=6), min_size=1, max_size=3))
def test_names_stay_within_their_quotes(names: list[str]) -> None:
    written = str(equal("pod", names))
    assert re.fullmatch(r'pod=~?"(?:[^"\\\n]|\\.)*"', written)


def test_a_query_that_is_empty_or_too_long_is_refused() -> None:
    with pytest.raises(QueryError, match="empty query"):
        query(GoTemplate.parse("<<if .GroupBy>>x<<end>>"), "x", [], [])
    with pytest.raises(QueryError, match="too many objects"):
        query(GoTemplate.parse("<<.LabelMatchers>>"), "x", [equal("pod", ["p" * 250] * 1_100)], [])
    with pytest.raises(QueryError, match="no field"):
        query(GoTemplate.parse("<<.Nope>>"), "x", [], [])
