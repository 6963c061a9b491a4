"""The demo's plot: latency distributions and queues of both phases. Needs matplotlib (extra `demo`)."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from infscale.sim.report import LoadSample, PhaseRecord

_INK, _FAINT, _GRID = "#24292f", "#6e7781", "#e4e8ec"
_TITLE_COLUMNS = 120
_UNKNOWN = "#d0d7de"
_SHADES = LinearSegmentedColormap.from_list("queue", ["#f3f6f8", "#f6c177", "#c2571a", "#5c1a0b"]).with_extremes(
    bad=_UNKNOWN
)
_COLOURS = {"round robin": "#c2571a", "infscale": "#0b7285"}
_LABEL_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


def plot(round_robin: PhaseRecord, infscale: PhaseRecord, title: str, path: Path) -> None:
    """Write a PNG: distributions above, queues per endpoint over time below; raises `OSError` when it cannot."""
    phases = {"round robin": round_robin, "infscale": infscale}
    figure = Figure(figsize=(11, 7.4), dpi=144, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, 2)
    figure.suptitle(_wrapped(title), fontsize=11.5, color=_INK, x=0.012, ha="left")
    ttft, tpot, *queues = (axes for row in grid for axes in row)
    _distribution(ttft, phases, "ttft_seconds", "Time to first token")
    _distribution(tpot, phases, "tpot_seconds", "Time per output token")
    scale = Normalize(0.0, max(4.0, *(_deepest(phase.samples) for phase in phases.values())))
    seconds = max(1.0, *(_last(phase.samples) for phase in phases.values()))
    for axes, (name, phase) in zip(queues, phases.items(), strict=True):
        shades = _queues(axes, phase.samples, name, scale, seconds)
        bar = figure.colorbar(shades, ax=axes, pad=0.01, aspect=30, ticks=MaxNLocator(integer=True, nbins=5))
        bar.outline.set_visible(False)
        bar.ax.tick_params(colors=_FAINT, labelsize=8, length=0)
    figure.savefig(path, format="png")


def _wrapped(title: str) -> str:
    return "\n".join(wrap(title[:1].upper() + title[1:], _TITLE_COLUMNS))


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10.5, color=_INK)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_FAINT, labelsize=9, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_GRID)


def _distribution(axes: Axes, phases: dict[str, PhaseRecord], measure: str, title: str) -> None:
    _dress(axes, title)
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
        axes.step(values, share, where="post", color=_COLOURS[name], linewidth=2, label=f"{name}, p90 {_seconds(p90)}")
        axes.plot([p90], [0.9], marker="o", markersize=5, color=_COLOURS[name])
    if not everything:
        axes.text(0.5, 0.5, "nothing measured", transform=axes.transAxes, ha="center", color=_FAINT)
        return
    axes.axhline(0.9, color=_FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
    axes.set_xscale("log")
    low, high = max(min(everything), 1e-3) * 0.9, max(everything) * 1.1
    axes.set_xlim(low, high)
    axes.set_xticks([second for second in _LABEL_SECONDS if low <= second <= high] or [low, high])
    axes.xaxis.set_major_formatter(FuncFormatter(_time_label))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(FuncFormatter(_share_label))
    axes.set_ylabel("share of requests", fontsize=9, color=_FAINT)
    axes.legend(frameon=False, fontsize=9, labelcolor=_INK, loc="best")


def _queues(axes: Axes, samples: Sequence[LoadSample], name: str, scale: Normalize, seconds: float) -> ScalarMappable:
    _dress(axes, f"Waiting requests per endpoint, {name}")
    axes.grid(visible=False)
    axes.set_xlabel("seconds", fontsize=9, color=_FAINT)
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
        axes.text(0.5, 0.5, "not sampled", transform=axes.transAxes, ha="center", color=_FAINT)
    return ScalarMappable(norm=scale, cmap=_SHADES)


def _depths(sample: LoadSample, names: Sequence[str]) -> list[float]:
    waiting = {one.endpoint: one.waiting for one in sample.endpoints}
    return [_known(waiting.get(name)) for name in names]


def _last(samples: Sequence[LoadSample]) -> float:
    return samples[-1].at_seconds if samples else 0.0


def _deepest(samples: Sequence[LoadSample]) -> float:
    return max((one.waiting for sample in samples for one in sample.endpoints if one.waiting is not None), default=0.0)


def _known(value: float | None) -> float:
    return np.nan if value is None else value


def _time_label(value: float, _: int) -> str:
    return _seconds(value)


def _share_label(value: float, _: int) -> str:
    return f"{value:.0%}"


def _seconds(value: float) -> str:
    """Three digits with the unit that suits them."""
    if value < 0.9995:
        return f"{value * 1000:.0f} ms" if value >= 0.0995 else f"{value * 1000:.3g} ms"
    return f"{value:.3g} s"
