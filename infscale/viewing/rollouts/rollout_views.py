"""What pages show of rollouts."""

from collections.abc import Iterable, Mapping
from typing import Final

from infscale.viewing.grid import Cell, Column, Mark, Row, text_cell, value_cell
from infscale.viewing.rollouts.seen_rollouts import RolloutSeen
from infscale.viewing.words import count, number, percent

ROLLOUT_COLUMNS: Final = (
    Column("rollout", right=False),
    Column("pool", right=False, spare=3),
    Column("model", right=False, spare=4),
    Column("phase", right=False),
    Column("new"),
    Column("step", right=False, spare=2),
    Column("sent old", spare=6),
    Column("sent new", spare=5),
    Column("evidence", spare=1),
)
_MARKS: Final[Mapping[str, Mark]] = {
    "Completed": Mark.GOOD,
    "Held": Mark.WARNING,
    "RolledBack": Mark.BAD,
    "Aborted": Mark.WARNING,
}


def rollout_rows(rollouts: Iterable[RolloutSeen]) -> tuple[Row, ...]:
    """Rollouts among others."""
    return tuple(map(_row, rollouts))


def _row(rollout: RolloutSeen) -> Row:
    phase = f"{rollout.phase}, {rollout.reason}" if rollout.phase in _MARKS and rollout.reason else rollout.phase
    alarmed = rollout.evidence_ratio is not None and rollout.evidence_ratio >= 1.0
    cells = (
        text_cell(rollout.name),
        text_cell(rollout.pool),
        text_cell(rollout.model or "all"),
        text_cell(phase, _MARKS.get(rollout.phase, Mark.PLAIN)),
        value_cell(rollout.weight_ratio, percent, "its weight is not known"),
        text_cell(rollout.step),
        Cell(count(rollout.sent_old), rollout.sent_old),
        Cell(count(rollout.sent_new), rollout.sent_new),
        value_cell(rollout.evidence_ratio, number, "it has no test", mark=Mark.BAD if alarmed else Mark.PLAIN),
    )
    return Row(rollout.name, cells)
