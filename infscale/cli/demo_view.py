"""How a demo looks: a live view in a terminal, plain lines elsewhere, and the table at the end. Needs rich."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from infscale.cli.demo_hpa import Advice
from infscale.cli.demo_phase import PHASES, PhaseStatus
from infscale.planner.hpa import counted
from infscale.sim.report import MEASURES, DemoReport, EndpointLoad, PhaseSummary

_PLAIN_SECONDS = 5.0
_QUEUE_BAR = 12
_KV_BAR = 10
_GIB = 1024**3


class LiveView:
    """Redraws one screen part in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._live.stop()

    def show(self, status: PhaseStatus) -> None:
        """Redraw; of a phase that is over one line stays."""
        self._live.update(live(status), refresh=True)
        if status.over:
            self._live.console.print(plain_line(status), highlight=False)


class PlainView:
    """Prints a line every few seconds, for logs and scripts."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._due: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        return None

    def show(self, status: PhaseStatus) -> None:
        """Print, when it is time."""
        key = status.phase.key
        if status.over or status.elapsed_seconds >= self._due.get(key, 0.0):
            self._due[key] = status.elapsed_seconds + _PLAIN_SECONDS
            self._write(plain_line(status))
            if status.advice is not None:
                self._write(f"    {_desired(status.advice)}: {status.advice.recommendation.explanation}")


def plain_line(status: PhaseStatus) -> str:
    """How a phase stands, in one line."""
    waiting = [one.waiting for one in status.sample.endpoints if one.waiting is not None] if status.sample else []
    parts = [
        f"{status.phase.name} {status.elapsed_seconds:5.1f} s",
        f"{status.due} of {status.total} sent, {status.answered} answered, {status.failed} failed",
        f"waiting {sum(waiting):.0f}" if waiting else "",
        f"first token p50 {_latency(status.ttft.p50)}, p90 {_latency(status.ttft.p90)}",
        f"prefix hits {_percent(status.prefix_hit_ratio)}",
    ]
    return " · ".join(part for part in parts if part)


def live(status: PhaseStatus) -> RenderableType:
    """The live view of a running phase."""
    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(f"Phase {status.phase.number} of {len(PHASES)}: {status.phase.name}", style="bold cyan"),
        ProgressBar(total=status.total, completed=status.answered + status.failed, width=30),
        Text(f"{status.answered} of {status.total} answered"),
        Text(f"{status.failed} failed", style="bold red" if status.failed else "green"),
        Text(f"{status.elapsed_seconds:.0f} s"),
    )
    figures = Text.assemble(
        ("first token  ", "dim"),
        f"p50 {_latency(status.ttft.p50)}   p90 {_latency(status.ttft.p90)}   p99 {_latency(status.ttft.p99)}",
        ("      prefix hits  ", "dim"),
        _percent(status.prefix_hit_ratio),
    )
    parts: list[RenderableType] = [head, figures, _endpoints(status)]
    if status.advice is not None:
        parts += [Text(), _advice(status.advice)]
    return Panel(Group(*parts), title="infscale demo", title_align="left", border_style="dim", width=100)


def comparison(report: DemoReport) -> Table:
    """The table at the end: round robin and infscale side by side."""
    round_robin, infscale = PhaseSummary.of(report.round_robin.outcomes), PhaseSummary.of(report.infscale.outcomes)
    table = Table(title="Same traffic, twice", title_justify="left", title_style="bold", header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("round robin", justify="right", no_wrap=True)
    table.add_column("infscale", justify="right", style="bold", no_wrap=True)
    table.add_column("ratio", justify="right", no_wrap=True)
    for measure in MEASURES:
        theirs, ours = measure.read(round_robin), measure.read(infscale)
        ratio = measure.ratio(infscale, round_robin)
        better = ratio is not None and (ratio > 1 if measure.more_is_better else ratio < 1)
        style = "green" if better else ""
        table.add_row(
            measure.name,
            "unknown" if theirs is None else measure.write(theirs),
            "unknown" if ours is None else measure.write(ours),
            Text("–" if ratio is None else f"{ratio:.2f} ×", style=style),
        )
    return table


def _endpoints(status: PhaseStatus) -> Table:
    table = Table(expand=True, header_style="dim", border_style="dim", box=SIMPLE_HEAD, show_edge=False)
    table.add_column("endpoint")
    table.add_column("waiting")
    table.add_column("running", justify="right")
    table.add_column("KV cache")
    table.add_column("in flight", justify="right")
    table.add_column("GPU memory", justify="right")
    table.add_column("picks" if status.phase.picked else "answered", justify="right")
    if status.sample is None:
        return table
    deepest = max((one.waiting or 0.0 for one in status.sample.endpoints), default=0.0)
    for one in status.sample.endpoints:
        table.add_row(
            one.endpoint,
            _waiting(one, max(deepest, _QUEUE_BAR)),
            _count(one.running),
            _kv(one),
            # Round robin passes the picker by: what is in flight is not known to it.
            _count(one.in_flight) if status.phase.picked else "–",
            "–" if one.gpu_memory_bytes is None else f"{one.gpu_memory_bytes / _GIB:.0f} GiB",
            _picks(status, one),
        )
    return table


def _picks(status: PhaseStatus, one: EndpointLoad) -> str:
    """What the picker sent there: what ended and what has not; without a picker only what ended is known."""
    answered = status.answered_by.get(one.endpoint, 0)
    return f"{answered + (one.in_flight or 0.0 if status.phase.picked else 0.0):.0f}"


def _waiting(one: EndpointLoad, full: float) -> Text:
    if one.waiting is None:
        return Text("unknown", style="dim")
    style = "red" if one.waiting >= 4 else "yellow" if one.waiting >= 1 else "green"
    return Text(f"{one.waiting:3.0f} ", style=style) + Text("█" * round(_QUEUE_BAR * one.waiting / full), style=style)


def _kv(one: EndpointLoad) -> Text:
    if one.kv_utilization is None:
        return Text("unknown", style="dim")
    filled = round(_KV_BAR * min(max(one.kv_utilization, 0.0), 1.0))
    style = "red" if one.kv_utilization > 0.9 else "cyan"
    return (
        Text("█" * filled, style=style)
        + Text("░" * (_KV_BAR - filled), style="dim")
        + Text(f" {one.kv_utilization:4.0%}")
    )


def _advice(advice: Advice) -> Table:
    table = Table(expand=True, header_style="dim", border_style="dim", box=SIMPLE_HEAD, show_edge=False)
    table.add_column("the adapter answers", ratio=3)
    table.add_column("value", justify="right")
    table.add_column("target", justify="right")
    table.add_column("an HPA would run", justify="right")
    for answer in advice.answers:
        table.add_row(
            answer.metric if answer.value is not None else Text(answer.explanation, style="yellow"),
            answer.value or "–",
            answer.target,
            "–" if answer.replicas is None else str(answer.replicas),
        )
    table.caption = _desired(advice)
    return table


def _desired(advice: Advice) -> str:
    recommendation = advice.recommendation
    return f"HPA: {counted(recommendation.desired)} ({recommendation.reason})"


def _latency(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _count(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f}"
