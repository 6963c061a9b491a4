"""The page of a model, and what the page of its pool shows of models."""

from typing import Final

from infscale.viewing.endpoint_views import VALUE_COLUMNS, endpoint_view, load_cells, load_columns
from infscale.viewing.grid import (
    Cell,
    Column,
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
from infscale.viewing.seen_documents import UNTOLD, ModelSeen, PoolSeen, Seen, Told
from infscale.viewing.shown_values import (
    IN_FLIGHT,
    QUEUE_LATENCY,
    QUEUE_WAIT,
    QUEUED,
    RUNNING,
    TTFT,
    WAITING,
    WRITERS,
)
from infscale.viewing.words import count, counted, number, seconds

_NOTHING_SAID: Final = ModelSeen(None, None)
MODEL_COLUMNS: Final = (
    Column("model", right=False),
    Column("endpoints"),
    Column("age", spare=1),
    Column("waiting"),
    Column("running"),
    Column("in flight"),
    Column("held", spare=3),
    Column("held p90", spare=4),
    Column("queue p90"),
    Column("TTFT p90", spare=2),
)


def model_row(pool: PoolSeen, name: str) -> Row:
    """A model among others of its pool."""
    told = pool.by_model[name].get
    waiting = told(WAITING, UNTOLD)
    serving = sum(each.serves(name) for each in pool.endpoints)
    cells = (
        text_cell(name),
        Cell(str(serving), serving),
        value_cell(waiting.age_seconds, seconds, waiting.cause),
        told_cell(waiting, count),
        told_cell(told(RUNNING, UNTOLD), count),
        told_cell(told(IN_FLIGHT, UNTOLD), count),
        told_cell(told(QUEUED, UNTOLD), count),
        told_cell(told(QUEUE_WAIT, UNTOLD), seconds),
        told_cell(told(QUEUE_LATENCY, UNTOLD), seconds),
        told_cell(told(TTFT, UNTOLD), seconds),
    )
    return Row(name, cells, View(ViewKind.MODEL, pool.name, name))


def model_page(seen: Seen, view: View) -> Page | None:
    """The page of a model; None where it has gone."""
    pool = seen.pool(view.pool)
    if pool is None or view.name not in pool.by_model:
        return None
    serving = [each for each in pool.endpoints if each.serves(view.name)]
    facts = (f"served by {counted(len(serving), 'endpoint')} of {len(pool.endpoints)}",)
    rows = tuple(
        Row(name, (text_cell(name), told_cell(told, WRITERS.get(name, number)), _told_age(told), text_cell(told.cause)))
        for name, told in pool.by_model[view.name].items()
    )
    loads = tuple(
        Row(
            each.name,
            (text_cell(each.name), *load_cells(pool, each, each.models.get(view.name, _NOTHING_SAID))),
            endpoint_view(pool, each),
        )
        for each in serving
    )
    sections = (
        Section("values", VALUE_COLUMNS, rows),
        Section("endpoints", load_columns("endpoint"), loads, "no endpoint says that it serves the model"),
    )
    return Page(path_to(view), facts, sections)


def _told_age(told: Told) -> Cell:
    if told.age_seconds is None:
        return text_cell("")
    return Cell(seconds(told.age_seconds), told.age_seconds)
