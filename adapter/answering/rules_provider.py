"""Answers by the rules of prometheus-adapter, from memory: what they evaluate to is kept up in the background."""

from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

import numpy as np

from adapter.answering import refusals
from adapter.answering.provider import ExternalValue, ExternalValues, Kind, ObjectValues, Provider
from adapter.api.paths import ExternalRequest, MetricRequest, ObjectRequest
from adapter.errors import ApiError, NotFound, Unavailable
from infscale.endpoint import ObjectKey
from infscale.metrics.published.readings import Readings
from infscale.metrics.published.window_readers import Unknown
from infscale.metrics.sample import Reading
from infscale.prometheus.rules.asked_board import Asked, Evaluated
from infscale.prometheus.rules.evaluated_rows import shown
from infscale.prometheus.rules.object_kinds import POD, ObjectKind
from infscale.prometheus.rules.series_registry import SeriesRegistry

BEING_EVALUATED = "it is being evaluated; ask again in a moment"


class Evaluates(Protocol):
    """Rules at work."""

    @property
    def registry(self) -> SeriesRegistry:
        """The metrics there are."""
        ...

    @property
    def staleness_limit_seconds(self) -> float:
        """How old a value may be."""
        ...

    def undiscovered(self) -> str | None:
        """Why there may be more metrics in a moment; None: there are not."""
        ...

    def unreadable(self) -> str | None:
        """Why there may be more metrics once something is mended; None: there are not."""
        ...

    def ask(self, asked: Asked, now: float) -> Evaluated | None:
        """What is known of a question; None: nothing yet. It is evaluated from now on."""
        ...


class RulesProvider:
    """The `Provider` of what rules make; metrics of pods that infscale scrapes itself are `own`'s."""

    def __init__(self, evaluation: Evaluates, own: Provider) -> None:
        self._evaluation = evaluation
        self._own = own

    def makes(self, request: MetricRequest) -> bool:
        """Whether a rule makes what is asked for."""
        registry = self._evaluation.registry
        if isinstance(request, ObjectRequest):
            return registry.find(request.metric, request.resource.resource, request.resource.group) is not None
        return request.metric in registry.external

    def objects(self, request: ObjectRequest, now: float) -> ObjectValues:
        """See `Provider`."""
        registry = self._evaluation.registry
        found = registry.find(request.metric, request.resource.resource, request.resource.group)
        if found is None:
            raise self._none(request)
        kind, _ = found
        own = None if kind != POD or request.metric_labels.requirements else registry.own.get(request.metric)
        if own is None:
            return self._of_prometheus(request, kind, now)
        try:
            return _scaled(self._own.objects(replace(request, metric=own.metric), now), own.factor)
        except (NotFound, Unavailable) as missing:
            # These pods are in no pool, or infscale does not read them now: the Prometheus may.
            try:
                return self._of_prometheus(request, kind, now)
            except Unavailable as error:
                raise Unavailable(f"{error}; infscale's own scrapes: {missing}") from None

    def _of_prometheus(self, request: ObjectRequest, kind: ObjectKind, now: float) -> ObjectValues:
        namespace = request.namespace if kind.namespaced else ""
        name = request.wanted_name
        # The selector picks objects where no name does.
        labels = request.labels if name is None else Asked("", None, "").labels
        asked = Asked(request.metric, kind, namespace, name, labels, request.metric_labels)
        evaluated = self._asked(request, asked, now)
        fresh = {name: each for name, each in evaluated.objects.items() if self._is_fresh(each, now)}
        if not fresh:
            raise refusals.unavailable(request, self._why(evaluated, evaluated.objects, now))
        items = tuple((ObjectKey(namespace, name), each) for name, each in fresh.items())
        return ObjectValues(_kind(kind), items, f"prometheus.{evaluated.number}")

    def external(self, request: ExternalRequest, now: float) -> ExternalValues:
        """See `Provider`. Where a part of the items is unknown, so is the whole: the HPA adds them up."""
        if request.metric not in self._evaluation.registry.external:
            raise self._none(request)
        asked = Asked(request.metric, None, request.namespace, metric_labels=request.labels)
        evaluated = self._asked(request, asked, now)
        readings = {shown(dict(labels)): each for labels, each in evaluated.label_sets.items()}
        stale = {labels: each for labels, each in readings.items() if not self._is_fresh(each, now)}
        if stale or evaluated.unknown or not readings:
            raise refusals.unavailable(request, self._why(evaluated, stale or readings, now))
        items = tuple(ExternalValue(dict(labels), each) for labels, each in evaluated.label_sets.items())
        return ExternalValues(items, f"prometheus.{evaluated.number}")

    def _asked(self, request: MetricRequest, asked: Asked, now: float) -> Evaluated:
        evaluated = self._evaluation.ask(asked, now)
        if evaluated is None:
            raise refusals.unavailable(request, Unknown(BEING_EVALUATED))
        return evaluated

    def _is_fresh(self, reading: Reading, now: float) -> bool:
        return reading.age(now) <= self._evaluation.staleness_limit_seconds

    def _why(self, evaluated: Evaluated, readings: Mapping[str, Reading], now: float) -> Unknown:
        """Why there is no value: the first of what was said of it."""
        limit = self._evaluation.staleness_limit_seconds
        failed = "" if evaluated.cause is None else f"; the last query failed: {evaluated.cause}"
        old = {name: each for name, each in readings.items() if not self._is_fresh(each, now)}
        if old:
            name, reading = max(old.items(), key=lambda each: each[1].age(now))
            age = reading.age(now)
            words = f"the sample of {name} is {age:.0f} s old, and used for {limit:g} s"
            return Unknown(f"{words}{failed}", age)
        if evaluated.unknown:
            name, why = next(iter(evaluated.unknown.items()))
            return Unknown(f"{name}: {why}{failed}")
        return Unknown(evaluated.cause or "the rule's query gives no row for it: the Prometheus has no such series now")

    def _none(self, request: MetricRequest) -> ApiError:
        """No rule makes such a metric, as far as that is known."""
        undiscovered = self._evaluation.undiscovered()
        if undiscovered is not None:
            return refusals.unavailable(request, Unknown(undiscovered))
        return refusals.not_found(request, self.no_rule())

    def no_rule(self) -> str:
        """Why a metric is unknown to the rules."""
        unreadable = self._evaluation.unreadable()
        hint = "no rule of prometheus.adapter_rules makes it from the series there are"
        return hint if unreadable is None else f"{hint}, and {unreadable}"


class ChainedProvider:
    """infscale's own metrics first, by their `names`, then those of rules; a refusal says what is missing in both.

    infscale knows some metrics by the names of engines, too: a rule of such a name is meant before that.
    """

    def __init__(self, own: Provider, rules: RulesProvider, names: Collection[str]) -> None:
        self._own = own
        self._rules = rules
        self._names = frozenset(names)

    def objects(self, request: ObjectRequest, now: float) -> ObjectValues:
        """See `Provider`."""
        if request.metric not in self._names and self._rules.makes(request):
            return self._rules.objects(request, now)
        try:
            return self._own.objects(request, now)
        except NotFound as unknown:
            with self._also(unknown):
                return self._rules.objects(request, now)

    def external(self, request: ExternalRequest, now: float) -> ExternalValues:
        """See `Provider`."""
        if request.metric not in self._names and self._rules.makes(request):
            return self._rules.external(request, now)
        try:
            return self._own.external(request, now)
        except NotFound as unknown:
            with self._also(unknown):
                return self._rules.external(request, now)

    @contextmanager
    def _also(self, unknown: NotFound) -> Generator[None]:
        """Put behind the words of the first that the second does not know it either."""
        try:
            yield
        except NotFound:
            raise NotFound(f"{unknown}; {self._rules.no_rule()}") from None


def _kind(kind: ObjectKind) -> Kind:
    return Kind(kind.kind, kind.api_version)


def _scaled(values: ObjectValues, factor: float) -> ObjectValues:
    if factor == 1.0:
        return values
    found = Readings.of(values.items)
    scaled = Readings(found.objects, np.multiply(found.values, factor), found.at, found.windows)
    return replace(values, items=scaled)
