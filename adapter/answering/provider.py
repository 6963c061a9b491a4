"""What answers metric requests, and what an answer is made of. No document knows where its values come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from adapter.api.paths import ExternalRequest, ObjectRequest
from infscale.endpoint import ObjectKey
from infscale.metrics.sample import Reading


@dataclass(frozen=True, slots=True)
class Kind:
    """Kind and API version of a described object."""

    kind: str
    api_version: str


@dataclass(frozen=True, slots=True)
class ObjectValues:
    """Values of one metric for objects of one kind, at most one per object; root-scoped objects have no namespace.

    `revision` is the snapshot they were read from, `window_seconds` how far back they look (None: a moment).
    """

    kind: Kind
    items: Sequence[tuple[ObjectKey, Reading]]
    revision: str
    window_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class ExternalValue:
    """One value of an external metric and the labels that tell it from the others."""

    labels: Mapping[str, str]
    reading: Reading


@dataclass(frozen=True, slots=True)
class ExternalValues:
    """Values of one external metric; `revision` and `window_seconds` as in `ObjectValues`."""

    items: tuple[ExternalValue, ...]
    revision: str
    window_seconds: float | None = None


class Provider(Protocol):
    """Answers for objects (custom metrics) and without one (external metrics), from one source: one revision means the
    same in both.
    """

    def objects(self, request: ObjectRequest, now: float) -> ObjectValues:
        """The values at monotonic second `now`; never an empty list, and exactly one item when one name is asked for.

        Raises `NotFound` for names that do not exist and `Unavailable` for values that are unknown.
        """
        ...

    def external(self, request: ExternalRequest, now: float) -> ExternalValues:
        """The values at monotonic second `now`; never an empty list. Raises as `objects` does."""
        ...
