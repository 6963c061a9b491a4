"""A file of what an HPA's controller had at past syncs: JSON, read strictly."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import cast

import orjson

from infscale.doctor.replay.past_syncs import MAX_SYNCS, PastMetric, PastSync, PerPod, Total, Unknown
from infscale.documents.strict_document import Field, Plain, from_plain, quoted
from infscale.errors import ConfigError, QuantityError
from infscale.planner.scale_target import PodPhase, PodState
from infscale.quantity import milli_value, parse_quantity

MAX_BYTES = 16 * 1024 * 1024
_VERSION = 1
_MAX_REPLICAS = 100_000
_MAX_PODS = 10_000
_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
_CAUSE_CHARACTERS = 400
_PHASES: Mapping[str, PodPhase] = MappingProxyType({each.value: each for each in PodPhase})


def read_history(path: Path) -> tuple[PastSync, ...]:
    """The samples of a file, in their order. Raises `ConfigError`. It blocks."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError("arguments", "--series", f"{path} cannot be read: {error.strerror}") from None
    return parsed_history(content, str(path))


def parsed_history(content: bytes, source: str) -> tuple[PastSync, ...]:
    """The samples in the text of a file. Raises `ConfigError`, which names the place in it."""
    if len(content) > MAX_BYTES:
        raise ConfigError(source, "", f"is larger than {MAX_BYTES // 2**20} MiB")
    try:
        plain = cast("Plain", orjson.loads(content))
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{source}:{error.lineno}", "", "is no JSON") from None
    try:
        root = from_plain(plain, source)
    except RecursionError:
        raise ConfigError(source, "", "is nested too deeply") from None
    given = root.mapping(required=["version", "samples"])
    given["version"].integer(_VERSION, _VERSION)
    samples = given["samples"].items()
    if not 0 < len(samples) <= MAX_SYNCS:
        given["samples"].refuse(f"expected 1 to {MAX_SYNCS} samples, got {len(samples)}")
    found = tuple([_sample(each) for each in samples])
    for number, (earlier, later) in enumerate(pairwise(found)):
        if later.at <= earlier.at:
            samples[number + 1].refuse("expected a time after that of the sample before")
    return found


def _sample(field: Field) -> PastSync:
    given = field.mapping(required=["at", "metrics"], optional=["replicas", "status_replicas", "pods"])
    counts = {
        key: given[key].integer(0, _MAX_REPLICAS) if key in given else None for key in ("replicas", "status_replicas")
    }
    pods = tuple([_pod(each) for each in _few(given["pods"])]) if "pods" in given else None
    metrics = {name: _metric(each) for name, each in given["metrics"].entries().items()}
    return PastSync(_moment(given["at"]), metrics, counts["replicas"], counts["status_replicas"], pods)


def _moment(field: Field) -> float:
    if not field.is_text:
        return field.number(0.0, _LATEST)
    text = field.text()
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found.timestamp()
    except (ValueError, OverflowError):
        pass
    field.refuse(f"expected seconds since 1970, or a time such as 2026-01-31T12:00:00Z, got {quoted(text)}")


def _few(field: Field) -> tuple[Field, ...]:
    items = field.items()
    if len(items) > _MAX_PODS:
        field.refuse(f"expected at most {_MAX_PODS} elements, got {len(items)}")
    return items


def _pod(field: Field) -> PodState:
    given = field.mapping(required=["name", "ready"], optional=["phase", "deleting"])
    phase = _PHASES[given["phase"].choice(tuple(_PHASES))] if "phase" in given else PodPhase.RUNNING
    deleting = given["deleting"].boolean() if "deleting" in given else False
    return PodState(given["name"].text(), phase, deleting, given["ready"].boolean())


def _metric(field: Field) -> PastMetric:
    given = field.mapping(optional=tuple(_READERS))
    if len(given) != 1:
        field.refuse(f"expected one of {', '.join(_READERS)}")
    ((form, value),) = given.items()
    return _READERS[form](value)


def _per_pod(field: Field) -> PastMetric:
    values = field.entries()
    if len(values) > _MAX_PODS:
        field.refuse(f"expected at most {_MAX_PODS} pods, got {len(values)}")
    return PerPod({name: _milli(each) for name, each in values.items()})


def _total(field: Field) -> PastMetric:
    return Total((_milli(field),))


def _items(field: Field) -> PastMetric:
    return Total(tuple([_milli(each) for each in _few(field)]))


def _unknown(field: Field) -> PastMetric:
    return Unknown(field.text()[:_CAUSE_CHARACTERS])


_READERS: Mapping[str, Callable[[Field], PastMetric]] = MappingProxyType(
    {"pods": _per_pod, "total": _total, "items": _items, "unknown": _unknown}
)


def _milli(field: Field) -> int:
    """A quantity as text, or a number."""
    text = field.text() if field.is_text else repr(field.number())
    try:
        return milli_value(parse_quantity(text))
    except QuantityError:
        field.refuse(f"expected a quantity such as 1500m, 2 or 0.5, got {quoted(text)}")
