"""The page of a trigger of KEDA, and what other pages show of triggers."""

from collections.abc import Iterable
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
from infscale.viewing.seen_documents import Seen, TriggerSeen
from infscale.viewing.words import UNKNOWN, counted, number, seconds

_NOT_ASKED: Final = "KEDA has not asked"

TRIGGER_COLUMNS: Final = (
    Column("KEDA trigger", right=False),
    Column("pool", right=False, spare=3),
    Column("metric", right=False),
    Column("now"),
    Column("target"),
    Column("age", spare=1),
    Column("active", right=False),
    Column("streams", spare=2),
)


def trigger_rows(triggers: Iterable[TriggerSeen]) -> tuple[Row, ...]:
    """Triggers among others."""
    return tuple(_trigger_row(name, each) for name, each in _named(triggers).items())


def _named(triggers: Iterable[TriggerSeen]) -> dict[str, TriggerSeen]:
    """Triggers by names that tell them apart, in the order of these."""
    named: dict[str, TriggerSeen] = {}
    for each in sorted(
        triggers, key=lambda each: (each.scaled_object, each.metric, each.pool, each.model, _target(each))
    ):
        of = f" of {each.model}" if each.model else ""
        name = f"{each.scaled_object} {each.metric}{of}"
        alike = sum(other == name or other.startswith(f"{name} #") for other in named)
        named[f"{name} #{alike + 1}" if alike else name] = each
    return named


def _trigger_row(name: str, trigger: TriggerSeen) -> Row:
    told = trigger.value
    cells = (
        text_cell(trigger.scaled_object),
        text_cell(trigger.pool.partition("/")[2] or "all"),
        text_cell(trigger.metric),
        told_cell(told, number) if told.age_seconds is not None else value_cell(None, number, _NOT_ASKED),
        text_cell(_target(trigger)),
        value_cell(told.age_seconds, seconds, _NOT_ASKED),
        _active(trigger),
        _streams(trigger),
    )
    return Row(name, cells, View(ViewKind.TRIGGER, "", name))


def _target(trigger: TriggerSeen) -> str:
    return UNKNOWN if trigger.target is None else number(trigger.target)


def _active(trigger: TriggerSeen) -> Cell:
    if trigger.active is None:
        return Cell(UNKNOWN, None, Mark.UNKNOWN, trigger.why_not_known or _NOT_ASKED)
    return text_cell("yes" if trigger.active else "no", Mark.GOOD if trigger.active else Mark.PLAIN)


def _streams(trigger: TriggerSeen) -> Cell:
    return Cell(str(trigger.streams), trigger.streams)


def trigger_page(seen: Seen, view: View) -> Page | None:
    """The page of a trigger; None where it has gone."""
    trigger = _named(seen.triggers or ()).get(view.name)
    if trigger is None:
        return None
    of = f"pool {trigger.pool}" if trigger.pool else "all pools of its namespace"
    model = f", model {trigger.model}" if trigger.model else ""
    facts = (f"ScaledObject {trigger.scaled_object} asks for {trigger.metric} of {of}{model}", _stream_words(trigger))
    told = trigger.value
    was_asked = told.age_seconds is not None
    rows = (
        Row(
            "value",
            (
                text_cell("value"),
                told_cell(told, number) if was_asked else value_cell(None, number, _NOT_ASKED),
                text_cell(_target(trigger)),
                value_cell(told.age_seconds, seconds, _NOT_ASKED),
                text_cell((told.cause or trigger.why) if was_asked else _NOT_ASKED),
            ),
        ),
        Row(
            "active",
            (
                text_cell("active"),
                _active(trigger),
                text_cell(""),
                value_cell(trigger.active_age_seconds, seconds, _NOT_ASKED),
                text_cell(trigger.why_not_known if trigger.active_age_seconds is not None else _NOT_ASKED),
            ),
        ),
    )
    return Page(path_to(view), facts, (Section("told to KEDA", _TOLD_COLUMNS, rows),))


_TOLD_COLUMNS: Final = (
    Column("what", right=False),
    Column("now"),
    Column("target"),
    Column("age"),
    Column("why", right=False, wraps=True),
)


def _stream_words(trigger: TriggerSeen) -> str:
    if trigger.streams:
        return f"{counted(trigger.streams, 'stream')} open: KEDA learns at once that it becomes active"
    return "no stream is open: KEDA polls (type external), or is not connected"
