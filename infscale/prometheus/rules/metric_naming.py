"""From series to metrics of objects: filters, names, and which label names which object.

Source: pkg/naming/metric_namer.go, resource_converter.go and lister.go of prometheus-adapter.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from infscale.labels import Selector
from infscale.prometheus.rules.go_regex import GoRegex, expanded
from infscale.prometheus.rules.go_template import GoTemplate
from infscale.prometheus.rules.go_values import TemplateError
from infscale.prometheus.rules.label_matchers import MetricsQuery, QueryError, equal, of_selector, query
from infscale.prometheus.rules.object_kinds import NAMESPACE, ObjectKind, ObjectKinds

# What stands in a label's template for a part of it while it is turned round; no label has such characters.
_GROUP_MARK: Final = "\x01"
_RESOURCE_MARK: Final = "\x02"


@dataclass(frozen=True, slots=True)
class SeriesFilter:
    """Keeps series whose name matches, or with `negated` does not."""

    pattern: GoRegex
    negated: bool

    def keeps(self, series: str) -> bool:
        """Whether it keeps that one."""
        return (self.pattern.search(series) is None) == self.negated


@dataclass(frozen=True, slots=True)
class ObjectLabels:
    """Which labels of a rule's series name objects: by a template of the label, by overrides, or by both.

    With `namespaced` the label of the namespace is among the matchers of what is asked within one; False is heeded for
    external metrics alone, as in prometheus-adapter.
    """

    kinds: ObjectKinds
    overrides: Mapping[str, ObjectKind] = field(default_factory=dict[str, ObjectKind], hash=False)
    template: GoTemplate | None = None
    reversed_template: "re.Pattern[str] | None" = None
    namespaced: bool = True

    def kinds_of(self, labels: Iterable[str]) -> tuple[ObjectKind, ...]:
        """The kinds of objects that a series with these labels is about."""
        found = [self.kind_of(each) for each in labels]
        return tuple(dict.fromkeys(each for each in found if each is not None))

    def kind_of(self, label: str) -> ObjectKind | None:
        """The kind of object that a label names; None: it names none."""
        if label in self.overrides:
            return self.overrides[label]
        match = None if self.reversed_template is None else self.reversed_template.fullmatch(label)
        if match is None:
            return None
        parts = match.groupdict()
        group = parts.get("group")
        return self.kinds.find(parts.get("resource") or "", None if group is None else group.replace("_", "."))

    def label_of(self, kind: ObjectKind) -> str:
        """The label that names objects of a kind. Raises `QueryError`."""
        for label, named in self.overrides.items():
            if named == kind:
                return label
        if self.template is None:
            raise QueryError(f"the rule has no label for {kind}: give one in resources.overrides")
        try:
            label = self.template.filled({"Group": kind.group.replace(".", "_"), "Resource": kind.singular})
        except TemplateError as error:
            raise QueryError(f"resources.template: {error}") from None
        if not label:
            raise QueryError(f"resources.template makes no label for {kind}")
        return label


def reversed_template(template: GoTemplate) -> "re.Pattern[str]":
    """What reads group and resource back from a label that `template` made. Raises `TemplateError`."""
    written = template.filled({"Group": _GROUP_MARK, "Resource": _RESOURCE_MARK})
    if written.count(_RESOURCE_MARK) != 1 or written.count(_GROUP_MARK) > 1:
        raise TemplateError("a template of labels has <<.Resource>> once, and <<.Group>> at most once")
    pattern = re.escape(written)
    pattern = pattern.replace(re.escape(_GROUP_MARK), "(?P<group>.+?)")
    return re.compile(pattern.replace(re.escape(_RESOURCE_MARK), "(?P<resource>.+?)"))


@dataclass(frozen=True, slots=True)
class Naming:
    """What a rule calls a series: the part of its name that matches `pattern`, written as `form`."""

    pattern: GoRegex
    form: str

    def name_of(self, series: str) -> str | None:
        """The metric's name; None: the series has none by this rule."""
        match = self.pattern.search(series)
        return None if match is None else expanded(self.form, match) or None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: what it discovers, how that is called, and what is asked. `place` is where it is written."""

    number: int
    place: str
    series_query: str
    filters: tuple[SeriesFilter, ...]
    labels: ObjectLabels
    naming: Naming
    metrics_query: GoTemplate
    external: bool = False

    def __str__(self) -> str:
        return f"{'externalRules' if self.external else 'rules'}[{self.number}]"

    def keeps(self, series: str) -> bool:
        """Whether its filters keep a series."""
        return all(each.keeps(series) for each in self.filters)

    def query_of_objects(
        self, series: str, kind: ObjectKind, namespace: str, selector: Selector, names: Sequence[str]
    ) -> MetricsQuery:
        """What is asked for objects of a kind; `namespace` "" for root-scoped ones. Raises `QueryError`."""
        matchers = of_selector(selector)
        if namespace:
            matchers.append(equal(self.labels.label_of(NAMESPACE), [namespace]))
        label = self.labels.label_of(kind)
        matchers.append(equal(label, names))
        return query(self.metrics_query, series, matchers, (label,))

    def query_of_external(self, series: str, namespace: str, selector: Selector) -> MetricsQuery:
        """What is asked for an external metric. Raises `QueryError`."""
        matchers = of_selector(selector)
        if self.labels.namespaced and namespace:
            matchers.append(equal(self.labels.label_of(NAMESPACE), [namespace]))
        return query(self.metrics_query, series, matchers, ())
