"""Findings as a picture: distributions of latencies, and what happened over time. Needs matplotlib (extra `demo`)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, PercentFormatter

from infscale.simulate.run_result import Floats, RunResult

_INK, _FAINT, _GRID = "#24292f", "#6e7781", "#e4e8ec"
_COLOURS = ("#0b7285", "#7048a8", "#c2571a", "#2b8a3e", "#a61e4d", "#5f5f5f", "#1864ab", "#e67700")
_POINTS = 400
_MOMENTS = 300


def plot(results: Sequence[RunResult], path: Path) -> None:
    """Write a PNG. Distributions are of all seeds together, what is over time of the first one.

    Raises `OSError` when it cannot be written.
    """
    figure = Figure(figsize=(15, 8.6), dpi=120, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 3)
    policies = list(dict.fromkeys(each.policy for each in results))
    colours = {policy: _COLOURS[place % len(_COLOURS)] for place, policy in enumerate(policies)}
    for axes, title, name in zip(
        above, ("Time to first token", "Time per output token", "Whole answer"), ("ttft", "tpot", "e2e"), strict=True
    ):
        _dress(axes, title, "seconds")
        for policy in policies:
            together = [
                getattr(each.requests, name)[each.requests.answered] for each in results if each.policy == policy
            ]
            _distribution(axes, np.concatenate(together), policy, colours[policy])
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    first = [next(each for each in results if each.policy == policy) for policy in policies]
    for axes, title in zip(below, ("Requests under way", "First token over time, p90", "Servers"), strict=True):
        _dress(axes, title, "seconds")
        for run in first:
            _OVER_TIME[title](axes, run, colours[run.policy])
    above[0].legend(frameon=False, fontsize=11)
    figure.savefig(path, format="png")


def _distribution(axes: Axes, seconds: Floats, name: str, colour: str) -> None:
    known = np.sort(seconds[~np.isnan(seconds)])
    if not len(known):
        return
    shares = np.linspace(0.0, 1.0, _POINTS)
    axes.plot(np.maximum(np.quantile(known, shares), 1e-4), shares, color=colour, linewidth=2, label=name)
    axes.set_xscale("log")
    _of_seconds(axes.xaxis)


def _under_way(axes: Axes, run: RunResult, colour: str) -> None:
    moments = np.linspace(0.0, run.seconds, _MOMENTS)
    arrived, ended = np.sort(run.requests.arrived), np.sort(run.requests.ended)
    count = np.searchsorted(arrived, moments, "right") - np.searchsorted(ended, moments, "right")
    axes.plot(moments, count, color=colour, linewidth=1.5)


def _late(axes: Axes, run: RunResult, colour: str) -> None:
    """The p90 of what arrived in each of thirty parts of the run."""
    table = run.requests
    edges = np.linspace(0.0, max(run.seconds, 1e-9), 31)
    parts = np.digitize(table.arrived, edges)
    known = ~np.isnan(table.ttft)
    times = [float(edges[part - 1]) for part in range(1, 31) if np.count_nonzero(known & (parts == part))]
    values = [
        float(np.quantile(table.ttft[known & (parts == part)], 0.9))
        for part in range(1, 31)
        if np.count_nonzero(known & (parts == part))
    ]
    axes.step(times, values, where="post", color=colour, linewidth=1.5)
    axes.set_yscale("log")
    _of_seconds(axes.yaxis)


def _replicas(axes: Axes, run: RunResult, colour: str) -> None:
    starts = np.sort([max(0.0, each.started_at) for each in run.servers])
    ends = np.sort([run.seconds if each.ended_at is None else each.ended_at for each in run.servers])
    moments = np.linspace(0.0, run.seconds, _MOMENTS)[:-1]
    count = np.searchsorted(starts, moments, "right") - np.searchsorted(ends, moments, "right")
    axes.step(moments, count, where="post", color=colour, linewidth=1.5)
    axes.set_ylim(0, None)


_OVER_TIME = {"Requests under way": _under_way, "First token over time, p90": _late, "Servers": _replicas}


def _of_seconds(axis: Axis) -> None:
    """Plain numbers at 1, 2 and 5."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:g}")


def _dress(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title, fontsize=13, color=_INK, loc="left")
    axes.set_xlabel(unit, fontsize=11, color=_FAINT)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.tick_params(colors=_FAINT, labelsize=11, length=0)
    for side in axes.spines.values():
        side.set_visible(False)
