"""What a watch's events say, and what to do after a list or watch ended.

Kubernetes' contract: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from infscale.backoff import Backoff
from infscale.kube.api.errors import Forbidden, KubeError, Unreachable, error_of_status

if TYPE_CHECKING:
    import random


@dataclass(frozen=True, slots=True)
class ReflectorSettings:
    """What is followed, and how eagerly.

    Objects of `namespace` are (None: of all), listed in pages of `page_size`. A watch lasts a drawn time of
    `watch_seconds`. What the server does not know is looked for again every `absent_seconds`, what this identity may
    not see every `forbidden_seconds`. A watch that failed `resumes` times in a row is not resumed but begun with a new
    list: a server that was away for longer may have been restored, and its versions then mean something else.
    A watch that ends within `short_seconds` failed. A pause that the server asks for is kept up to
    `longest_pause_seconds`.
    """

    namespace: str | None = None
    page_size: int = 500
    watch_seconds: tuple[float, float] = (300.0, 600.0)
    absent_seconds: float = 10.0
    forbidden_seconds: float = 30.0
    resumes: int = 4
    short_seconds: float = 1.0
    longest_pause_seconds: float = 60.0
    backoff: Backoff = field(default_factory=lambda: Backoff(base_seconds=0.25, cap_seconds=15.0))


class Change(enum.Enum):
    """What an event does to the cache."""

    PUT = "put"
    REMOVE = "remove"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Seen:
    """One event, read: its change, the object it is about, and the version up to which everything is known now."""

    change: Change
    item: dict[str, object]
    version: str


_CHANGES: Mapping[object, Change] = {
    "ADDED": Change.PUT,
    "MODIFIED": Change.PUT,
    "DELETED": Change.REMOVE,
    "BOOKMARK": Change.NOTHING,
}
_INTERNAL_ERROR = 500


def read_event(event: Mapping[str, object]) -> Seen:
    """What a watch event says. Raises the `KubeError` that it is, `Unreachable` where it is no event at all."""
    kind, item = event.get("type"), event.get("object")
    if not isinstance(item, dict):
        raise Unreachable("the watch sent something that is no event")
    item = cast("dict[str, object]", item)
    if kind == "ERROR":
        raise error_of_status(item, _INTERNAL_ERROR)
    metadata = item.get("metadata")
    version: object = cast("dict[str, object]", metadata).get("resourceVersion") if isinstance(metadata, dict) else None
    if kind not in _CHANGES or not isinstance(version, str):
        raise Unreachable("the watch sent an event of an unknown kind")
    return Seen(_CHANGES[kind], item, version)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far following has come: everything up to `version` is known; None: list first.

    `failures` counts the lists and watches that failed since a watch went well.
    """

    version: str | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Next:
    """What to do after a list or a watch ended: wait, then go on from `progress`."""

    progress: Progress
    wait_seconds: float


def after_end(progress: Progress, lasted_seconds: float, settings: ReflectorSettings, rng: "random.Random") -> Next:
    """After the server ended a watch as it does from time to time: watch on from the last version.

    A server that ends each at once would be asked as fast as it answers, so that counts as a failure.
    """
    if lasted_seconds >= settings.short_seconds:
        return Next(replace(progress, failures=0), 0.0)
    return Next(replace(progress, failures=progress.failures + 1), settings.backoff.delay(progress.failures, rng))


def after_failure(
    progress: Progress, error: KubeError, lasted_seconds: float, settings: ReflectorSettings, rng: "random.Random"
) -> Next:
    """After a list or watch failed with `error`; a watch that lasted went well until then."""
    before = 0 if lasted_seconds >= settings.short_seconds else progress.failures
    failures = before + 1
    wait = settings.backoff.delay(before, rng)
    match error:
        case Forbidden():
            return Next(Progress(progress.version, failures), settings.forbidden_seconds * rng.uniform(0.5, 1.0))
        case Unreachable():
            version = progress.version if failures <= settings.resumes else None
            pause = min(error.retry_after_seconds or 0.0, settings.longest_pause_seconds)
            return Next(Progress(version, failures), max(wait, pause))
        case _:
            return Next(Progress(None, failures), wait)


def when_absent(settings: ReflectorSettings, rng: "random.Random") -> Next:
    """After the server said again that it does not know the resource type."""
    return Next(Progress(), settings.absent_seconds * rng.uniform(0.5, 1.0))
