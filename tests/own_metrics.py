"""Every metric and gauge there is, as the tables of docs/metrics.md; ``python -m tests.own_metrics`` renews them."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from adapter.server.stats import AdapterStats
from adapter.server.telemetry import AdapterCollector
from infscale.keda.scaler_counts import ScalerCollector, ScalerCounts
from infscale.metrics.gauges import ENGINE_GAUGES, EngineGauges
from infscale.metrics.published.catalogue import PUBLISHED, Aggregation
from infscale.metrics.store.metrics_store import MetricStore
from infscale.node_agent.agent import NodeView
from infscale.node_agent.page import NodeAgentCollector
from infscale.prometheus.evaluation import Counts
from infscale.rollouts.rollout_book import RolloutBook
from infscale.scrape.processes import ProcessStats
from infscale.serving.collecting import OF_ENDPOINTS, OF_LISTS
from infscale.serving.recorded.recording import RecordCollector, RecordCounts
from infscale.serving.sessions.keys_watch import KeysCollector
from infscale.sources.known_sources import SOURCES
from infscale.telemetry.own_process import ProcessCollector
from infscale.telemetry.rollout_metrics import RolloutCollector
from infscale.telemetry.source_metrics import (
    QUERY_WORDS,
    RULE_WORDS,
    DiscoveryCollector,
    ModelListsCollector,
    RuleQueriesCollector,
    ScrapeProcessesCollector,
    ScrapesCollector,
)
from infscale.telemetry.telemetry_server import StoreCollector
from picker.directing.billing.bills import Bills
from picker.directing.director import PoolDirector
from picker.directing.falling_back.fallback_books import FallbackBooks
from picker.directing.pool_directors import PoolDirectors
from picker.directing.watching.observed_director import ObservedDirector
from picker.flow.reference.flow_counts import FlowCounts
from picker.shadowing.shadow_books import ShadowBooks
from picker.telemetry.bill_metrics import BillCollector
from picker.telemetry.counts import PickerCollector, PortCollector, ReloadCollector, ReloadStats
from picker.telemetry.fallback_metrics import FallbackCollector
from picker.telemetry.flow_metrics import FlowCollector
from picker.telemetry.pool_averages import PoolAveragesCollector
from picker.telemetry.reference_counts import ReferenceCounts
from picker.telemetry.reference_flow_metrics import ReferenceFlowCollector
from picker.telemetry.reference_metrics import ReferenceCollector, ReferencePoolCollector
from picker.telemetry.shadow_metrics import ShadowCollector
from picker.transport.budget import Budget
from picker.transport.limits import LimitNotes

PAGE = Path(__file__).parent.parent / "docs" / "metrics.md"
SUFFIXES = {"counter": "_total"}


def _reference() -> Iterable[Collector]:
    store = MetricStore("s")
    directors = PoolDirectors(_director, None, store)
    counts = ReferenceCounts(directors, lambda _: False)
    durations = ObservedDirector(counts, lambda: 0.0).durations
    return (
        ReferenceCollector(counts, durations, directors, "1"),
        ReferencePoolCollector(store, lambda: 0.0),
        ReferenceFlowCollector(FlowCounts(), dict),
    )


def _director(_pool: object) -> PoolDirector:
    raise AssertionError("there is no pool")


def _picker() -> Iterable[Collector]:
    directors = PoolDirectors(_director, None, MetricStore("s"))
    durations = ObservedDirector(directors, lambda: 0.0).durations
    return (
        PickerCollector(directors, durations, int),
        FlowCollector(dict),
        BillCollector(Bills(MetricStore("s"))),
        FallbackCollector(FallbackBooks()),
        ShadowCollector(ShadowBooks(iter(()))),
        PortCollector(Budget(1, 1), LimitNotes().counts),
        ReloadCollector(ReloadStats("")),
        KeysCollector({}),
        RecordCollector(RecordCounts()),
        RolloutCollector(RolloutBook()),
    )


def _sources() -> Iterable[Collector]:
    words = (OF_ENDPOINTS, OF_LISTS, *(kind.words for kind in SOURCES))
    return (
        *(ScrapesCollector(each, dict) for each in words),
        ModelListsCollector(dict),
        ScrapeProcessesCollector(ProcessStats()),
        DiscoveryCollector(int),
        *(ScrapesCollector(each, dict) for each in (QUERY_WORDS, RULE_WORDS)),
        RuleQueriesCollector(lambda: Counts(0, 0, 0, 0)),
    )


SECTIONS: Mapping[str, Callable[[], Iterable[Collector]]] = {
    "Pools and endpoints": lambda: (StoreCollector(MetricStore("s"), lambda: 0.0),),
    "Scraping and discovery": _sources,
    "Node agent": lambda: (NodeAgentCollector(NodeView),),
    "Picker": _picker,
    "Averages for other pickers": lambda: (PoolAveragesCollector(MetricStore("s"), lambda: 0.0),),
    "Adapter": lambda: (AdapterCollector(AdapterStats()),),
    "KEDA": lambda: (ScalerCollector(ScalerCounts()),),
    "Process": lambda: (ProcessCollector(),),
    "The reference picker's names": _reference,
}


def _row(family: Metric) -> str:
    labels = ", ".join(f"`{each}`" for each in getattr(family, "_labelnames", ()))
    name = f"{family.name}{SUFFIXES.get(family.type, '')}"
    return f"| `{name}` | {family.type} | {labels or '–'} | {family.documentation} |"


def families(section: str) -> Iterable[Metric]:
    """The families of a section, each once."""
    return {family.name: family for collector in SECTIONS[section]() for family in collector.collect()}.values()


def _exported(section: str) -> list[str]:
    return ["| metric | type | labels | meaning |", "|---|---|---|---|", *map(_row, families(section))]


_WORDS = {Aggregation.MERGED: "merged"}


def _published() -> list[str]:
    rows = [
        f"| `{each.name}` | {each.unit} | {'yes' if each.per_model else ''} "
        f"| {_WORDS.get(each.aggregation, each.aggregation.value)} | {each.source.name} | {each.meaning} |"
        for each in PUBLISHED
    ]
    head = ["| name | unit | per model | of several endpoints | source | meaning |", "|---|---|---|---|---|---|"]
    return [*head, *rows]


def _gauges() -> list[str]:
    rows = [
        f"| `{key}` | `{gauge.published}` | {gauge.unit} | {gauge.meaning} |"
        for key, gauge in zip(EngineGauges._fields, ENGINE_GAUGES, strict=True)
    ]
    return ["| key | metric | unit | meaning |", "|---|---|---|---|", *rows]


def renewed(page: str) -> str:
    """The page with every table as it is now."""
    tables = {"Published metrics": _published(), "Gauges of engines": _gauges()}
    for section, lines in (tables | {section: _exported(section) for section in SECTIONS}).items():
        head, title, rest = page.partition(f"## {section}\n")
        own, following, others = rest.partition("\n## ")
        words = own.partition("\n|")[0]
        table = "\n".join(lines)
        page = f"{head}{title}{words}\n{table}\n{following}{others}"
    return page


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
