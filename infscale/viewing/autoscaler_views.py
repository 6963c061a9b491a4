"""The page of an autoscaler, and what other pages show of autoscalers."""

from typing import Final

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
from infscale.viewing.seen_documents import UNTOLD, AutoscalerSeen, ScaledMetricSeen, Seen
from infscale.viewing.words import UNKNOWN, count, counted, number, seconds

AUTOSCALER_COLUMNS: Final = (
    Column("autoscaler", right=False),
    Column("scales", right=False, spare=3),
    Column("pods"),
    Column("wants"),
    Column("range", spare=2),
    Column("metric", right=False),
    Column("now"),
    Column("target"),
    Column("age", spare=1),
)


def autoscaler_row(scaler: AutoscalerSeen) -> Row:
    """An autoscaler among others."""
    leading = _leading(scaler)
    told = UNTOLD if leading is None else leading.told
    more = len(scaler.metrics) - 1
    name = "none of ours" if leading is None else leading.name + (f" +{more}" if more > 0 else "")
    cells = (
        text_cell(scaler.name),
        text_cell(scaler.target),
        value_cell(scaler.pods, count, "its target is not among the objects that are watched"),
        _wants(scaler),
        text_cell(_range(scaler)),
        text_cell(name),
        told_cell(told, number),
        text_cell(UNKNOWN if leading is None else _target(leading)),
        value_cell(told.age_seconds, seconds, told.cause),
    )
    return Row(scaler.name, cells, View(ViewKind.AUTOSCALER, "", scaler.name))


def _leading(scaler: AutoscalerSeen) -> ScaledMetricSeen | None:
    """The metric that asks for the most replicas, else the first."""
    return max(scaler.metrics, key=lambda metric: -1 if metric.replicas is None else metric.replicas, default=None)


def _wants(scaler: AutoscalerSeen) -> Cell:
    if scaler.replicas is None:
        cause = next((metric.told.cause for metric in scaler.metrics if metric.told.cause), "")
        return value_cell(None, count, cause or "its target, its bounds or its pods are not known")
    changes = scaler.pods is not None and scaler.replicas != scaler.pods
    return Cell(str(scaler.replicas), scaler.replicas, Mark.WARNING if changes else Mark.PLAIN)


def _range(scaler: AutoscalerSeen) -> str:
    if scaler.least is None or scaler.most is None:
        return UNKNOWN
    return f"{scaler.least}–{scaler.most}"


def _target(metric: ScaledMetricSeen) -> str:
    if not metric.target:
        return UNKNOWN
    return f"{metric.target} per pod" if metric.target_type == "AverageValue" else metric.target


def autoscaler_page(seen: Seen, view: View) -> Page | None:
    """The page of an autoscaler; None where it has gone."""
    scaler = next((each for each in seen.autoscalers or () if each.name == view.name), None)
    if scaler is None:
        return None
    pods = UNKNOWN if scaler.pods is None else counted(scaler.pods, "pod")
    wants = UNKNOWN if scaler.replicas is None else str(scaler.replicas)
    facts = [
        f"scales {scaler.target}, of which pools have {pods}, within {_range(scaler)} replicas",
        f"its metrics here make {wants}" + (f": {scaler.why}" if scaler.why else ""),
        *(f"not known here: {each}" for each in scaler.not_known),
    ]
    rows = tuple(_metric_row(str(place), metric) for place, metric in enumerate(scaler.metrics))
    section = Section("metrics", _METRIC_COLUMNS, rows, "it has no metric of a form that infscale answers")
    return Page(path_to(view), tuple(facts), (section,))


_METRIC_COLUMNS: Final = (
    Column("metric", right=False),
    Column("of", right=False),
    Column("now"),
    Column("target"),
    Column("age"),
    Column("makes"),
    Column("why", right=False, wraps=True),
)


def _metric_row(key: str, metric: ScaledMetricSeen) -> Row:
    of = metric.described or (f"{{{metric.selector}}}" if metric.form == "External" else f"{metric.items} pods")
    cells = (
        text_cell(metric.name),
        text_cell(of),
        told_cell(metric.told, number),
        text_cell(_target(metric)),
        value_cell(metric.told.age_seconds, seconds, metric.told.cause),
        value_cell(metric.replicas, count, metric.told.cause or "its target is not known"),
        text_cell(metric.told.cause or metric.why),
    )
    return Row(key, cells)
