"""Answers to metric requests as JSON bytes: lists of values, and `Status`.

Shapes are those of `k8s.io/metrics` and `k8s.io/apimachinery`; timestamps are RFC 3339 with whole seconds, values are
quantities. The thousand items of a list differ in name, time and value only: what they have in common is written once.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import orjson

from adapter.answering.provider import ExternalValues, Kind, ObjectValues
from adapter.api.documents import Clock
from adapter.api.paths import CUSTOM_GROUP, EXTERNAL_GROUP, CustomVersion, ExternalRequest, ObjectRequest
from adapter.errors import ApiError, Forbidden, InternalError, TooManyRequests
from infscale.endpoint import ObjectKey
from infscale.labels import Operator, Requirement, Selector
from infscale.metrics.published.readings import Readings
from infscale.metrics.sample import FloatArray
from infscale.quantity import MAX_QUANTITY, format_quantities, format_quantity

EPSILON = 1e-6
"""Magnitudes below a millionth are 0: the HPA controller rounds anything above 0 up to a thousandth, and an error of
rounding would keep a pool from scaling to zero."""

_EXPRESSIONS = {
    Operator.IN: "In",
    Operator.NOT_IN: "NotIn",
    Operator.NOT_EQUALS: "NotIn",
    Operator.EXISTS: "Exists",
    Operator.DOES_NOT_EXIST: "DoesNotExist",
    Operator.GREATER_THAN: "Gt",
    Operator.LESS_THAN: "Lt",
}

JsonObject = dict[str, object]


def object_list(request: ObjectRequest, values: ObjectValues, clock: Clock) -> bytes:
    """A `MetricValueList` in the version that was asked for."""
    found = Readings.of(values.items)
    metric, (between, end) = _common(request, values.window_seconds)
    starts, names, behind = _described(values.kind, found.objects)
    # All that stands between a name and its value, in one piece: pieces are most of what an item costs.
    middles = _of_seconds(clock, found.at, f'{behind}{metric},"timestamp":"', f'"{between}')
    items = [
        f"{start}{name}{middle}{value}{end}"
        for start, name, middle, value in zip(
            starts,
            names,
            middles,
            format_quantities(np.where(np.abs(found.values) < EPSILON, 0.0, found.values)),
            strict=True,
        )
        if value is not None
    ]
    return _list("MetricValueList", f"{CUSTOM_GROUP}/{request.version.value}", values.revision, items)


def external_list(request: ExternalRequest, values: ExternalValues, clock: Clock) -> bytes:
    """An `ExternalMetricValueList`."""
    times = _of_seconds(clock, np.array([item.reading.at for item in values.items]), "", "")
    window = "" if values.window_seconds is None else f',"window":{round(values.window_seconds)}'
    metric = f'{{"metricName":{_json(request.metric)},"metricLabels":'
    items: list[str] = []
    for item, time in zip(values.items, times, strict=True):
        value = quantity(item.reading.value)
        if value is not None:
            items.append(f'{metric}{_json(dict(item.labels))},"timestamp":"{time}"{window},"value":"{value}"}}')
    return _list("ExternalMetricValueList", f"{EXTERNAL_GROUP}/v1beta1", values.revision, items)


def status(error: ApiError) -> bytes:
    """The `Status` of a refusal."""
    message = str(error).encode("utf-8", "replace").decode("utf-8")
    about: JsonObject = {"status": "Failure", "message": message, "reason": error.reason}
    if isinstance(error, TooManyRequests):
        about["details"] = {"retryAfterSeconds": error.retry_after_seconds}
    elif isinstance(error, Forbidden):
        about["details"] = dict(error.details)
    elif isinstance(error, InternalError):
        about["details"] = {"causes": [{"message": message}]}
    return orjson.dumps({"kind": "Status", "apiVersion": "v1", "metadata": {}, **about, "code": error.code})


def quantity(value: float) -> str | None:
    """The value as a quantity, None where no quantity can say it (NaN, infinite, too large)."""
    magnitude = abs(value)
    if magnitude < EPSILON:
        return "0"
    return format_quantity(value) if magnitude <= MAX_QUANTITY else None


def label_selector(selector: Selector) -> JsonObject | None:
    """A `LabelSelector` object, None where nothing is selected."""
    if not selector.requirements:
        return None
    equal = [each for each in selector.requirements if each.operator is Operator.EQUALS]
    others = [each for each in selector.requirements if each.operator is not Operator.EQUALS]
    content: JsonObject = {}
    if equal:
        content["matchLabels"] = {each.key: each.values[0] for each in equal}
    if others:
        content["matchExpressions"] = [_expression(each) for each in others]
    return content


def _expression(requirement: Requirement) -> JsonObject:
    values = {"values": list(requirement.values)} if requirement.values else {}
    return {"key": requirement.key, "operator": _EXPRESSIONS[requirement.operator], **values}


def _common(request: ObjectRequest, window_seconds: float | None) -> tuple[str, tuple[str, str]]:
    """What every item says of its metric, and what stands around every value."""
    selector = _json(label_selector(request.metric_labels))
    window = "" if window_seconds is None else str(round(window_seconds))
    if request.version is CustomVersion.V1BETA1:
        window = window and f',"window":{window}'
        return f',"metricName":{_json(request.metric)}', (f'{window},"value":"', f'","selector":{selector}}}')
    window = window and f',"windowSeconds":{window}'
    return f',"metric":{{"name":{_json(request.metric)},"selector":{selector}}}', (f'{window},"value":"', '"}')


def _described(kind: Kind, keys: Sequence[ObjectKey]) -> tuple[Iterable[str], Sequence[str], str]:
    """The described objects in three parts: what stands before each name, the names, and what stands behind each."""
    start = f'{{"describedObject":{{"kind":{_json(kind.kind)}'
    before = {
        each: f'{start},"namespace":{_json(each)},"name":"' if each else f'{start},"name":"'
        for each in {key.namespace for key in keys}
    }
    names = [key.name for key in keys]
    if not _all_plain("".join(names)):
        names = [_json(name)[1:-1] for name in names]
    starts = [before[key.namespace] for key in keys] if len(before) > 1 else list(before.values()) * len(keys)
    return starts, names, f'","apiVersion":{_json(kind.api_version)}}}'


def _of_seconds(clock: Clock, at: FloatArray, before: str, behind: str) -> Iterable[str]:
    """Monotonic seconds as RFC 3339 between two texts; each second is written once."""
    seconds: list[int] = np.floor(at + clock.offset_seconds).astype(np.int64).tolist()
    written = {
        second: f"{before}{clock.rfc3339(one)}{behind}"
        for second, one in dict(zip(seconds, at.tolist(), strict=True)).items()
    }
    return map(written.__getitem__, seconds)


def _all_plain(text: str) -> bool:
    """Whether JSON writes every part of `text` as it is."""
    return text.isascii() and text.isprintable() and '"' not in text and "\\" not in text


def _json(content: object) -> str:
    return orjson.dumps(content).decode()


def _list(kind: str, api_version: str, revision: str, items: list[str]) -> bytes:
    metadata = f'{{"resourceVersion":{_json(revision)}}}' if revision else "{}"
    head = f'{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{metadata},"items":['
    return f"{head}{','.join(items)}]}}".encode()
