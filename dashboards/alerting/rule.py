"""What a rule is, as plain values."""

import enum
from dataclasses import dataclass


class Severity(enum.StrEnum):
    """How soon a person should look: at once, or on a working day."""

    CRITICAL = "critical"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Alert:
    """Fires once `expr` has had a result for `wait`, a duration as Prometheus writes it.

    `summary` and `description` are templates of Prometheus: ``{{ $labels.pool }}``, ``{{ $value }}``. `board` is the
    dashboard to look at, by its name.
    """

    name: str
    expr: str
    wait: str
    severity: Severity
    summary: str
    description: str
    board: str


@dataclass(frozen=True, slots=True)
class Recording:
    """A series that Prometheus computes ahead; `meaning` is for the documentation."""

    name: str
    expr: str
    meaning: str
