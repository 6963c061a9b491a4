"""What a board is made of: rows of panels, each with its queries, as plain values."""

import enum
from dataclasses import dataclass


class Kind(enum.Enum):
    """How a panel shows its series: lines over time, lines on top of each other, or the last values as numbers."""

    LINES = "lines"
    STACK = "stack"
    NUMBER = "number"


class Unit(enum.StrEnum):
    """Units, by Grafana's names for them."""

    BYTES = "bytes"
    COUNT = "short"
    PER_SECOND = "cps"
    RATIO = "percentunit"
    REQUESTS = "reqps"
    SECONDS = "s"


class Colour(enum.StrEnum):
    """Colours of thresholds, by Grafana's names for them."""

    GOOD = "green"
    WARNING = "orange"
    BAD = "red"


@dataclass(frozen=True, slots=True)
class Threshold:
    """From `value` on the colour is this one."""

    value: float
    colour: Colour


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL and the legend of its series, in which ``{{label}}`` stands for a label's value."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. The description says what it means and what to think of it.

    `width` is in the 24 columns and `height` in the rows of Grafana's grid. `base` is the colour below all thresholds.
    `whole` has the axis end at 1 at least. `only_on_faults`: without a fault there is no series, rather than one that
    is 0, and the panel says "none" instead of "unknown".
    """

    title: str
    description: str
    unit: Unit
    queries: tuple[Query, ...]
    kind: Kind = Kind.LINES
    width: int = 8
    height: int = 7
    thresholds: tuple[Threshold, ...] = ()
    base: Colour = Colour.GOOD
    whole: bool = False
    only_on_faults: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


class Variable(enum.StrEnum):
    """What a reader of a board can choose."""

    NAMESPACE = "namespace"
    POOL = "pool"
    MODEL = "model"
    ENDPOINT = "endpoint"


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard; `name` is that of its file, and part of its address in Grafana."""

    name: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    sections: tuple[Section, ...]

    @property
    def uid(self) -> str:
        """Its address in Grafana."""
        return f"infscale-{self.name}"

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All its panels."""
        return tuple(panel for section in self.sections for panel in section.panels)
