"""The plot of a scenario: first tokens over time and as a distribution, what waits, and what it is about."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from infscale.demo.plot import FAINT, TICKS, dress, legend, second_ticks, seconds_label, wrapped
from infscale.demo.scenario_report import ScenarioReport
from infscale.demo.scenarios.scenario_plan import ScenarioPlan
from infscale.demo.scenarios.served import Served

_COLOURS = {"reference": "#7048a8", "infscale": "#0b7285"}
_CLASSES = {"interactive": ("o", 10, 0.75), "batch": ("x", 9, 0.3)}
_STEP_SECONDS = 0.1


def plot_scenario(report: ScenarioReport, path: Path) -> None:
    """Write a PNG. Raises `OSError` when it cannot be written."""
    figure = Figure(figsize=(15, 8.6), dpi=120, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    (over_time, distribution), (waiting, subject) = figure.subplots(2, 2)
    plan, served = report.plan, report.served()
    figure.suptitle(
        wrapped(f"Simulated servers, real Envoy: {plan.about}"), fontsize=14, color="#24292f", x=0.008, ha="left"
    )
    end = max((row.ended_at for rows in served.values() for row in rows), default=1.0)
    _over_time(over_time, served)
    _distribution(distribution, plan, served)
    _waiting(waiting, served, end)
    for axes in (over_time, waiting, subject):
        axes.set_xlim(0, end)
        axes.set_xlabel("seconds", fontsize=TICKS, color=FAINT)
    if plan.window_seconds:
        _shares(subject, report)
    elif plan.scaling is not None:
        _servers(subject, report)
    else:
        _moves(subject, report)
    _mark(plan, (over_time, waiting, subject))
    figure.savefig(path, format="png")


def _mark(plan: ScenarioPlan, panels: Sequence[Axes]) -> None:
    """What happens when: the end of the calm, requests for the empty pool, the restart."""
    for axes in panels:
        if plan.calm_seconds:
            axes.axvline(plan.calm_seconds, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
        for wake in plan.wakes:
            axes.axvline(wake, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
        if plan.restart[1] < float("inf"):
            axes.axvspan(*plan.restart, color="#f3f6f8", zorder=0)


def _over_time(axes: Axes, served: Mapping[str, Sequence[Served]]) -> None:
    dress(axes, "Time to first token, by when a request was sent")
    classes = sorted({row.request_class for rows in served.values() for row in rows}, reverse=True)
    values: list[float] = []
    for name, rows in served.items():
        for kind in classes:
            found = [(row.at, row.ttft) for row in rows if row.request_class == kind and row.ttft is not None]
            marker, size, alpha = _CLASSES.get(kind, ("o", 8, 0.6))
            label = name if len(classes) == 1 else f"{name}, {kind}"
            x, y = [at for at, _ in found], [wait for _, wait in found]
            values += y
            axes.scatter(x, y, s=size, marker=marker, alpha=alpha, color=_COLOURS[name], linewidths=0.8, label=label)
    if values:
        axes.set_yscale("log")
        second_ticks(axes.yaxis, min(values) * 0.9, max(values) * 1.1)
        axes.set_ylim(min(values) * 0.9, max(values) * 1.1)
    legend(axes, "best")


def _distribution(axes: Axes, plan: ScenarioPlan, served: Mapping[str, Sequence[Served]]) -> None:
    """Of interactive requests, alone as well where they were for a while."""
    beside = plan.calm_seconds > 0
    dress(axes, "Time to first token, interactive" if beside else "Time to first token")
    everything: list[float] = []
    for name, rows in served.items():
        parts = {f"{name}": [row for row in rows if row.at >= plan.calm_seconds]}
        if beside:
            parts = {
                f"{name}, beside batch": parts[name],
                f"{name}, alone": [r for r in rows if r.at < plan.calm_seconds],
            }
        for label, part in parts.items():
            waits = sorted(row.ttft for row in part if row.ttft is not None and row.request_class == "interactive")
            if not waits:
                continue
            everything += waits
            share = np.arange(1, len(waits) + 1) / len(waits)
            p90 = float(np.percentile(np.asarray(waits), 90))
            style = "dashed" if label.endswith("alone") else "solid"
            said = f"{label}, p90 {seconds_label(p90)}"
            axes.step(waits, share, where="post", color=_COLOURS[name], linewidth=2, linestyle=style, label=said)
            axes.plot([p90], [0.9], marker="o", markersize=6, color=_COLOURS[name])
    if everything:
        axes.axhline(0.9, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
        axes.set_xscale("log")
        second_ticks(axes.xaxis, min(everything) * 0.9, max(everything) * 1.1)
        axes.set_xlim(min(everything) * 0.9, max(everything) * 1.1)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylabel("share of requests", fontsize=TICKS, color=FAINT)
    legend(axes, "best")


def _waiting(axes: Axes, served: Mapping[str, Sequence[Served]], end: float) -> None:
    dress(axes, "Requests that wait for their first token, in the picker or in an engine")
    times, most = np.arange(0.0, end + _STEP_SECONDS, _STEP_SECONDS), 1
    for name, rows in served.items():
        came = np.sort([row.at for row in rows])
        left = np.sort([row.ended_at if row.first_at is None else row.first_at for row in rows])
        waiting = np.searchsorted(came, times, "right") - np.searchsorted(left, times, "right")
        axes.step(times, waiting, where="post", color=_COLOURS[name], linewidth=2, label=name)
        most = max(most, int(waiting.max()))
    axes.set_ylim(0, 1.3 * most)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    legend(axes, "upper left")


def _shares(axes: Axes, report: ScenarioReport) -> None:
    dress(axes, "Share of the tenant that came later, of the tokens of both")
    axes.axhline(0.5, color=FAINT, linewidth=0.8, label="its due while both wait")
    for name, found in report.figures().items():
        known = [(each.start + each.seconds / 2, each.share, each.contended) for each in found.shares]
        seen = [(at, share, contended) for at, share, contended in known if share is not None]
        middle, shares = [at for at, _, _ in seen], [share for _, share, _ in seen]
        axes.plot(middle, shares, color=_COLOURS[name], linewidth=2, label=name)
        both = [(at, share) for at, share, contended in seen if contended]
        at, share = [at for at, _ in both], [share for _, share in both]
        axes.scatter(at, share, s=60, color=_COLOURS[name], zorder=3, label=f"{name}, while both wait")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    legend(axes, "upper left")


def _servers(axes: Axes, report: ScenarioReport) -> None:
    dress(axes, "Servers that are ready, by what the picker's metrics ask for")
    most = 1
    for name, counts in report.servers().items():
        times = [each.at_seconds for each in counts]
        axes.step(times, [each.ready for each in counts], where="post", color=_COLOURS[name], linewidth=2, label=name)
        wanted = [each.staying for each in counts]
        axes.step(
            times, wanted, where="post", color=_COLOURS[name], linewidth=1, linestyle="dotted", label=f"{name}, wanted"
        )
        most = max(most, *wanted) if wanted else most
    axes.set_ylim(0, 1.5 * most)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    legend(axes, "upper left")


def _moves(axes: Axes, report: ScenarioReport) -> None:
    dress(axes, "Moves of sessions so far; shaded: the rolling restart")
    most = 1
    for name, found in report.figures().items():
        times = sorted(found.moved_at)
        most = max(most, len(times))
        label = f"{name}, at most {found.most_moves} of one session in the restart"
        axes.step([0.0, *times], range(len(times) + 1), where="post", color=_COLOURS[name], linewidth=2, label=label)
    axes.set_ylim(0, 1.3 * most)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    legend(axes, "upper left")
