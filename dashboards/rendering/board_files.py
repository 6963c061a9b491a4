"""Reads the JSON of a board: what of it is drawn."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a panel is on Grafana's grid of 24 columns."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ShownPanel:
    """A panel: `queries` with their legends, `steps` of thresholds with their colours, the first from -inf on."""

    title: str
    description: str
    kind: str
    unit: str
    cell: Cell
    queries: tuple[tuple[str, str], ...]
    steps: tuple[tuple[float, str], ...]
    stacked: bool
    soft_maximum: float | None


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of a row of panels."""

    title: str
    cell: Cell


@dataclass(frozen=True, slots=True)
class ShownBoard:
    """A board, and the names of its variables."""

    uid: str
    title: str
    description: str
    variables: tuple[str, ...]
    parts: tuple[ShownPanel | Heading, ...]

    @property
    def panels(self) -> tuple[ShownPanel, ...]:
        """Its panels without the headings."""
        return tuple(part for part in self.parts if isinstance(part, ShownPanel))


def read_board(path: Path) -> ShownBoard:
    """The board in a file."""
    document: dict[str, Any] = orjson.loads(path.read_bytes())
    variables = tuple(str(each["name"]) for each in document["templating"]["list"])
    return ShownBoard(
        document["uid"], document["title"], document["description"], variables, tuple(_parts(document["panels"]))
    )


def filled_in(expr: str, chosen: Mapping[str, str], rate_interval: str) -> str:
    """A query as it is asked: with the variables' values (`chosen`, else everything) and the interval of rates."""
    values = {"__rate_interval": rate_interval, **chosen}
    return re.sub(r"\$(\w+)", lambda found: values.get(found.group(1), ".*"), expr)


def _parts(panels: list[dict[str, Any]]) -> Iterator[ShownPanel | Heading]:
    for panel in panels:
        place = panel["gridPos"]
        cell = Cell(place["x"], place["y"], place["w"], place["h"])
        yield Heading(panel["title"], cell) if panel["type"] == "row" else _panel(panel, cell)


def _panel(panel: dict[str, Any], cell: Cell) -> ShownPanel:
    defaults: dict[str, Any] = panel["fieldConfig"]["defaults"]
    custom: dict[str, Any] = defaults.get("custom") or {}
    steps = [
        (float("-inf") if each["value"] is None else float(each["value"]), str(each["color"]))
        for each in defaults["thresholds"]["steps"]
    ]
    return ShownPanel(
        panel["title"],
        panel["description"],
        panel["type"],
        defaults["unit"],
        cell,
        tuple((each["expr"], each["legendFormat"]) for each in panel["targets"]),
        tuple(steps),
        "stacking" in custom,
        custom.get("axisSoftMax"),
    )
