"""Queries of ours: what is asked of a Prometheus, and what its rows are of; pure code."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, get_args

from infscale.documents import values
from infscale.documents.problems import AlreadySaid
from infscale.documents.section import Section
from infscale.documents.strict_document import Field, quoted
from infscale.endpoint import ObjectKey
from infscale.errors import FormulaError
from infscale.metrics.published.catalogue import Aggregation
from infscale.metrics.published.metric_table import QUERY_AGGREGATIONS, MetricTable, QueryOf
from infscale.prometheus.rules.promql_shape import shape_of

MAX_QUERIES: Final = 200
MAX_INSTANCES: Final = 500
"""Of one query, for so many pools and models."""
_MAX_CHARACTERS: Final = 8_192
_PLACEHOLDER: Final = re.compile(r"\$\{([^}]*)\}")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_KINDS: Final[tuple[QueryOf, ...]] = get_args(QueryOf)
_KNOWN: Final = ("namespace", "pool", "model")
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "'": "\\'", "\n": "\\n"})


@dataclass(frozen=True, slots=True)
class QueryLabels:
    """The labels of rows that name what these are of."""

    namespace: str = "namespace"
    pod: str = "pod"
    pool: str = "pool"
    model: str = "model_name"


@dataclass(frozen=True, slots=True)
class QuerySettings:
    """One query and the metric it makes. `timestamps` is a query for when the samples behind its rows were taken.

    Both may have ``${namespace}``, ``${pool}`` and ``${model}`` in them, and are asked once for each then.
    """

    name: str
    query: str
    of: QueryOf = "pool"
    unit: str = ""
    meaning: str = "a query of a Prometheus"
    labels: QueryLabels = QueryLabels()
    aggregation: Aggregation = Aggregation.SUM
    interval_seconds: float = 15.0
    staleness_limit_seconds: float = 90.0
    timestamps: str | None = None
    server: str = ""

    @property
    def placeholders(self) -> frozenset[str]:
        """What of pools is filled into the query."""
        return frozenset(_PLACEHOLDER.findall(self.query))


@dataclass(frozen=True, slots=True)
class QueryInstance:
    """A query to ask, and for which pool and model; None: for all of them."""

    query: str
    timestamps: str | None
    pool: ObjectKey | None = None
    model: str | None = None


class Instances(NamedTuple):
    """What to ask of one query, and how many more there are than are asked."""

    asked: tuple[QueryInstance, ...]
    left_out: int

    @property
    def problem(self) -> str | None:
        """That some are left out, in words; None: all are asked."""
        if not self.left_out:
            return None
        every = len(self.asked) + self.left_out
        return (
            f"of {every} queries for pools and models {self.left_out} are left out, at most {MAX_INSTANCES} are asked"
        )


def instances(settings: QuerySettings, pools: Mapping[ObjectKey, Sequence[str]]) -> Instances:
    """What to ask where there are these pools, each with its models."""
    found: dict[tuple[str, str | None], QueryInstance] = {}
    wanted = settings.placeholders
    for pool, models in pools.items():
        for model in models if "model" in wanted else (None,):
            texts = [_filled(text, pool, model) for text in (settings.query, settings.timestamps)]
            query = texts[0] or ""
            # A query that names the namespace alone is one for all its pools.
            named = pool if "pool" in wanted or "model" in wanted else None
            found.setdefault(
                (query, None if named is None else str(named)), QueryInstance(query, texts[1], named, model)
            )
    asked = tuple(found.values())[:MAX_INSTANCES]
    return Instances(asked, len(found) - len(asked))


def _filled(text: str | None, pool: ObjectKey, model: str | None) -> str | None:
    if text is None:
        return None
    filling = {"namespace": pool.namespace, "pool": pool.name, "model": model or ""}
    # They stand in strings of PromQL.
    return _PLACEHOLDER.sub(lambda found: filling[found[1]].translate(_ESCAPES), text)


def timestamps_of(instance: QueryInstance) -> str | None:
    """What asks when the samples behind an instance's rows were taken; None: that cannot be told."""
    if instance.timestamps is not None:
        return instance.timestamps
    shape = shape_of(instance.query)
    return None if shape is None else shape.timestamps


def queries(server_of: Callable[[Section], str]) -> Callable[[Field], tuple[QuerySettings, ...]]:
    """A reader of queries, each of which makes a metric of its own; `server_of` says which server a section means."""

    def read(field: Field) -> tuple[QuerySettings, ...]:
        found: list[QuerySettings] = []

        def add(item: Field) -> None:
            settings = _query(item, server_of)
            try:
                MetricTable.of((), [*found, settings])
            except FormulaError as error:
                item.refuse(str(error))
            found.append(settings)

        if len(field.items()) > MAX_QUERIES:
            field.refuse(f"expected at most {MAX_QUERIES} queries")
        attempts = [item.attempt(add) for item in field.items()]
        if any(each.refused for each in attempts):
            raise AlreadySaid(field.place, field.path, "some queries are refused")
        return tuple(found)

    return read


def _query(field: Field, server_of: Callable[[Section], str]) -> QuerySettings:
    section = Section(field, QuerySettings, required=["name", "query"])
    default = QuerySettings("", "")
    name, query = section.attempt("name", Field.text), section.attempt("query", _promql)
    interval = section.get("interval_seconds", values.interval, default.interval_seconds)
    staleness = section.get("staleness_limit_seconds", values.interval, default.staleness_limit_seconds)
    if staleness < 2 * interval and section.sound("interval_seconds", "staleness_limit_seconds"):
        problem = f"expected at least 2 × interval_seconds ({interval:g}), got {staleness:g}"
        section.refuse(["staleness_limit_seconds", "interval_seconds"], problem)
    aggregations = tuple(each.value for each in QUERY_AGGREGATIONS)
    return QuerySettings(
        name.value,
        query.value,
        section.get("of", values.one_of(_KINDS), default.of),
        section.get("unit", lambda unit: unit.text(empty=True), default.unit),
        section.get("meaning", Field.text, default.meaning),
        section.get("labels", _labels, default.labels),
        Aggregation(section.get("aggregation", values.one_of(aggregations), default.aggregation.value)),
        interval,
        staleness,
        section.get("timestamps", _promql, None),
        server_of(section),
    )


def _promql(field: Field) -> str:
    text = field.text()
    if len(text) > _MAX_CHARACTERS:
        field.refuse(f"expected at most {_MAX_CHARACTERS} characters")
    for name in _PLACEHOLDER.findall(text):
        if name not in _KNOWN:
            field.refuse(f"there is no ${{{name}}}; there are {', '.join(f'${{{each}}}' for each in _KNOWN)}")
    return text


def _labels(field: Field) -> QueryLabels:
    section = Section(field, QueryLabels)
    default = QueryLabels()
    return QueryLabels(
        section.get("namespace", _label, default.namespace),
        section.get("pod", _label, default.pod),
        section.get("pool", _label, default.pool),
        section.get("model", _label, default.model),
    )


def _label(field: Field) -> str:
    text = field.text()
    if not _LABEL.fullmatch(text):
        field.refuse(f"expected the name of a label, got {quoted(text)}")
    return text
