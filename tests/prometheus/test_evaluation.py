"""What is asked of rules is evaluated in the background; one failure is one question's alone."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from infscale.labels import Selector
from infscale.periodic import FetchError
from infscale.prometheus.api_answer import Labels, Row
from infscale.prometheus.evaluation import Means, RuleEvaluation
from infscale.prometheus.prometheus_settings import AdapterRulesSettings
from infscale.prometheus.rules.asked_board import Asked, Evaluated
from infscale.prometheus.rules.object_kinds import POD, ObjectKind
from infscale.prometheus.rules.rules_file import parse_rules

RULES = """
rules:
- seriesQuery: queue
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
- seriesQuery: broken
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: rate(<<.Series>>{<<.LabelMatchers>>})
externalRules:
- seriesQuery: queue
  resources: {overrides: {namespace: {resource: namespace}}}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) / 2
"""
SETTINGS = AdapterRulesSettings(Path(), relist_seconds=30.0, interval_seconds=0.05, staleness_limit_seconds=10.0)
OF_PODS = Asked("queue", POD, "llm", labels=Selector.parse("app=vllm"))
BROKEN = Asked("broken", POD, "llm", name="a")
EXTERNAL = Asked("queue", None, "llm")


@dataclass
class Server:
    """A Prometheus whose two pods were sampled 3 and 5 seconds before they are asked for."""

    failing: dict[str, str] = field(default_factory=dict[str, str])
    queries: list[str] = field(default_factory=list[str])

    async def instant(self, query: str) -> Sequence[Row]:
        self.queries.append(query)
        await asyncio.sleep(0)
        for part, cause in self.failing.items():
            if part in query:
                raise FetchError(cause)
        ages = {"a": 997.0, "b": 995.0}
        if query.startswith("min(timestamp("):
            return [Row({}, 995.0, 1_000.0)]
        if "timestamp(" in query:
            return [Row({"pod": pod}, at, 1_000.0) for pod, at in ages.items()]
        if "/ 2" in query:
            return [Row({}, 3.5, 1_000.0)]
        return [Row({"pod": "a"}, 3.0, 1_000.0), Row({"pod": "b"}, 4.0, 1_000.0), Row({"pod": "z"}, 9.0, 1_000.0)]

    async def series(self, match: str, since_seconds: float) -> Sequence[Labels]:
        assert since_seconds == 600.0
        if match in self.failing:
            raise FetchError(self.failing[match])
        return [{"__name__": match, "namespace": "llm", "pod": "a"}]


class Objects:
    async def names(self, kind: ObjectKind, namespace: str, labels: Selector) -> Sequence[str]:
        assert (kind, namespace) == (POD, "llm")
        return ("a", "b") if labels.matches({"app": "vllm"}) else ()


@asynccontextmanager
async def evaluating(server: Server, settings: AdapterRulesSettings = SETTINGS) -> AsyncGenerator[RuleEvaluation, None]:
    means = Means(server, 2, Objects(), time.monotonic)
    async with RuleEvaluation(parse_rules(RULES, "rules.yaml"), settings, means) as evaluation:
        await until(lambda: evaluation.undiscovered() is None)
        yield evaluation


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def evaluated(
    evaluation: RuleEvaluation, asked: Asked, fits: Callable[[Evaluated], bool] = lambda _: True
) -> Evaluated:
    found: list[Evaluated] = []

    def known() -> bool:
        each = evaluation.ask(asked, time.monotonic())
        found[:] = [each] if each is not None and fits(each) else []
        return bool(found)

    await until(known)
    return found[0]


def ages(readings: Mapping[str, object], evaluated_at: float) -> dict[str, int]:
    return {name: round(evaluated_at - each.at) for name, each in readings.items()}  # type: ignore[attr-defined]


async def test_objects_that_a_selector_picks_are_evaluated_once_they_are_asked_for() -> None:
    server = Server()
    async with evaluating(server) as evaluation:
        assert server.queries == [], "what nothing asks for is not evaluated"
        assert evaluation.ask(OF_PODS, time.monotonic()) is None
        found = await evaluated(evaluation, OF_PODS)
        # Rows of objects that were not asked for are passed over; ages are those of the series.
        assert {name: each.value for name, each in found.objects.items()} == {"a": 3.0, "b": 4.0}
        assert ages(found.objects, found.at) == {"a": 3, "b": 5}
        assert server.queries[:2] == [
            'sum(queue{namespace="llm",pod=~"a|b"}) by (pod)',
            'min by (pod) (timestamp(queue{namespace="llm",pod=~"a|b"}))',
        ]
        later = await evaluated(evaluation, OF_PODS, lambda each: each.number > found.number)
        assert later.at > found.at


async def test_an_external_metric_is_as_old_as_the_oldest_series_behind_it() -> None:
    async with evaluating(Server()) as evaluation:
        found = await evaluated(evaluation, EXTERNAL)
        ((labels, reading),) = found.label_sets.items()
        assert (labels, reading.value, round(found.at - reading.at)) == ((), 3.5, 5)


async def test_a_failing_query_is_its_own_question_alone() -> None:
    server = Server(failing={"rate(broken": "HTTP status 400: bad_data"})
    async with evaluating(server) as evaluation:
        broken = await evaluated(evaluation, BROKEN)
        assert (broken.objects, broken.cause) == ({}, "HTTP status 400: bad_data")
        assert (await evaluated(evaluation, OF_PODS)).cause is None
        assert evaluation.counts().failures >= 1


async def test_values_stay_and_grow_old_while_the_server_is_gone() -> None:
    server = Server()
    async with evaluating(server) as evaluation:
        before = await evaluated(evaluation, OF_PODS)
        server.failing["queue"] = "connection refused"
        after = await evaluated(evaluation, OF_PODS, lambda each: each.cause is not None)
        assert after.cause == "connection refused"
        assert after.objects == before.objects or after.number > before.number
        server.failing.clear()
        assert (await evaluated(evaluation, OF_PODS, lambda each: each.cause is None)).objects


async def test_a_rule_whose_series_cannot_be_read_holds_up_no_other() -> None:
    async with evaluating(Server(failing={"broken": "timed out after 5 s"})) as evaluation:
        assert (await evaluated(evaluation, OF_PODS)).objects
        assert evaluation.unreadable() == (
            "the series of rules[1] (rules.yaml:6) could not be read: timed out after 5 s"
        )
        assert {rule: each.cause for rule, each in evaluation.health().items()} == {
            "rules[0]": None,
            "rules[1]": "timed out after 5 s",
            "externalRules[0]": None,
        }


async def test_a_selector_that_matches_nothing_is_said() -> None:
    async with evaluating(Server()) as evaluation:
        found = await evaluated(evaluation, replace(OF_PODS, labels=Selector.parse("app=other")))
        assert found.cause == "there are no pods that the selector matches"


async def test_changed_rules_are_discovered_at_once() -> None:
    async with evaluating(Server()) as evaluation:
        assert evaluation.registry.find("renamed", "pods", "") is None
        evaluation.change(parse_rules(RULES.replace("- seriesQuery: queue\n", "- seriesQuery: renamed\n", 1), "f"))
        await until(lambda: evaluation.registry.find("renamed", "pods", "") is not None)


class HeldServer(Server):
    """Holds every question until it is let go; `under_way` is how many are held, `most` how many ever were."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()
        self.under_way = self.most = 0

    async def held(self) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.let_go.wait()
        self.under_way -= 1

    async def instant(self, query: str) -> Sequence[Row]:
        await self.held()
        return await super().instant(query)

    async def series(self, match: str, since_seconds: float) -> Sequence[Labels]:
        await self.held()
        return await super().series(match, since_seconds)


async def test_discovering_and_evaluating_ask_so_many_at_a_time_together() -> None:
    server = HeldServer()
    server.let_go.set()
    many = "rules:\n" + "".join(
        f"- {{seriesQuery: s{each}, resources: {{template: <<.Resource>>}}, metricsQuery: 'sum(<<.Series>>)'}}\n"
        for each in range(8)
    )
    means = Means(server, 2, Objects(), time.monotonic)
    async with RuleEvaluation(parse_rules(many, "rules.yaml"), SETTINGS, means) as evaluation:
        await until(lambda: evaluation.undiscovered() is None)
        server.let_go.clear()
        server.most = 0
        for each in range(8):
            evaluation.ask(Asked(f"s{each}", POD, "llm", name="a"), time.monotonic())
        await until(lambda: server.under_way == 2)
        evaluation.change(parse_rules(many.replace("seriesQuery: s", "seriesQuery: t"), "rules.yaml"))
        for _ in range(100):
            await asyncio.sleep(0)
        server.let_go.set()
        await until(lambda: evaluation.registry.find("t7", "pods", "") is not None)
        assert server.most == 2
