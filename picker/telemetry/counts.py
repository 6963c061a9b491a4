"""The picker's counts as Prometheus metrics, read when they are asked for."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from infscale.telemetry.histogram import Histogram
from picker.directing.director_books import DirectorStats
from picker.directing.pool_directors import PoolDirectors
from picker.telemetry.metric_families import filled
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
        "requests that were sent to an endpoint, by how they ended: completed, aborted by the client, evicted, error",
        "outcome",
        lambda stats: stats.outcomes,
    ),
    ("responses", "answers of endpoints, by the class of their HTTP status", "status", lambda stats: stats.responses),
    (
        "prompt_tokens",
        "estimated prompt tokens dispatched, by whether the endpoint was believed to have them cached",
        "cached",
        lambda stats: {"yes": stats.matched_tokens, "no": stats.prompt_tokens - stats.matched_tokens},
    ),
    (
        "session_requests",
        "requests that belong to a session, by what became of that when they were sent: new, kept, moved",
        "outcome",
        lambda stats: stats.session_requests,
    ),
    (
        "session_moves",
        "sessions that went on at another endpoint, by why they left theirs",
        "reason",
        lambda stats: stats.session_moves,
    ),
    (
        "session_tokens_refused",
        "session tokens that were worth nothing, so that their requests began new sessions, by why",
        "reason",
        lambda stats: stats.session_tokens_refused,
    ),
)
_UNREAD = (
    "answers of endpoints that the gateway showed and that have a content-encoding, so that their token usage is not "
    "read and the length of answers not learned"
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
        yield filled(
            CounterMetricFamily,
            "infscale_picker_config_reloads",
            "changes of the picker's configuration file, by outcome",
            ["outcome"],
            ((["applied"], stats.applied), (["refused"], stats.refused)),
        )
        yield filled(
            GaugeMetricFamily,
            "infscale_picker_config_info",
            "1, for the version in force of the picker's configuration file, by the first digits of its SHA-256",
            ["sha256"],
            [([stats.digest], 1.0)],
        )


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
        meaning = "how often each limit of the ext_proc port acted"
        acted = (([limit], count) for limit, count in self._counts.items())
        yield filled(CounterMetricFamily, "infscale_picker_limits", meaning, ["limit"], acted)


class PickerCollector(Collector):
    """`infscale_picker_*`: what the directors decided and how exchanges ended, per pool."""

    def __init__(self, directors: PoolDirectors, durations: Histogram, written_off: Callable[[], int]) -> None:
        self._directors = directors
        self._durations = durations
        self._written_off = written_off

    def collect(self) -> Iterator[Metric]:
        """Every family, from the counts as they are now."""
        pools = {str(key): stats for key, stats in self._directors.stats().items()}
        for name, meaning, label, counts in _COUNTS:
            yield filled(
                CounterMetricFamily,
                f"infscale_picker_{name}",
                meaning,
                ["pool", label],
                (([pool, value], count) for pool, stats in pools.items() for value, count in counts(stats).items()),
            )
        refused = {"": self._directors.unplaced, **{pool: stats.rejections for pool, stats in pools.items()}}
        yield filled(
            CounterMetricFamily,
            "infscale_picker_rejections",
            "requests that the picker refused instead of naming an endpoint, by reason and HTTP status; "
            "pool is empty where the request was for an unknown pool",
            ["pool", "reason", "status"],
            (
                ([pool, reason.value, str(status)], count)
                for pool, rejections in refused.items()
                for (reason, status), count in rejections.items()
            ),
        )
        yield HistogramMetricFamily(
            "infscale_picker_decision_seconds",
            "time from a request that was read to the decision where it goes, or to its refusal",
            buckets=self._durations.buckets(),
            sum_value=self._durations.total,
        )
        meaning = "blocks of prompts that the picker's index of prefixes holds"
        blocks = (([pool], stats.prefix_blocks) for pool, stats in pools.items())
        yield filled(GaugeMetricFamily, "infscale_picker_prefix_blocks", meaning, ["pool"], blocks)
        meaning = "requests scheduled by what was in flight because no endpoint's load was known"
        blind = (([pool], stats.unknown_load) for pool, stats in pools.items())
        yield filled(CounterMetricFamily, "infscale_picker_unknown_load_picks", meaning, ["pool"], blind)
        meaning = "sessions with an id of their client whose endpoint the picker remembers"
        bindings = (([pool], stats.session_bindings) for pool, stats in pools.items())
        yield filled(GaugeMetricFamily, "infscale_picker_session_bindings", meaning, ["pool"], bindings)
        unread = (([pool], stats.unread_answers) for pool, stats in pools.items())
        yield filled(CounterMetricFamily, "infscale_picker_unread_answers", _UNREAD, ["pool"], unread)
        yield CounterMetricFamily(
            "infscale_picker_written_off_charges",
            "requests that no longer count as in flight because their endpoint's metrics contradicted it",
            value=self._written_off(),
        )
