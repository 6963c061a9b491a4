"""The picker's counts as Prometheus metrics, read when they are asked for."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from infscale.endpoint import ObjectKey
from infscale.telemetry.histogram import Histogram
from picker.directing.director_books import DirectorStats
from picker.directing.pool_directors import PoolDirectors
from picker.request import Reason
from picker.transport.budget import Budget
from picker.transport.limits import Limit

_COUNTS: tuple[tuple[str, str, str, Callable[[DirectorStats], Mapping[str, float]]], ...] = (
    (
        "picks",
        "requests that the picker sent to an endpoint",
        "endpoint",
        lambda stats: {stats.names[each]: count for each, count in stats.picks.items() if each in stats.names},
    ),
    (
        "exchanges",
        "requests that the picker sent to an endpoint, by how they ended: completed, aborted by the client, error",
        "outcome",
        lambda stats: stats.outcomes,
    ),
    ("responses", "answers of endpoints, by the class of their HTTP status", "status", lambda stats: stats.responses),
    (
        "prompt_tokens",
        "estimated prompt tokens dispatched, by whether the endpoint was believed to have them cached",
        "cached",
        lambda stats: {
            "yes": stats.matched_tokens,
            "no": stats.prompt_tokens - stats.matched_tokens,
        },
    ),
)


@dataclass(slots=True)
class ReloadStats:
    """How following the file of the scheduling configuration goes.

    `digest` is that of the version in force: the first digits of the SHA-256 of the file. `succeeded` is whether the
    version that is in the file now is that one.
    """

    digest: str
    succeeded: bool = True
    applied: int = 0
    refused: int = 0


class ReloadCollector(Collector):
    """`infscale_picker_config_*`: which version of the file schedules, and what became of its changes."""

    def __init__(self, stats: ReloadStats) -> None:
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        stats = self._stats
        yield GaugeMetricFamily(
            "infscale_picker_config_last_reload_success",
            "1: the current content of the picker's configuration file is in force; 0: its last change was refused",
            value=float(stats.succeeded),
        )
        reloads = CounterMetricFamily(
            "infscale_picker_config_reloads",
            "changes of the picker's configuration file, by outcome",
            labels=["outcome"],
        )
        reloads.add_metric(["applied"], stats.applied)
        reloads.add_metric(["refused"], stats.refused)
        yield reloads
        version = GaugeMetricFamily(
            "infscale_picker_config_info",
            "1, for the version in force of the picker's configuration file, by the first digits of its SHA-256",
            labels=["sha256"],
        )
        version.add_metric([stats.digest], 1.0)
        yield version


class PortCollector(Collector):
    """What the ext_proc port holds of bodies, and how often its limits acted."""

    def __init__(self, budget: Budget, counts: Mapping[Limit, int]) -> None:
        self._budget = budget
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        yield GaugeMetricFamily(
            "infscale_picker_held_bytes",
            "memory that open exchanges hold: incoming bodies, answers that gateways have not read, headers",
            value=float(self._budget.held_bytes),
        )
        acted = CounterMetricFamily(
            "infscale_picker_limits", "how often each limit of the ext_proc port acted", labels=["limit"]
        )
        for limit, count in self._counts.items():
            acted.add_metric([limit], count)
        yield acted


class PickerCollector(Collector):
    """`infscale_picker_*`: what the directors decided and how exchanges ended, per pool."""

    def __init__(self, directors: PoolDirectors, durations: Histogram, written_off: Callable[[], int]) -> None:
        self._directors = directors
        self._durations = durations
        self._written_off = written_off

    def collect(self) -> Iterator[Metric]:
        """Every family, from the counts as they are now."""
        pools = self._directors.stats()
        for name, meaning, label, counts in _COUNTS:
            family = CounterMetricFamily(f"infscale_picker_{name}", meaning, labels=["pool", label])
            for pool, stats in pools.items():
                for value, count in counts(stats).items():
                    family.add_metric([str(pool), value], count)
            yield family
        yield self._rejections(pools)
        yield HistogramMetricFamily(
            "infscale_picker_decision_seconds",
            "time from a request that was read to the decision where it goes, or to its refusal",
            buckets=self._durations.buckets(),
            sum_value=self._durations.total,
        )
        blocks = GaugeMetricFamily(
            "infscale_picker_prefix_blocks",
            "blocks of prompts that the picker's index of prefixes holds",
            labels=["pool"],
        )
        for pool, stats in pools.items():
            blocks.add_metric([str(pool)], stats.prefix_blocks)
        yield blocks
        blind = CounterMetricFamily(
            "infscale_picker_unknown_load_picks",
            "requests scheduled by what was in flight because no endpoint's load was known",
            labels=["pool"],
        )
        for pool, stats in pools.items():
            blind.add_metric([str(pool)], stats.unknown_load)
        yield blind
        unread = CounterMetricFamily(
            "infscale_picker_unread_answers",
            "answers of endpoints that the gateway showed and that have a content-encoding, so that their token usage "
            "is not read and the length of answers not learned",
            labels=["pool"],
        )
        for pool, stats in pools.items():
            unread.add_metric([str(pool)], stats.unread_answers)
        yield unread
        yield CounterMetricFamily(
            "infscale_picker_written_off_charges",
            "requests that no longer count as in flight because their endpoint's metrics contradicted it",
            value=self._written_off(),
        )

    def _rejections(self, pools: Mapping[ObjectKey, DirectorStats]) -> Metric:
        family = CounterMetricFamily(
            "infscale_picker_rejections",
            "requests that the picker refused instead of naming an endpoint, by reason and HTTP status; "
            "pool is empty where the request was for an unknown pool",
            labels=["pool", "reason", "status"],
        )
        counted: dict[str, Mapping[tuple[Reason, int], int]] = {
            str(key): each.rejections for key, each in pools.items()
        }
        for pool, rejections in {"": self._directors.unplaced, **counted}.items():
            for (reason, status), count in rejections.items():
                family.add_metric([pool, reason.value, str(status)], count)
        return family
