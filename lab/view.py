"""How the lab looks: one picture of requests, endpoints and the autoscaler, or one line of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_BLOCKS = " ▁▂▃▄▅▆▇█"
_BAR = 12


@dataclass(frozen=True, slots=True)
class EndpointView:
    """One endpoint as the store has it; None is unknown."""

    name: str
    phase: str
    age_seconds: float | None
    waiting: float | None
    running: float | None
    kv_ratio: float | None
    in_flight: float


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of the autoscaler in its own words."""

    kind: str
    holds: str
    message: str


@dataclass(frozen=True, slots=True)
class ScalerView:
    """The autoscaler: replicas there are and should be, its metric against its target, and its conditions."""

    current: int
    desired: int
    wanted: int
    metric: str
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class LabState:
    """Everything on one picture. Latencies are of the last seconds, None where nothing was answered."""

    elapsed_seconds: float
    phase: str
    rate: float
    answered: int
    failed: int
    under_way: int
    ttft_p50_seconds: float | None
    ttft_p90_seconds: float | None
    endpoints: tuple[EndpointView, ...]
    scaler: ScalerView | None
    replicas: tuple[int, ...]
    """How many replicas there should have been, oldest first."""
    notes: tuple[str, ...]


def picture(state: LabState) -> RenderableType:
    """The whole state for a terminal."""
    return Group(_head(state), _endpoints(state.endpoints), _scaler(state), Text("\n".join(state.notes), style="dim"))


def line(state: LabState) -> str:
    """The state in one line, for logs."""
    scaler = state.scaler
    ready = sum(each.phase == "ready" for each in state.endpoints)
    parts = [
        f"{state.elapsed_seconds:6.1f} s {state.phase} {state.rate:g}/s",
        f"{state.answered} answered, {state.failed} failed, {state.under_way} under way",
        f"first token p50 {_seconds(state.ttft_p50_seconds)}, p90 {_seconds(state.ttft_p90_seconds)}",
        f"endpoints {ready} ready of {len(state.endpoints)}",
    ]
    if scaler is not None:
        parts.append(f"replicas {scaler.current} → {scaler.wanted}, {scaler.metric}")
        broken = next(
            (each for each in scaler.conditions if each.kind == "ScalingActive" and each.holds != "True"), None
        )
        parts.extend([] if broken is None else [broken.message])
    return " · ".join(parts)


def _head(state: LabState) -> RenderableType:
    style = "bold red" if state.phase == "surge" else "bold green"
    head = Text.assemble(
        (f" {state.phase} ", style),
        f" {state.rate:g} requests/s   {state.answered} answered, ",
        (f"{state.failed} failed", "red" if state.failed else "default"),
        f", {state.under_way} under way   first token p50 {_seconds(state.ttft_p50_seconds)}, "
        f"p90 {_seconds(state.ttft_p90_seconds)}   {state.elapsed_seconds:.0f} s",
    )
    return Panel(head, title="infscale lab", title_align="left")


def _endpoints(endpoints: Sequence[EndpointView]) -> RenderableType:
    table = Table(box=SIMPLE_HEAD, expand=True)
    for name in ("endpoint", "phase", "age", "waiting", "running", "KV cache", "in flight"):
        table.add_column(name, justify="left" if name in {"endpoint", "phase", "waiting"} else "right")
    for each in endpoints:
        style = {"ready": "green", "starting": "yellow", "draining": "magenta"}.get(each.phase, "")
        waiting = each.waiting or 0.0
        table.add_row(
            each.name,
            Text(each.phase, style),
            _seconds(each.age_seconds),
            f"{_number(each.waiting):>4} {'█' * min(_BAR, round(waiting))}",
            _number(each.running),
            "–" if each.kv_ratio is None else f"{each.kv_ratio:.1%}",
            _number(each.in_flight),
        )
    return table


def _scaler(state: LabState) -> RenderableType:
    scaler = state.scaler
    if scaler is None:
        return Panel("the HPA was not seen yet", title="HorizontalPodAutoscaler", title_align="left")
    lines = [
        Text(f"replicas {scaler.current}, desired {scaler.desired}, spec.replicas {scaler.wanted}   {scaler.metric}"),
        Text(f"{trend(state.replicas)}", style="cyan"),
    ]
    for each in scaler.conditions:
        style = "default" if each.holds == "True" or each.kind == "ScalingLimited" else "red"
        lines.append(Text(f"{each.kind}={each.holds}: {each.message}", style))
    return Panel(Group(*lines), title="HorizontalPodAutoscaler", title_align="left")


def trend(values: Sequence[int]) -> str:
    """A bar per value, the largest full."""
    top = max(values, default=0)
    return "".join(_BLOCKS[round(value / top * (len(_BLOCKS) - 1)) if top else 0] for value in values)


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"
