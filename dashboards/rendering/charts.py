"""One panel as SVG: lines or areas with axes, thresholds and a legend, or a number with its course."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from dashboards.rendering.answers import Series, Span
from dashboards.rendering.board_files import ShownPanel
from dashboards.rendering.units import ticks, written

_PALETTE = (
    "#3274d9",
    "#e08400",
    "#2f9e63",
    "#c4302b",
    "#7e57c2",
    "#0f9bb4",
    "#a67c00",
    "#c2569b",
    "#5f6b7a",
    "#7aa116",
)
_NAMED = {"green": "#2f9e63", "orange": "#e08400", "red": "#c4302b"}
_LEFT, _RIGHT, _TOP = 62, 10, 8
_AXIS = 18
_LEGEND_LINE = 15
_LEGEND_LINES = 3
_LETTER = 7.0
_LETTERS = {letter: width for letters, width in (("mwMW@%", 10.5), ("iljtfrI1.,:/|-_ ", 4.7)) for letter in letters}
"""Widths that letters of the legend take; all others take `_LETTER`."""
_GAP_STEPS = 1.5
_STACKED, _ALONE = 0.45, 0.06
"""How much areas are filled."""
_FEW = 2
"""The areas of more lines than these would hide each other."""


@dataclass(frozen=True, slots=True)
class Plot:
    """Where values are drawn, in pixels: x from `left` to `right`, y from `bottom` (0) to `top` (`highest`)."""

    span: Span
    left: float
    right: float
    top: float
    bottom: float
    highest: float

    def x(self, at: float) -> float:
        """Where a time is."""
        return self.left + (at - self.span.start) / (self.span.end - self.span.start) * (self.right - self.left)

    def y(self, value: float) -> float:
        """Where a value is."""
        return self.bottom - value / self.highest * (self.bottom - self.top)


def drawn(panel: ShownPanel, series: Sequence[Series], span: Span, width: int, height: int) -> str:
    """The SVG of a panel."""
    if not series:
        return f'<svg width="{width}" height="{height}">{_text(width / 2, height / 2, "no data", "middle")}</svg>'
    inside = _number(panel, series[0], span, width, height)
    if panel.kind == "timeseries":
        inside = _over_time(panel, series, span, width, height)
    return f'<svg width="{width}" height="{height}">{inside}</svg>'


def _over_time(panel: ShownPanel, series: Sequence[Series], span: Span, width: int, height: int) -> str:
    legend, lines = _legend([each.name for each in series], width, height)
    layers = _stacked(series) if panel.stacked else [(each, None) for each in series]
    values = [value for each, _ in layers for _, value in each.points]
    marks = ticks(max([*values, panel.soft_maximum or 0.0], default=0.0), panel.unit)
    plot = Plot(span, _LEFT, width - _RIGHT, _TOP, height - _AXIS - 6 - lines * _LEGEND_LINE, marks[-1])
    parts = [*_axes(plot, marks, panel.unit), *_limits(plot, panel)]
    filled = _STACKED if panel.stacked else _ALONE if len(layers) <= _FEW else 0.0
    # The first of a stack is drawn last, on top of the areas of those above it.
    for place, (each, below) in reversed(list(enumerate(layers))):
        parts.append(_line(plot, each, below, _PALETTE[place % len(_PALETTE)], filled))
    return "".join([*parts, legend])


def _stacked(series: Sequence[Series]) -> list[tuple[Series, Series | None]]:
    """Each series raised by those before it, and what it stands on."""
    sums: dict[float, float] = {}
    layers: list[tuple[Series, Series | None]] = []
    for each in series:
        ground = Series("", tuple((at, sums.get(at, 0.0)) for at, _ in each.points))
        for at, value in each.points:
            sums[at] = sums.get(at, 0.0) + value
        layers.append((Series(each.name, tuple((at, sums[at]) for at, _ in each.points)), ground))
    return layers


def _axes(plot: Plot, marks: Sequence[float], unit: str) -> Iterator[str]:
    for mark in marks:
        y = plot.y(mark)
        yield f'<path class="grid" d="M{plot.left} {y:.1f}H{plot.right}"/>'
        yield _text(plot.left - 6, y + 4, written(mark, unit), "end")
    count = max(2, int((plot.right - plot.left) / 110))
    for place in range(count + 1):
        at = plot.span.start + (plot.span.end - plot.span.start) * place / count
        anchor = "start" if place == 0 else "end" if place == count else "middle"
        yield _text(plot.x(at), plot.bottom + 14, f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}", anchor)


def _limits(plot: Plot, panel: ShownPanel) -> Iterator[str]:
    for value, colour in panel.steps[1:]:
        if value <= plot.highest:
            d = f"M{plot.left} {plot.y(value):.1f}H{plot.right}"
            yield f'<path class="limit" stroke="{_NAMED[colour]}" d="{d}"/>'


def _line(plot: Plot, series: Series, below: Series | None, colour: str, filled: float) -> str:
    ground = dict(below.points) if below is not None else {}
    parts: list[str] = []
    for run in _runs(series, plot.span.step):
        path = "L".join(f"{plot.x(at):.1f} {plot.y(value):.1f}" for at, value in run)
        back = "L".join(f"{plot.x(at):.1f} {plot.y(ground.get(at, 0.0)):.1f}" for at, _ in reversed(run))
        if filled:
            parts.append(f'<path fill="{colour}" fill-opacity="{filled}" d="M{path}L{back}Z"/>')
        # A single point is seen too.
        drawn_path = path if len(run) > 1 else f"{path}h2"
        parts.append(f'<path class="series" stroke="{colour}" d="M{drawn_path}"/>')
    return "".join(parts)


def _runs(series: Series, step: float) -> Iterator[list[tuple[float, float]]]:
    """The parts of a series without a gap."""
    run: list[tuple[float, float]] = []
    for point in series.points:
        if run and point[0] - run[-1][0] > _GAP_STEPS * step:
            yield run
            run = []
        run.append(point)
    if run:
        yield run


def _legend(names: Sequence[str], width: int, height: int) -> tuple[str, int]:
    """The legend at the bottom, and how many lines it takes; names that have no room are counted."""
    lines: list[list[str]] = [[]]
    taken = 0.0
    for each in names:
        name = _shortened(each, width - 2 * _RIGHT - 22)
        needed = 22 + _width(name)
        if lines[-1] and taken + needed > width - 2 * _RIGHT:
            lines.append([])
            taken = 0.0
        lines[-1].append(name)
        taken += needed
    shown = lines[:_LEGEND_LINES]
    left_out = sum(map(len, lines[_LEGEND_LINES:]))
    parts: list[str] = []
    place = 0
    for number, line in enumerate(shown):
        x, y = float(_RIGHT), height - 5 - (len(shown) - 1 - number) * _LEGEND_LINE
        for name in line:
            parts.append(
                f'<rect x="{x:.0f}" y="{y - 6}" width="10" height="3" fill="{_PALETTE[place % len(_PALETTE)]}"/>'
            )
            parts.append(_text(x + 14, y, name, "start", "legend"))
            x += 22 + _width(name)
            place += 1
        if left_out and number == len(shown) - 1:
            parts.append(_text(x + 4, y, f"+ {left_out}", "start", "legend"))
    return "".join(parts), len(shown)


def _width(text: str) -> float:
    return sum(_LETTERS.get(letter, _LETTER) for letter in text)


def _shortened(text: str, width: float) -> str:
    """As much of a text as has room."""
    if _width(text) <= width:
        return text
    kept = next(end for end in range(len(text), -1, -1) if _width(text[:end]) + _LETTER <= width)
    return f"{text[:kept]}…"


def _number(panel: ShownPanel, series: Series, span: Span, width: int, height: int) -> str:
    values = [value for _, value in series.points]
    colour = _NAMED[next(name for value, name in reversed(panel.steps) if values[-1] >= value)]
    plot = Plot(span, 0, width, height * 0.6, height, max(*values, 0.0) or 1.0)
    course = _line(plot, series, None, colour, _ALONE)
    value = f'<text class="value" x="{width / 2}" y="{height * 0.45}" style="fill:{colour}">'
    return f"{course}{value}{escape(written(values[-1], panel.unit))}</text>"


def _text(x: float, y: float, text: str, anchor: str, kind: str = "axis") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
