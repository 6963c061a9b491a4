"""The plot of a replay: the metrics above, replicas as recorded and as replayed below. Needs matplotlib."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from infscale.doctor.replay.replay_text import Replay

_INK, _FAINT, _GRID = "#24292f", "#6e7781", "#e4e8ec"
_COLOURS = ("#0b7285", "#c2571a")
_PANEL_INCHES = 1.9


def plot(replays: Sequence[Replay], metrics: Sequence[str], title: str, path: Path) -> None:
    """Write a PNG. Raises `OSError` when it cannot be written."""
    figure = Figure(figsize=(12, _PANEL_INCHES * (len(metrics) + 2)), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(metrics) + 1, 1, sharex=True, height_ratios=[*(1 for _ in metrics), 1.8], squeeze=False)
    figure.suptitle(title, fontsize=13, color=_INK, x=0.01, ha="left")
    panels = [each[0] for each in rows]
    syncs = replays[0].syncs
    times = [datetime.fromtimestamp(each.at, UTC) for each in syncs]
    for number, (axes, name) in enumerate(zip(panels, metrics, strict=False)):
        found = (each.values_milli[number] for each in syncs)
        # What is unknown is a gap in the line.
        values = [math.nan if each is None else each / 1000 for each in found]
        axes.step(times, values, where="post", color=_INK, linewidth=1.3)
        _dressed(axes, f"{name}, total")
    below = panels[-1]
    recorded = [math.nan if each.recorded is None else float(each.recorded) for each in syncs]
    below.step(times, recorded, where="post", color=_FAINT, linewidth=4.0, alpha=0.45, label="recorded")
    for replay, colour in zip(replays, _COLOURS, strict=False):
        counts = [each.replicas for each in replay.syncs]
        below.step(times, counts, where="post", color=colour, linewidth=1.5, label=replay.name)
    _dressed(below, "replicas")
    below.yaxis.set_major_locator(MaxNLocator(integer=True))
    # Above the panel, where no line is.
    below.legend(frameon=False, fontsize=9, labelcolor=_INK, ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0))
    ticks = AutoDateLocator()  # type: ignore[no-untyped-call]
    below.xaxis.set_major_locator(ticks)
    below.xaxis.set_major_formatter(ConciseDateFormatter(ticks))  # type: ignore[no-untyped-call]
    figure.savefig(path, format="png")


def _dressed(axes: Axes, name: str) -> None:
    axes.set_title(name, fontsize=10, color=_INK, loc="left")
    axes.set_ylim(bottom=0)
    axes.margins(y=0.15)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.tick_params(colors=_FAINT, labelsize=9, length=0)
    for each in axes.spines.values():
        each.set_visible(False)
