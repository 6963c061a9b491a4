"""The table of metrics: the published ones, and the queries and formulas that a configuration adds."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol

from infscale.documents.suggestions import short_list
from infscale.errors import FormulaError
from infscale.metrics.published.aliases import ALIASES, Alias, Aliases
from infscale.metrics.published.catalogue import PUBLISHED, Aggregation, Formula, PublishedMetric, carries_unit
from infscale.metrics.published.formula import operands, parse
from infscale.metrics.published.queried_readers import QueriedOfPods, QueriedOfPool, QuerySource

FORMULA_AGGREGATIONS = (Aggregation.WHOLE, Aggregation.MEAN, Aggregation.SUM)
"""How a formula may become the value of a group; the first unless something else is asked for."""

QUERY_AGGREGATIONS = (Aggregation.SUM, Aggregation.MEAN, Aggregation.HIGHEST)
"""How the values of a query may become one; the first unless something else is asked for."""

QueryOf = Literal["pool", "pod", "model"]
"""What the rows of a query are of."""

_NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,99}", re.ASCII)
_UNIT_PATTERN = re.compile(r"[a-z0-9_/]{0,40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class FormulaSettings:
    """A metric made of published ones, as a configuration writes it.

    `name` is in lower case with the unit in it, `formula` in the language of `infscale.metrics.published.formula`,
    `unit` empty where values have none, `meaning` for people. `aggregation` is one of `FORMULA_AGGREGATIONS`: the
    formula on the values of a group, or the mean or the sum of its values on single endpoints.
    """

    name: str
    formula: str
    unit: str = ""
    meaning: str = ""
    aggregation: Aggregation = Aggregation.WHOLE


class QueryDefinition(Protocol):
    """A metric whose values a query of a Prometheus gives, as a configuration writes it.

    `of` is what its rows are of; values of pods are aggregated by `aggregation`, those of several pools, too. A value
    is used until its sample is `staleness_limit_seconds` old.
    """

    @property
    def name(self) -> str:
        """Lower-case name with the unit in it."""
        ...

    @property
    def unit(self) -> str:
        """The unit of its values; empty where they have none."""
        ...

    @property
    def meaning(self) -> str:
        """What it says, for people."""
        ...

    @property
    def of(self) -> QueryOf:
        """What its rows are of."""
        ...

    @property
    def aggregation(self) -> Aggregation:
        """How values become one; one of `QUERY_AGGREGATIONS`."""
        ...

    @property
    def staleness_limit_seconds(self) -> float:
        """How old a sample may be."""
        ...


class MetricTable:
    """Metrics by name, in order: the published ones first. `aliases` are names by which others know some of them."""

    __slots__ = ("_aliases", "_metrics")

    def __init__(self, metrics: Iterable[PublishedMetric] = PUBLISHED, aliases: Aliases = ALIASES) -> None:
        self._metrics: Mapping[str, PublishedMetric] = MappingProxyType({metric.name: metric for metric in metrics})
        self._aliases = aliases

    @classmethod
    def of(
        cls,
        definitions: Iterable[FormulaSettings] = (),
        queries: Iterable[QueryDefinition] = (),
        aliases: Aliases = ALIASES,
    ) -> "MetricTable":
        """The published metrics, those of queries, and formulas of all of these.

        Raises `FormulaError` for a formula or query that is unusable, and for a name that is taken.
        """
        metrics = {metric.name: metric for metric in PUBLISHED}
        for query in queries:
            _check_free(query.name, metrics)
            metrics[query.name] = query_metric(query)
        operands = cls(metrics.values())
        for definition in definitions:
            _check_free(definition.name, metrics)
            metrics[definition.name] = formula_metric(definition, operands)
        return cls(metrics.values(), aliases)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name."""
        return tuple(self._metrics)

    def get(self, name: str) -> PublishedMetric | None:
        """The metric of that name; None when there is none."""
        return self._metrics.get(name)

    def called(self, name: str) -> PublishedMetric | Alias | None:
        """The metric of that name, or the one that others call so; an `Alias` where it is not answered under that name.

        None: nothing is called so.
        """
        metric = self._metrics.get(name)
        if metric is not None:
            return metric
        alias = self._aliases.get(name)
        return alias if alias is None or alias.why is not None else self._metrics[alias.metric]

    def near(self, name: str) -> str | None:
        """The name that `name` was most likely meant to be."""
        return next(iter(difflib.get_close_matches(name, self._metrics, n=1)), None)

    def __iter__(self) -> Iterator[PublishedMetric]:
        return iter(self._metrics.values())


_BUILT_IN = MetricTable()


def query_metric(definition: QueryDefinition) -> PublishedMetric:
    """The metric that `definition` describes; raises `FormulaError`, which begins with its name."""
    try:
        _check_words(definition)
    except FormulaError as error:
        raise FormulaError(f"{definition.name}: {error}") from error
    name, limit = definition.name, definition.staleness_limit_seconds
    source = QuerySource(
        "Prometheus",
        staleness_seconds=limit,
        per_pod=True,
        absence=f"the query {name} gives no value for the endpoints of {{pool}}",
        query=name,
    )
    reader = QueriedOfPods(name) if definition.of == "pod" else QueriedOfPool(name, limit)
    per_model = definition.of == "model"
    return PublishedMetric(
        name, definition.unit, definition.meaning, source, definition.aggregation, reader, per_model=per_model
    )


def formula_metric(definition: FormulaSettings, table: MetricTable = _BUILT_IN) -> PublishedMetric:
    """The metric that `definition` makes of those of `table`; raises `FormulaError`, which begins with its name."""
    try:
        _check_words(definition)
        if definition.aggregation not in FORMULA_AGGREGATIONS:
            words = ", ".join(each.value for each in FORMULA_AGGREGATIONS)
            raise FormulaError(f"a formula's aggregation is one of {words}")
        reader = _reader(definition.formula, table)
        _check_parts(reader, definition.aggregation)
    except FormulaError as error:
        raise FormulaError(f"{definition.name}: {error}") from error
    return PublishedMetric(
        definition.name,
        definition.unit,
        definition.meaning,
        min((operand.source for operand in reader.operands), key=lambda source: source.certainty),
        definition.aggregation,
        reader,
        per_model=any(operand.per_model for operand in reader.operands),
    )


def _check_parts(reader: Formula, aggregation: Aggregation) -> None:
    of_pool = next((operand.name for operand in reader.operands if operand.of_pool), None)
    if of_pool is not None and aggregation is not Aggregation.WHOLE:
        raise FormulaError(
            f"{of_pool} is a number of a whole pool, of which single pods have no part: "
            f"instead of aggregation {aggregation.value} use {Aggregation.WHOLE.value}"
        )


def _check_free(name: str, metrics: Mapping[str, PublishedMetric]) -> None:
    if name in metrics:
        raise FormulaError(f"{name}: there is a metric of that name, choose another")


def _check_words(definition: FormulaSettings | QueryDefinition) -> None:
    if not _NAME_PATTERN.fullmatch(definition.name):
        raise FormulaError("a metric's name has at most 100 lower-case letters, digits and _, a letter first")
    if not _UNIT_PATTERN.fullmatch(definition.unit):
        raise FormulaError("a unit has at most 40 lower-case letters, digits, _ and /")
    if not carries_unit(definition.name, definition.unit):
        part = "per_second" if definition.unit == "1/second" else definition.unit
        raise FormulaError(f"the name says its unit: end it in _{part}, or correct the unit")


def _reader(text: str, table: MetricTable) -> Formula:
    expression = parse(text)
    names = operands(expression)
    if not names:
        raise FormulaError("a formula reads at least one published metric")
    found: list[PublishedMetric] = []
    for name in names:
        metric = table.get(name)
        if metric is None:
            near = table.near(name)
            meant = f"did you mean {near}?" if near else f"published are {short_list(table.names)}"
            raise FormulaError(f"{name} is no published metric, {meant}")
        found.append(metric)
    return Formula(expression, tuple(found))
