"""What a rule is, and what it finds."""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from infscale.doctor.view.cluster_view import ClusterView
from infscale.endpoint import ObjectKey


class Severity(enum.StrEnum):
    """Whether scaling or routing fails, or works worse than it could."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Subject:
    """The object that something was found of; the namespace of `key` is "" for objects of the whole cluster."""

    kind: str
    key: ObjectKey

    def __str__(self) -> str:
        place = f"{self.key.namespace}/" if self.key.namespace else ""
        return f"{self.kind} {place}{self.key.name}"


@dataclass(frozen=True, slots=True)
class Found:
    """One fault: of which object and field, the cause in a sentence, and the shell command that mends it."""

    subject: Subject
    field: str
    cause: str
    fix: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A fault that can be found. `code` stays the same for ever. `needs` are kinds that have to have been listed."""

    code: str
    severity: Severity
    title: str
    needs: tuple[str, ...]
    check: Callable[[ClusterView], Iterable[Found]]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found."""

    code: str
    severity: Severity
    title: str
    found: Found


HPA = "HorizontalPodAutoscaler"


def hpa(key: ObjectKey) -> Subject:
    """An HPA as subject."""
    return Subject(HPA, key)
