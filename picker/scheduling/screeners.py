"""Screeners: which of the candidates a request has at all."""

from collections.abc import Sequence

from infscale.metrics.snapshot import IntArray
from picker.scheduling.plugin import SchedulingContext, Screener


def screened(screeners: Sequence[Screener], context: SchedulingContext, rows: IntArray) -> IntArray:
    """The rows that all of `screeners` leave, each asked about what the one before left."""
    for each in screeners:
        rows = each.screen(context, rows)
        if not len(rows):
            break
    return rows
