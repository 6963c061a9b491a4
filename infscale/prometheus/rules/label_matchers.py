"""Label matchers and queries, as prometheus-adapter builds them from what an HPA asks for.

Source: pkg/naming/metrics_query.go of prometheus-adapter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from infscale.errors import InfscaleError
from infscale.labels import Operator, Requirement, Selector
from infscale.prometheus.rules.go_template import GoTemplate
from infscale.prometheus.rules.go_values import TemplateError, go_quoted

MAX_QUERY_CHARACTERS: Final = 262_144


class QueryError(InfscaleError):
    """What is asked for makes no query; the message says why."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on a label, and the label's values as templates see them."""

    label: str
    sign: str
    value: str
    shown: str

    def __str__(self) -> str:
        return f"{self.label}{self.sign}{go_quoted(self.value)}"


@dataclass(frozen=True, slots=True)
class MetricsQuery:
    """One query of a rule: its text and, of the series behind it, the selector and the labels it groups by."""

    text: str
    selector: str
    group_by: tuple[str, ...]


def equal(label: str, values: Sequence[str]) -> Matcher:
    """The label has one of `values`, which are not escaped: in a regular expression a dot stands for any character."""
    joined = "|".join(values)
    return Matcher(label, "=" if len(values) < 2 else "=~", joined, joined)


_ONE: Final = {
    Operator.EQUALS: "=",
    Operator.IN: "=",
    Operator.NOT_EQUALS: "!=",
    Operator.NOT_IN: "!=",
}
_MANY: Final = {Operator.IN: "=~", Operator.NOT_IN: "!~"}
_NONE: Final = {Operator.EXISTS: "!=", Operator.DOES_NOT_EXIST: "="}


def of_requirement(requirement: Requirement) -> Matcher:
    """The matcher of one condition of a metric selector. Raises `QueryError`."""
    signs = (_NONE, _ONE, _MANY)[min(len(requirement.values), 2)]
    sign = signs.get(requirement.operator)
    if sign is None:
        raise QueryError(f"a metric selector with {requirement.operator.value} cannot be asked of a Prometheus")
    value = "|".join(requirement.values)
    return Matcher(requirement.key, sign, value, value)


def of_selector(selector: Selector) -> list[Matcher]:
    """The matchers of a metric selector, in its order. Raises `QueryError`."""
    return [of_requirement(each) for each in selector.requirements]


def query(template: GoTemplate, series: str, matchers: Sequence[Matcher], group_by: Sequence[str]) -> MetricsQuery:
    """What `template` makes of a series. Raises `QueryError` where that is nothing, or too long."""
    joined = ",".join(map(str, matchers))
    values: Mapping[str, str] = {each.label: each.shown for each in matchers}
    try:
        text = template.filled(
            {
                "Series": series,
                "LabelMatchers": joined,
                "LabelValuesByName": values,
                "GroupBy": ",".join(group_by),
                "GroupBySlice": tuple(group_by),
            }
        )
    except TemplateError as error:
        raise QueryError(f"metricsQuery: {error}") from None
    if not text:
        raise QueryError("metricsQuery makes an empty query")
    if len(text) > MAX_QUERY_CHARACTERS:
        raise QueryError(f"metricsQuery makes a query of more than {MAX_QUERY_CHARACTERS} characters: too many objects")
    return MetricsQuery(text, f"{series}{{{joined}}}", tuple(group_by))
