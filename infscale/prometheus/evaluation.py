"""Rules at work: series are discovered, and what is asked for is evaluated, in the background and on a budget.

A question of an HPA is answered from memory; that it was asked has it evaluated from then on. A query that fails makes
its own values unknown, once these are old, and nothing else.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from infscale.labels import Selector
from infscale.periodic import Clock, FetchError, Outcome, Rounds, ScrapeHealth
from infscale.process.tasks import running
from infscale.prometheus.api_answer import Labels, Row, Unusable
from infscale.prometheus.prometheus_settings import AdapterRulesSettings
from infscale.prometheus.rules.asked_board import MAX_VALUES, Asked, AskedBoard, BoardPace, Evaluated
from infscale.prometheus.rules.evaluated_rows import of_label_sets, of_objects
from infscale.prometheus.rules.label_matchers import MetricsQuery, QueryError
from infscale.prometheus.rules.metric_naming import Rule
from infscale.prometheus.rules.object_kinds import ObjectKind
from infscale.prometheus.rules.promql_shape import shape_of
from infscale.prometheus.rules.rules_file import RulesFile
from infscale.prometheus.rules.series_registry import SeriesForm, SeriesRegistry, forms_of, registry

_RETRY_SECONDS: Final = 5.0
_MAX_NAMES: Final = 5_000

_log = logging.getLogger(__name__)


class Asks(Protocol):
    """A Prometheus server; `FetchError` where it does not answer."""

    async def instant(self, query: str) -> Sequence[Row]:
        """The rows of an instant query."""
        ...

    async def series(self, match: str, since_seconds: float) -> Sequence[Labels]:
        """The series of the last seconds that a selector matches."""
        ...


class NamesObjects(Protocol):
    """Knows the objects there are."""

    async def names(self, kind: ObjectKind, namespace: str, labels: Selector) -> Sequence[str]:
        """The names of the objects that `labels` select. Raises `FetchError` where that cannot be known."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """What rules take: a server, how many questions it is asked at a time, the objects there are, a clock."""

    server: Asks
    workers: int
    objects: NamesObjects
    clock: Clock


class Counts(NamedTuple):
    """What was asked of a Prometheus, and what HPAs keep being evaluated."""

    queries: int
    failures: int
    questions: int
    refused: int


class RuleEvaluation:
    """Evaluates `rules` while its context is open; guards what was discovered and what was asked."""

    def __init__(self, rules: RulesFile, settings: AdapterRulesSettings, means: Means) -> None:
        self.settings = settings
        self._means = means
        self._rules = rules
        self._board = AskedBoard(BoardPace(settings.interval_seconds))
        self._registry = SeriesRegistry()
        self._forms: dict[str, tuple[SeriesForm, ...]] = {}
        # The queries whose series are in the registry.
        self._registered: frozenset[str] = frozenset()
        self._rounds: dict[str, Rounds] = {}
        self._news = asyncio.Event()
        self._relist = asyncio.Event()
        self._stack = AsyncExitStack()
        # Discovery and evaluation together leave the server's other connections to queries.
        self._turns = asyncio.Semaphore(means.workers)
        self._queries = 0
        self._failures = 0

    async def __aenter__(self) -> Self:
        workers = [self._work() for _ in range(self._means.workers)]
        await self._stack.enter_async_context(running(self._discover(), *workers))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    # What readers see

    @property
    def registry(self) -> SeriesRegistry:
        """The metrics there are."""
        return self._registry

    @property
    def staleness_limit_seconds(self) -> float:
        """How old a value may be."""
        return self.settings.staleness_limit_seconds

    def undiscovered(self) -> str | None:
        """Why there may be more metrics in a moment: the series of a rule are read for the first time. None: all were.

        A rule whose series cannot be read holds up none but its own (`unreadable`).
        """
        for rule in self._rules.all:
            rounds = self._rounds.get(rule.series_query)
            if rule.series_query not in self._registered and (rounds is None or rounds.health.cause is None):
                return f"the series of {rule} ({rule.place}) are being read; ask again in a moment"
        return None

    def unreadable(self) -> str | None:
        """A rule whose series could never be read, and why; None: there is none."""
        for rule in self._rules.all:
            rounds = self._rounds.get(rule.series_query)
            if rule.series_query not in self._registered and rounds is not None and rounds.health.cause is not None:
                return f"the series of {rule} ({rule.place}) could not be read: {rounds.health.cause}"
        return None

    def ask(self, asked: Asked, now: float) -> Evaluated | None:
        """What is known of `asked`, which is evaluated from now on; None: nothing yet."""
        evaluated, is_news = self._board.ask(asked, now)
        if is_news:
            self._news.set()
        return evaluated

    def asked(self) -> Mapping[Asked, Evaluated | None]:
        """All that is evaluated, and what came of it."""
        return self._board.entries()

    def counts(self) -> Counts:
        """How much was asked so far."""
        return Counts(self._queries, self._failures, len(self._board), self._board.refused)

    def health(self) -> Mapping[str, ScrapeHealth]:
        """How discovering series goes, by rules."""
        found = {str(rule): self._rounds.get(rule.series_query) for rule in self._rules.all}
        return {name: rounds.health for name, rounds in found.items() if rounds is not None}

    def change(self, rules: RulesFile) -> None:
        """Evaluate `rules` from now on."""
        self._rules = rules
        self._relist.set()

    # Discovery

    async def _discover(self) -> None:
        while True:
            self._relist.clear()
            complete = await self._discover_all()
            relist = self.settings.relist_seconds
            await _elapsed_or(self._relist, relist if complete else min(relist, _RETRY_SECONDS))

    async def _discover_all(self) -> bool:
        """One look at the series of every rule; says whether all could be read."""
        # Rules may change meanwhile; of several with one query the first gives it its name.
        wanted = {rule.series_query: str(rule) for rule in reversed(self._rules.all)}
        self._forms = {query: forms for query, forms in self._forms.items() if query in wanted}
        self._rounds = {query: rounds for query, rounds in self._rounds.items() if query in wanted}
        left = list(wanted)
        outcomes: list[Outcome] = []

        async def look() -> None:
            while left:
                query = left.pop(0)
                is_new = query not in self._forms
                outcomes.append(await self._look(query, wanted[query]))
                if is_new and query in self._forms:
                    await self._register()

        async with asyncio.TaskGroup() as group:
            for _ in range(self._means.workers):
                group.create_task(look())
        await self._register()
        return all(each is Outcome.DONE for each in outcomes)

    async def _look(self, query: str, rule: str) -> Outcome:
        rounds = self._rounds.setdefault(query, Rounds(f"the series of {rule}", self._means.clock, _nothing))

        async def observe(started: float) -> int:
            del started
            async with self._turns:
                series = await self._means.server.series(query, self.settings.series_seconds)
            self._forms[query] = forms_of(series)
            return len(series)

        return await rounds.run(observe, _LONGEST_SECONDS)

    async def _register(self) -> None:
        known = dict(self._forms)
        discovered = [(rule, known.get(rule.series_query, ())) for rule in self._rules.all]
        # In a thread: expressions are matched with what may be ten thousands of names.
        found = await asyncio.to_thread(registry, discovered)
        for each in set(found.overridden) - set(self._registry.overridden):
            _log.warning("a metric has several rules: %s", each)
        self._registry, self._registered = found, frozenset(known)

    # Evaluation

    async def _work(self) -> None:
        while True:
            now = self._means.clock()
            asked = self._board.take(now)
            if asked is None:
                self._news.clear()
                await _elapsed_or(self._news, min(self._board.next_due() - now, self.settings.interval_seconds))
                continue
            self._board.record(asked, await self._tried(asked))

    async def _tried(self, asked: Asked) -> Evaluated:
        at = self._means.clock()
        try:
            return await self._evaluated(asked)
        except (FetchError, QueryError) as error:
            self._failures += 1
            return Evaluated(at, cause=str(error))
        except Exception as error:
            # The top of the loop: what one question provokes must not end the others.
            self._failures += 1
            _log.exception("evaluating %s failed", asked)
            return Evaluated(at, cause=f"internal error ({type(error).__name__})")

    async def _evaluated(self, asked: Asked) -> Evaluated:
        if asked.kind is None:
            external = self._registry.external.get(asked.metric)
            if external is None:
                raise QueryError("no rule makes this metric any more")
            query = external.rule.query_of_external(external.series, asked.namespace, asked.metric_labels)
            rows, ages, at = await self._rows(query.text, _ages_of_external(query))
            return of_label_sets(rows, ages, at)
        found = self._registry.objects.get((asked.metric, asked.kind))
        if found is None:
            raise QueryError("no rule makes this metric any more")
        return await self._of_objects(asked, asked.kind, found.rule, found.series)

    async def _of_objects(self, asked: Asked, kind: ObjectKind, rule: Rule, series: str) -> Evaluated:
        names = [asked.name] if asked.name is not None else await self._named(asked, kind)
        namespace = asked.namespace if kind.namespaced else ""
        query = rule.query_of_objects(series, kind, namespace, asked.metric_labels, names)
        label = rule.labels.label_of(kind)
        rows, ages, at = await self._rows(query.text, f"min by ({label}) (timestamp({query.selector}))")
        return of_objects(rows, ages, label, names, at)

    async def _named(self, asked: Asked, kind: ObjectKind) -> Sequence[str]:
        names = await self._means.objects.names(kind, asked.namespace, asked.labels)
        if not names:
            raise FetchError(f"there are no {kind.plural} that the selector matches")
        if len(names) > _MAX_NAMES:
            raise FetchError(f"the selector matches more than {_MAX_NAMES} {kind.plural}")
        return names

    async def _rows(self, query: str, ages: str) -> tuple[Sequence[Row], Sequence[Row], float]:
        """The rows of two queries, and when they were asked for."""
        at = self._means.clock()
        rows = await self._counted(query)
        if len(rows) > MAX_VALUES:
            raise Unusable(f"it has {len(rows)} rows, at most {MAX_VALUES} are used")
        return rows, await self._counted(ages) if rows else (), at

    async def _counted(self, query: str) -> Sequence[Row]:
        async with self._turns:
            self._queries += 1
            return await self._means.server.instant(query)


_LONGEST_SECONDS: Final = 120.0
"""For one discovery, whose server has a limit of its own."""


def _ages_of_external(query: MetricsQuery) -> str:
    """What asks when the series behind an external metric were sampled: row by row, or the oldest of all of them."""
    shape = shape_of(query.text)
    return f"min(timestamp({query.selector}))" if shape is None else shape.timestamps


def _nothing(cause: str, at: float) -> None:
    """Failures of discovery are kept by its rounds alone."""
    del cause, at


async def _elapsed_or(event: asyncio.Event, seconds: float) -> None:
    """Wait for `event`, at most so long."""
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        return
