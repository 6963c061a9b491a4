"""How a demo looks: a live view in a terminal, plain lines elsewhere, and the table at the end. Needs rich."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleDimensions, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from infscale.demo.asked_by_hpa import Advice
from infscale.demo.phase import Phase, PhaseStatus
from infscale.demo.report import MEASURES, DemoReport, EndpointLoad, PhaseSummary, seconds
from infscale.planner.hpa import counted

_PLAIN_SECONDS = 5.0
_FULL_QUEUE = 12
_GAP = 2
_FRAME = 4
_SHORTEST_BAR = 8
_QUEUE_NUMBER, _KV_NUMBER = 4, 5
# What stands beside the bars: queue and KV cache as numbers, four heads, six gaps.
_NUMBERS = _QUEUE_NUMBER + _KV_NUMBER + 7 + 9 + 10 + 8 + 6 * _GAP
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

    def starting(self, phase: Phase, what: str) -> None:
        """Say what is starting."""
        self._live.update(Text.assemble(_title(phase), ("  starting ", "dim"), what, ("  …", "dim")), refresh=True)

    def show(self, status: PhaseStatus) -> None:
        """Redraw; of a phase that is over one line stays."""
        self._live.update(live(status, self._console.size), refresh=True)
        if status.over:
            self._live.console.print(over_line(status), highlight=False)


class PlainView:
    """Prints a line every few seconds, for logs and scripts."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._due: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        return None

    def starting(self, phase: Phase, what: str) -> None:
        """Say once which phase is starting."""
        if phase.key not in self._due:
            self._due[phase.key] = 0.0
            self._write(f"phase {phase.number} of {phase.of}: {phase.name}: starting {what}, infscale and Envoy")

    def show(self, status: PhaseStatus) -> None:
        """Print, when it is time."""
        key = status.phase.key
        if status.over or status.elapsed_seconds >= self._due.get(key, 0.0):
            self._due[key] = status.elapsed_seconds + _PLAIN_SECONDS
            self._write(plain_line(status))
            if status.advice is not None:
                self._write(f"    {_desired(status.advice)}: {status.advice.recommendation.explanation}")


def over_line(status: PhaseStatus) -> str:
    """How a phase ended, short enough for a line of a terminal."""
    counts = f"{status.answered} answered in {status.elapsed_seconds:.0f} s, {status.failed} failed"
    return f"{status.phase.name}: {counts}, first token p90 {_latency(status.ttft.p90)}"


def plain_line(status: PhaseStatus) -> str:
    """How a phase stands, in one line."""
    waiting = [one.waiting for one in status.sample.endpoints if one.waiting is not None] if status.sample else []
    parts = [
        f"{status.phase.name} {status.elapsed_seconds:.1f} s",
        f"{status.answered} of {status.total} answered, {status.failed} failed",
        f"waiting {sum(waiting):.0f}" if waiting else "",
        f"first token p50 {_latency(status.ttft.p50)}, p90 {_latency(status.ttft.p90)}",
        f"prefix hits {_percent(status.prefix_hit_ratio)}",
    ]
    return " · ".join(part for part in parts if part)


def _title(phase: Phase) -> Text:
    return Text(f"Phase {phase.number} of {phase.of}: {phase.name}", style="bold cyan")


def live(status: PhaseStatus, screen: ConsoleDimensions) -> RenderableType:
    """The live view of a running phase, as large as the screen."""
    title = _title(status.phase)
    counts = f"{status.answered} of {status.total} answered"
    failed = Text(f"{status.failed} failed", style="bold red" if status.failed else "green")
    elapsed = f"{status.elapsed_seconds:.0f} s"
    inside = screen.width - _FRAME
    room = inside - len(title.plain) - len(counts) - len(failed.plain) - len(elapsed) - 4 * _GAP
    head = Table.grid(padding=(0, _GAP, 0, 0))
    done = ProgressBar(total=status.total, completed=status.answered + status.failed, width=max(room, 1))
    head.add_row(title, *([done] if room >= _SHORTEST_BAR else []), counts, failed, elapsed)
    figures = Text.assemble(
        ("first token  ", "dim"),
        f"p50 {_latency(status.ttft.p50)}   p90 {_latency(status.ttft.p90)}   p99 {_latency(status.ttft.p99)}",
        ("      prefix hits  ", "dim"),
        _percent(status.prefix_hit_ratio),
    )
    # The frame, the two lines above, the heads of the tables, an empty line and the HPA's words.
    others = 2 + 2 + 1 + (0 if status.advice is None else 3 + len(status.advice.answers))
    parts: list[RenderableType] = [head, figures, _endpoints(status, inside, max(screen.height - others, 1))]
    if status.advice is not None:
        parts += [Text(), _advice(status.advice)]
    return Panel(Group(*parts), title="infscale demo", title_align="left", border_style="dim", width=screen.width)


def comparison(report: DemoReport) -> Table:
    """The table at the end: the ways to route side by side."""
    summaries = {name: PhaseSummary.of(record.outcomes) for name, record in report.phases.items()}
    ours, others = summaries["infscale"], [name for name in summaries if name != "infscale"]
    title = f"The same traffic, {len(summaries)} times: how infscale compares"
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in summaries:
        table.add_column(name, justify="right", style="bold" if name == "infscale" else "", no_wrap=True)
    for name in others:
        table.add_column(f"to {name}", justify="right", no_wrap=True)
    for measure in MEASURES:
        values = [measure.read(summary) for summary in summaries.values()]
        words: list[RenderableType] = []
        for name in others:
            gain = measure.gain(ours, summaries[name])
            style = "" if gain is None else "green" if gain >= 1 else "red"
            words.append(Text(measure.compared(ours, summaries[name]), style=style))
        table.add_row(
            measure.short, *("unknown" if value is None else measure.write(value) for value in values), *words
        )
    return table


def _endpoints(status: PhaseStatus, width: int, lines: int) -> Table:
    """One line for each endpoint, as many as there is room for."""
    endpoints = () if status.sample is None else status.sample.endpoints
    longest = max((len(one.endpoint) for one in endpoints), default=0)
    queue_bar, kv_bar = _bars(width - max(longest, len("endpoint")))
    table = Table(header_style="dim", box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    table.add_column("endpoint", no_wrap=True)
    table.add_column("waiting", no_wrap=True, width=_QUEUE_NUMBER + queue_bar)
    table.add_column("running", justify="right", no_wrap=True)
    table.add_column("KV cache", no_wrap=True, width=_KV_NUMBER + kv_bar)
    table.add_column("in flight", justify="right", no_wrap=True)
    table.add_column("GPU memory", justify="right", no_wrap=True)
    table.add_column("picks" if status.phase.picked else "answered", justify="right", no_wrap=True)
    deepest = max((one.waiting or 0.0 for one in endpoints), default=0.0)
    shown = endpoints if len(endpoints) <= lines else endpoints[: lines - 1]
    for one in shown:
        table.add_row(
            one.endpoint,
            _waiting(one, max(deepest, _FULL_QUEUE), queue_bar),
            _count(one.running),
            _kv(one, kv_bar),
            # Round robin passes the picker by: what is in flight is not known to it.
            _count(one.in_flight) if status.phase.picked else "–",
            "–" if one.gpu_memory_bytes is None else f"{one.gpu_memory_bytes / _GIB:.0f} GiB",
            _picks(status, one),
        )
    if len(shown) < len(endpoints):
        table.add_row(f"+{len(endpoints) - len(shown)} more")
    return table


def _bars(room: int) -> tuple[int, int]:
    """Columns for the bars of queues and of KV caches: what numbers, heads and gaps leave, three parts to two."""
    spare = max(room - _NUMBERS, 2)
    queue = spare * 3 // 5
    return max(queue, 1), max(spare - queue, 1)


def _picks(status: PhaseStatus, one: EndpointLoad) -> str:
    """What the picker sent there: what ended and what has not; without a picker only what ended is known."""
    answered = status.answered_by.get(one.endpoint, 0)
    return f"{answered + (one.in_flight or 0.0 if status.phase.picked else 0.0):.0f}"


def _waiting(one: EndpointLoad, full: float, bar: int) -> Text:
    if one.waiting is None:
        return Text("unknown", style="dim")
    style = "red" if one.waiting >= 4 else "yellow" if one.waiting >= 1 else "green"
    return Text(f"{one.waiting:3.0f} ", style=style) + Text("█" * round(bar * one.waiting / full), style=style)


def _kv(one: EndpointLoad, bar: int) -> Text:
    if one.kv_utilization is None:
        return Text("unknown", style="dim")
    filled = round(bar * min(max(one.kv_utilization, 0.0), 1.0))
    style = "red" if one.kv_utilization > 0.9 else "cyan"
    return (
        Text("█" * filled, style=style) + Text("░" * (bar - filled), style="dim") + Text(f" {one.kv_utilization:4.0%}")
    )


def _advice(advice: Advice) -> Table:
    table = Table(expand=True, header_style="dim", box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    table.add_column("the adapter answers", ratio=3, no_wrap=True, overflow="ellipsis")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("target", justify="right", no_wrap=True)
    table.add_column("an HPA would run", justify="right", no_wrap=True)
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
    return "–" if value is None else seconds(value)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _count(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f}"
