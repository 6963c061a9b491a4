"""The demo's plot: latency distributions and queues of both phases. Needs matplotlib (extra `demo`)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from infscale.sim.report import LoadSample, PhaseRecord

_INK, _FAINT, _GRID = "#24292f", "#6e7781", "#e4e8ec"
_COLOURS = {"round robin": "#c2571a", "infscale": "#0b7285"}
_LABEL_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)


def plot(round_robin: PhaseRecord, infscale: PhaseRecord, title: str, path: Path) -> None:
    """Write a PNG: distributions above, queues per endpoint over time below; raises `OSError` when it cannot."""
    phases = {"round robin": round_robin, "infscale": infscale}
    figure = Figure(figsize=(11, 7.4), dpi=144, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, 2)
    figure.suptitle(title, fontsize=13, color=_INK, x=0.02, ha="left", fontweight="bold")
    ttft, tpot, *queues = (axes for row in grid for axes in row)
    _distribution(ttft, phases, "ttft_seconds", "Time to first token")
    _distribution(tpot, phases, "tpot_seconds", "Time per output token")
    most = max((_deepest(phase.samples) for phase in phases.values()), default=1.0)
    for axes, (name, phase) in zip(queues, phases.items(), strict=True):
        _queues(axes, phase.samples, name, max(most, 1.0))
    figure.savefig(path, format="png")


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
    axes.legend(frameon=False, fontsize=9, labelcolor=_INK, loc="lower right")


def _queues(axes: Axes, samples: Sequence[LoadSample], name: str, most: float) -> None:
    _dress(axes, f"Waiting requests per endpoint: {name}")
    axes.set_ylim(0, most * 1.08)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.set_xlabel("seconds", fontsize=9, color=_FAINT)
    axes.set_ylabel("waiting requests", fontsize=9, color=_FAINT)
    if not samples:
        axes.text(0.5, 0.5, "not sampled", transform=axes.transAxes, ha="center", color=_FAINT)
        return
    times = [sample.at_seconds for sample in samples]
    axes.set_xlim(0, max(times[-1], 1.0))
    depths = np.array([[_known(one.waiting) for one in sample.endpoints] for sample in samples])
    for column in range(depths.shape[1]):
        axes.plot(times, depths[:, column], color=_COLOURS[name], linewidth=1.1, alpha=0.55)
    mean = np.nanmean(np.where(np.isnan(depths).all(axis=1, keepdims=True), 0.0, depths), axis=1)
    axes.plot(times, mean, color=_INK, linewidth=1.6, label="mean")
    axes.legend(frameon=False, fontsize=9, labelcolor=_INK, loc="upper right")


def _deepest(samples: Sequence[LoadSample]) -> float:
    return max((one.waiting for sample in samples for one in sample.endpoints if one.waiting is not None), default=0.0)


def _known(value: float | None) -> float:
    return np.nan if value is None else value


def _time_label(value: float, _: int) -> str:
    return _seconds(value)


def _share_label(value: float, _: int) -> str:
    return f"{value:.0%}"


def _seconds(value: float) -> str:
    return f"{value * 1000:g} ms" if value < 0.1 else f"{value:.3g} s"
