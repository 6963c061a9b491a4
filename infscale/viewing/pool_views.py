"""The pages of the whole store and of a pool."""

from typing import Final

from infscale.viewing.autoscaler_views import AUTOSCALER_COLUMNS, autoscaler_row
from infscale.viewing.endpoint_views import ENDPOINT_COLUMNS, endpoint_row, limit_words
from infscale.viewing.grid import (
    Cell,
    Column,
    Mark,
    Page,
    Row,
    Section,
    View,
    ViewKind,
    path_to,
    text_cell,
    told_cell,
    value_cell,
)
from infscale.viewing.model_views import MODEL_COLUMNS, model_row
from infscale.viewing.rollouts.rollout_views import ROLLOUT_COLUMNS, rollout_rows
from infscale.viewing.seen_documents import UNTOLD, PoolSeen, QueriedSeen, Seen
from infscale.viewing.shown_values import (
    IN_FLIGHT,
    KV,
    QUEUE_LATENCY,
    QUEUE_WAIT,
    QUEUED,
    RUNNING,
    SATURATION,
    TTFT,
    WAITING,
    WITHOUT_ENDPOINT,
    kv_mark,
    load_mark,
)
from infscale.viewing.trigger_views import TRIGGER_COLUMNS, trigger_rows
from infscale.viewing.words import STALE_SIGN, UNKNOWN, Write, count, counted, number, percent, seconds


def store_page(seen: Seen, view: View) -> Page:
    """The first page: every pool, every autoscaler, every trigger of KEDA and every rollout."""
    sections = [Section("pools", _POOL_COLUMNS, tuple(map(_pool_row, seen.pools)), "there is no pool")]
    facts = [
        f"{counted(len(seen.pools), 'pool')}, {counted(sum(len(each.endpoints) for each in seen.pools), 'endpoint')}"
    ]
    if seen.autoscalers is not None:
        rows = tuple(map(autoscaler_row, seen.autoscalers))
        sections.append(Section("autoscalers", AUTOSCALER_COLUMNS, rows, "no autoscaler is seen in the cluster"))
        if seen.autoscalers_left_out:
            facts.append(f"{counted(seen.autoscalers_left_out, 'more autoscaler')} not shown")
    else:
        facts.append("autoscalers are not known: this process has no adapter, or no cluster")
    if seen.triggers is not None:
        triggers = trigger_rows(seen.triggers)
        sections.append(Section("KEDA triggers", TRIGGER_COLUMNS, triggers, "KEDA has not asked about any"))
    if seen.rollouts:
        sections.append(Section("rollouts", ROLLOUT_COLUMNS, rollout_rows(seen.rollouts)))
    return Page(path_to(view), tuple(facts), tuple(sections))


_POOL_COLUMNS: Final = (
    Column("pool", right=False),
    Column("ready"),
    Column("fresh", spare=3),
    Column("full", spare=4),
    Column("age", spare=2),
    Column("waiting"),
    Column("running"),
    Column("in flight"),
    Column("held", spare=1),
    Column("held p90", spare=7),
    Column("KV"),
    Column("sat."),
    Column("queue p90"),
    Column("TTFT p90", spare=5),
    Column("no endpoint", spare=6),
)


def _pool_row(pool: PoolSeen) -> Row:
    ready = sum(each.ready for each in pool.endpoints)
    fresh = sum(each.fresh and each.ready for each in pool.endpoints)
    full = sum(each.saturated for each in pool.endpoints)
    told = pool.values.get
    kv, load = told(KV, UNTOLD), told(SATURATION, UNTOLD)
    refused = told(WITHOUT_ENDPOINT, UNTOLD)
    cells = (
        text_cell(pool.name),
        Cell(f"{ready}/{len(pool.endpoints)}", ready, Mark.PLAIN if ready else Mark.BAD),
        Cell(str(fresh), fresh, Mark.PLAIN if fresh == ready else Mark.WARNING),
        Cell(str(full), full, Mark.WARNING if full else Mark.PLAIN),
        _oldest(pool),
        told_cell(told(WAITING, UNTOLD), count),
        told_cell(told(RUNNING, UNTOLD), count),
        told_cell(told(IN_FLIGHT, UNTOLD), count),
        told_cell(told(QUEUED, UNTOLD), count),
        told_cell(told(QUEUE_WAIT, UNTOLD), seconds),
        told_cell(kv, percent, kv_mark(kv.value)),
        told_cell(load, percent, load_mark(load.value)),
        told_cell(told(QUEUE_LATENCY, UNTOLD), seconds),
        told_cell(told(TTFT, UNTOLD), seconds),
        told_cell(refused, count, Mark.BAD if refused.value else Mark.PLAIN),
    )
    return Row(pool.name, cells, View(ViewKind.POOL, pool.name))


def _oldest(pool: PoolSeen) -> Cell:
    """The age of the oldest observation of a ready endpoint."""
    ages = [each.age_seconds for each in pool.endpoints if each.ready]
    known = [age for age in ages if age is not None]
    if not known or len(known) < len(ages):
        return value_cell(None, seconds, f"{len(ages) - len(known)} of {len(ages)} ready endpoints were never read")
    limit = pool.staleness_limit_seconds
    stale = limit is not None and max(known) > limit
    return value_cell(max(known), seconds, limit_words(pool), stale=stale)


def pool_page(seen: Seen, view: View) -> Page | None:
    """The page of a pool; None where it has gone."""
    pool = seen.pool(view.pool)
    if pool is None:
        return None
    limit, window = pool.staleness_limit_seconds, pool.window_seconds
    facts = [
        f"revision {pool.revision}, stale after {_or_unknown(limit, seconds)}, window {_or_unknown(window, seconds)}",
        _told_words(pool),
    ]
    if pool.models_left_out:
        facts.append(f"{counted(pool.models_left_out, 'more model')} not shown")
    if any(not each.fresh for each in pool.endpoints):
        facts.append(f"{STALE_SIGN} older than the staleness limit: not used")
    endpoints = tuple(endpoint_row(pool, each) for each in pool.endpoints)
    models = tuple(model_row(pool, name) for name in pool.by_model)
    sections = [
        Section("endpoints", ENDPOINT_COLUMNS, endpoints, "the pool has no endpoint"),
        Section("models", MODEL_COLUMNS, models, "no endpoint says which models it serves"),
    ]
    queries = tuple(row for name, said in pool.queried.items() for row in _query_rows(name, said))
    if queries:
        sections.append(Section("queries", _QUERY_COLUMNS, queries))
    scalers = _autoscalers_of(seen, pool)
    if scalers:
        sections.append(Section("autoscalers", AUTOSCALER_COLUMNS, scalers))
    triggers = trigger_rows(each for each in seen.triggers or () if each.pool == pool.name)
    if triggers:
        sections.append(Section("KEDA triggers", TRIGGER_COLUMNS, triggers))
    rollouts = rollout_rows(each for each in seen.rollouts if each.pool == pool.name)
    if rollouts:
        sections.append(Section("rollouts", ROLLOUT_COLUMNS, rollouts))
    return Page(path_to(view), tuple(facts), tuple(sections))


_QUERY_COLUMNS: Final = (
    Column("query", right=False),
    Column("of", right=False),
    Column("now"),
    Column("age"),
    Column("why", right=False, wraps=True),
)


def _query_rows(name: str, said: QueriedSeen) -> list[Row]:
    """What a query of a Prometheus said of the pool, its models or its pods; why it says nothing newer."""
    why = f"its last evaluation failed: {said.failure}" if said.failure else ""
    if not said.values:
        nothing = why or "it gives no value"
        unknown = value_cell(None, number, nothing)
        return [Row(name, (text_cell(name), text_cell(""), unknown, text_cell(""), text_cell(nothing)))]
    return [
        Row(
            f"{name} {of}",
            (
                text_cell(name),
                text_cell(of or "whole pool"),
                told_cell(told, number),
                value_cell(told.age_seconds, seconds),
                text_cell(why),
            ),
        )
        for of, told in said.values.items()
    ]


def _told_words(pool: PoolSeen) -> str:
    told = pool.values.get
    queue, ttft, load = told(QUEUE_LATENCY, UNTOLD), told(TTFT, UNTOLD), told(SATURATION, UNTOLD)
    words = (
        f"whole pool: saturation {_or_unknown(load.value, percent)}, queue p90 {_or_unknown(queue.value, seconds)}, "
        f"first token p90 {_or_unknown(ttft.value, seconds)}"
    )
    held, wait = told(QUEUED, UNTOLD).value, told(QUEUE_WAIT, UNTOLD).value
    if held is None:
        return words
    return f"{words}, {counted(int(held), 'request')} held in the picker, wait there p90 {_or_unknown(wait, seconds)}"


def _or_unknown(value: float | None, write: Write) -> str:
    return UNKNOWN if value is None else write(value)


def _autoscalers_of(seen: Seen, pool: PoolSeen) -> tuple[Row, ...]:
    """The autoscalers that ask for the pool by its name."""
    namespace, _, name = pool.name.partition("/")
    return tuple(
        autoscaler_row(each)
        for each in seen.autoscalers or ()
        if each.name.partition("/")[0] == namespace
        and any(metric.described == f"InferencePool/{name}" for metric in each.metrics)
    )
