"""The demo's plot: latencies, replicas wanted and queues of every phase. Needs matplotlib (extra `demo`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator, PercentFormatter

from infscale.demo.report import LoadSample, PhaseRecord
from infscale.metrics.gauges import known

_INK, FAINT, _GRID = "#24292f", "#6e7781", "#e4e8ec"
_TITLE_COLUMNS = 130
_WIDE = 50.0
_UNKNOWN = "#d0d7de"
_SHADES = LinearSegmentedColormap.from_list("queue", ["#f3f6f8", "#f6c177", "#c2571a", "#5c1a0b"]).with_extremes(
    bad=_UNKNOWN
)
_COLOURS = {"round robin": "#c2571a", "reference": "#7048a8", "infscale": "#0b7285"}
TICKS = 11
_LABEL_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
_FEW_LABELS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


def plot(phases: Mapping[str, PhaseRecord], title: str, replicas: int, path: Path) -> None:
    """Write a PNG: distributions and the replicas an HPA wants above, queues per endpoint over time below.

    `replicas` are running all the time. Raises `OSError` when it cannot be written.
    """
    figure = Figure(figsize=(15, 8.6), dpi=120, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.add_gridspec(2, 1, height_ratios=(1.08, 1))
    above, below = figure.add_subfigure(rows[0, 0]), figure.add_subfigure(rows[1, 0])
    ttft, tpot, wanted = above.subplots(1, 3)
    queues = below.subplots(1, len(phases), squeeze=False)[0]
    figure.suptitle(wrapped(title), fontsize=14, color=_INK, x=0.008, ha="left")
    seconds = max(1.0, *(_last(phase.samples) for phase in phases.values()))
    _distribution(ttft, phases, "ttft_seconds", "Time to first token")
    _distribution(tpot, phases, "tpot_seconds", "Time per output token")
    _replicas(wanted, phases, replicas, seconds)
    scale = Normalize(0.0, max(4.0, *(_deepest(phase.samples) for phase in phases.values())))
    shades = [
        _queues(axes, phase.samples, name, scale, seconds)
        for axes, (name, phase) in zip(queues, phases.items(), strict=True)
    ]
    bar = below.colorbar(shades[-1], ax=list(queues), pad=0.01, aspect=30, ticks=MaxNLocator(integer=True, nbins=5))
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=FAINT, labelsize=TICKS, length=0)
    bar.set_label("waiting requests", fontsize=TICKS, color=FAINT)
    figure.savefig(path, format="png")


def _replicas(axes: Axes, phases: Mapping[str, PhaseRecord], running: int, seconds: float) -> None:
    """What an HPA on the adapter's answers wants; the phases run on what there is all the same."""
    dress(axes, "Replicas an HPA would run")
    axes.axhline(running, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)), label=f"{running} are running")
    highest = running
    for name, phase in phases.items():
        if phase.wanted:
            times, counts = [one.at_seconds for one in phase.wanted], [one.replicas for one in phase.wanted]
            label = f"{name}, up to {max(counts)}"
            axes.step(times, counts, where="post", color=_COLOURS[name], linewidth=2, label=label)
            highest = max(highest, *counts)
    axes.set_xlim(0, seconds)
    axes.set_ylim(0, 1.5 * highest)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set_xlabel("seconds", fontsize=TICKS, color=FAINT)
    legend(axes, "upper left")


def legend(axes: Axes, where: Literal["upper left", "best"]) -> None:
    """A legend that hides what is behind it, where there is something to explain."""
    if not axes.get_legend_handles_labels()[0]:
        return
    legend = axes.legend(fontsize=TICKS, labelcolor=_INK, loc=where, framealpha=1.0, facecolor="white", edgecolor=_GRID)
    legend.set_zorder(10)


def wrapped(title: str) -> str:
    """The title of a whole picture, in lines."""
    return "\n".join(wrap(title[:1].upper() + title[1:], _TITLE_COLUMNS))


def dress(axes: Axes, title: str) -> None:
    """Give a panel its title and the looks of all panels."""
    axes.set_title(title, loc="left", fontsize=12.5, color=_INK)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT, labelsize=TICKS, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_GRID)


def _distribution(axes: Axes, phases: Mapping[str, PhaseRecord], measure: str, title: str) -> None:
    dress(axes, title)
    everything: list[float] = []
    for name, phase in phases.items():
        values = sorted(
            value for one in phase.outcomes if one.failure is None and (value := getattr(one, measure)) is not None
        )
        if not values:
            continue
        everything += values
        share = np.arange(1, len(values) + 1) / len(values)
        p90 = float(np.percentile(np.asarray(values), 90))
        axes.step(
            values, share, where="post", color=_COLOURS[name], linewidth=2, label=f"{name}, p90 {seconds_label(p90)}"
        )
        axes.plot([p90], [0.9], marker="o", markersize=6, color=_COLOURS[name])
    if not everything:
        axes.text(0.5, 0.5, "nothing measured", transform=axes.transAxes, ha="center", color=FAINT)
        return
    axes.axhline(0.9, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
    axes.set_xscale("log")
    low, high = max(min(everything), 1e-3) * 0.9, max(everything) * 1.1
    axes.set_xlim(low, high)
    second_ticks(axes.xaxis, low, high)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylabel("share of requests", fontsize=TICKS, color=FAINT)
    legend(axes, "best")


def second_ticks(axis: Axis, low: float, high: float) -> None:
    """Ticks of a logarithmic axis of seconds."""
    labels = _LABEL_SECONDS if high / low < _WIDE else _FEW_LABELS
    axis.set_ticks([second for second in labels if low <= second <= high] or [low, high])
    axis.set_major_formatter(FuncFormatter(_time_label))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _queues(axes: Axes, samples: Sequence[LoadSample], name: str, scale: Normalize, seconds: float) -> ScalarMappable:
    dress(axes, f"Waiting requests, {name}")
    axes.grid(visible=False)
    axes.set_xlabel("seconds", fontsize=TICKS, color=FAINT)
    axes.set_xlim(0, seconds)
    names = [one.endpoint for one in samples[-1].endpoints] if samples else []
    axes.set_yticks([row + 0.5 for row in range(len(names))], names)
    axes.set_ylim(max(len(names), 1), 0)
    if len(samples) > 1:
        edges = [*(sample.at_seconds for sample in samples), 2 * samples[-1].at_seconds - samples[-2].at_seconds]
        depths = np.array([_depths(sample, names) for sample in samples]).T
        axes.pcolormesh(edges, range(len(names) + 1), np.ma.masked_invalid(depths), cmap=_SHADES, norm=scale)
        for row in range(1, len(names)):
            axes.axhline(row, color="white", linewidth=1.5)
    else:
        axes.text(0.5, 0.5, "not sampled", transform=axes.transAxes, ha="center", color=FAINT)
    return ScalarMappable(norm=scale, cmap=_SHADES)


def _depths(sample: LoadSample, names: Sequence[str]) -> list[float]:
    waiting = {one.endpoint: one.waiting for one in sample.endpoints}
    return [known(waiting.get(name)) for name in names]


def _last(samples: Sequence[LoadSample]) -> float:
    return samples[-1].at_seconds if samples else 0.0


def _deepest(samples: Sequence[LoadSample]) -> float:
    return max((one.waiting for sample in samples for one in sample.endpoints if one.waiting is not None), default=0.0)


def _time_label(value: float, _: int) -> str:
    return seconds_label(value)


def seconds_label(value: float) -> str:
    """Three digits with the unit that suits them."""
    if value < 0.9995:
        return f"{value * 1000:.0f} ms" if value >= 0.0995 else f"{value * 1000:.3g} ms"
    return f"{value:.3g} s"
