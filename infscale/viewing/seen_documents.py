"""The documents under `/debug/` as values: read once, with whatever they lack left unknown.

They come from this process or from another one, which may be of another version: what has another form is refused with
its place, what is not there is unknown, and what is new is passed over.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from infscale.errors import InfscaleError

T = TypeVar("T")
_MOST: Final = 2.0**63
"""No number of a document is as large; what is, or is none, is unknown."""


class DocumentError(InfscaleError):
    """What was answered is no document of infscale; the message names the place in it."""


@dataclass(frozen=True, slots=True)
class Told:
    """A value that readers are told: how old it is in seconds, or the `cause` for which there is none."""

    value: float | None = None
    age_seconds: float | None = None
    cause: str = ""


UNTOLD: Final = Told()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an endpoint's last scrape gave nothing, how long ago, and how many before it did not either."""

    cause: str
    age_seconds: float | None
    consecutive: int


@dataclass(frozen=True, slots=True)
class ModelSeen:
    """Requests of one model on one endpoint."""

    waiting: float | None
    running: float | None


@dataclass(frozen=True, slots=True)
class LoraSeen:
    """LoRA adapters of an endpoint."""

    running: tuple[str, ...]
    waiting: tuple[str, ...]
    loaded: tuple[str, ...]
    most: float | None


@dataclass(frozen=True, slots=True)
class EndpointSeen:
    """One endpoint. `numbers` are its values by their published names, `refused` the causes of refused ones.

    `serving`: whether it says over gRPC that it takes requests, and how long ago; None: it is not asked, or the answer
    has expired.
    """

    name: str
    authority: str
    phase: str
    serving: bool | None
    serving_age_seconds: float | None
    asleep: bool
    fresh: bool
    eligible: bool
    saturated: bool
    age_seconds: float | None
    gpu_age_seconds: float | None
    gpu_fresh: bool
    numbers: Mapping[str, float | None]
    models: Mapping[str, ModelSeen]
    lora: LoraSeen | None
    refused: Mapping[str, str]
    failure: Failure | None

    @property
    def ready(self) -> bool:
        """Whether it is ready by discovery, and does not deny it itself."""
        return self.phase == "ready" and self.serving is not False

    def serves(self, model: str) -> bool:
        """Whether it says that it serves `model`, be it a LoRA adapter."""
        lora = self.lora
        return model in self.models or (lora is not None and model in (*lora.running, *lora.waiting, *lora.loaded))


@dataclass(frozen=True, slots=True)
class QueriedSeen:
    """What a query of a Prometheus said, by pod or model, "" being the whole pool; `failure`: of the last try."""

    values: Mapping[str, Told]
    failure: str


@dataclass(frozen=True, slots=True)
class PoolSeen:
    """One pool; `values` are told of the whole of it, `by_model` of each model, both by published names."""

    name: str
    revision: str
    staleness_limit_seconds: float | None
    window_seconds: float | None
    endpoints: tuple[EndpointSeen, ...]
    values: Mapping[str, Told]
    by_model: Mapping[str, Mapping[str, Told]]
    models_left_out: int
    in_flight_models: Mapping[str, float | None]
    queried: Mapping[str, QueriedSeen]


@dataclass(frozen=True, slots=True)
class PickSeen:
    """One decision of the picker."""

    time: str
    request_id: str
    pool: str
    model: str
    revision: str
    destinations: tuple[tuple[str, str], ...]
    """Name ("" where it has left the pool) and address of each, the first choice first."""
    candidates: int
    score: float | None
    scores: Mapping[str, float]
    observed_age_seconds: float | None
    charged_tokens: float | None
    decision_seconds: float | None


@dataclass(frozen=True, slots=True)
class RefusalSeen:
    """How many requests were refused since the start for one reason; `pool` is empty where none was found for them."""

    pool: str
    reason: str
    status: int
    requests: int


@dataclass(frozen=True, slots=True)
class ScaledMetricSeen:
    """One metric of an autoscaler, and what it is told."""

    name: str
    form: str
    described: str
    selector: str
    target_type: str
    target: str
    items: int
    told: Told
    replicas: int | None
    why: str


@dataclass(frozen=True, slots=True)
class AutoscalerSeen:
    """An autoscaler, what it is told, and the controller's arithmetic on that."""

    name: str
    target: str
    least: int | None
    most: int | None
    pods: int | None
    metrics: tuple[ScaledMetricSeen, ...]
    replicas: int | None
    why: str
    not_known: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything at one moment. `picks` and `autoscalers` are None where the process has no such document.

    `picks_asked`: the process was asked for its decisions.
    """

    pools: tuple[PoolSeen, ...]
    picks: tuple[PickSeen, ...] | None = None
    refusals: tuple[RefusalSeen, ...] = ()
    autoscalers: tuple[AutoscalerSeen, ...] | None = None
    autoscalers_left_out: int = 0
    picks_asked: bool = True

    def pool(self, name: str) -> PoolSeen | None:
        """The pool of that name."""
        return next((pool for pool in self.pools if pool.name == name), None)


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents as JSON has them; None: there is no such document, or it was not asked for."""

    snapshot: object
    picks: object | None = None
    autoscalers: object | None = None
    picks_asked: bool = True


def seen(documents: Documents) -> Seen:
    """What `documents` say. Raises `DocumentError`."""
    picks = None if documents.picks is None else _Part(documents.picks, "picks")
    scalers = None if documents.autoscalers is None else _Part(documents.autoscalers, "autoscalers")
    return Seen(
        _Part(documents.snapshot, "snapshot").each("pools", _pool),
        None if picks is None else picks.each("picks", _pick),
        () if picks is None else picks.each("refusals", _refusal),
        None if scalers is None else scalers.each("autoscalers", _autoscaler),
        0 if scalers is None else scalers.count("left_out"),
        documents.picks_asked,
    )


class _Part:
    """An object of a document, with its place in it."""

    __slots__ = ("_entries", "_place")

    def __init__(self, value: object, place: str) -> None:
        if not isinstance(value, dict):
            raise DocumentError(f"{place}: expected an object")
        self._entries = cast("dict[str, object]", value)
        self._place = place

    def _of(self, key: str, kind: type[T], default: T) -> T:
        value = self._entries.get(key)
        if value is None:
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise DocumentError(f"{self._place}.{key}: expected {_KINDS[kind]}")
        return value

    def text(self, key: str) -> str:
        return self._of(key, str, "")

    def flag(self, key: str) -> bool:
        return self._of(key, bool, False)

    def flag_or_none(self, key: str) -> bool | None:
        return None if self._entries.get(key) is None else self.flag(key)

    def number(self, key: str) -> float | None:
        value = self._entries.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DocumentError(f"{self._place}.{key}: expected a number")
        return float(value) if -_MOST < value < _MOST else None

    def count(self, key: str) -> int:
        return int(self.number(key) or 0)

    def count_or_none(self, key: str) -> int | None:
        value = self.number(key)
        return None if value is None else int(value)

    def part(self, key: str) -> "_Part | None":
        value = self._entries.get(key)
        return None if value is None else _Part(value, f"{self._place}.{key}")

    def each(self, key: str, read: "Callable[[_Part], T]") -> tuple[T, ...]:
        items: Sequence[object] = self._of(key, list, [])
        return tuple(read(_Part(item, f"{self._place}.{key}[{place}]")) for place, item in enumerate(items))

    def texts(self, key: str) -> tuple[str, ...]:
        items: Sequence[object] = self._of(key, list, [])
        if not all(isinstance(item, str) for item in items):
            raise DocumentError(f"{self._place}.{key}: expected texts")
        return tuple(cast("Sequence[str]", items))

    def by_name(self, key: str, read: "Callable[[_Part], T]") -> dict[str, T]:
        part = self.part(key)
        if part is None:
            return {}
        return {name: read(each) for name, each in part.parts().items()}

    def parts(self) -> "dict[str, _Part]":
        """Every entry, each an object."""
        return {name: _Part(value, f"{self._place}.{name}") for name, value in self._entries.items()}

    def texts_by_name(self, key: str) -> dict[str, str]:
        part = self.part(key)
        return {} if part is None else {name: part.text(name) for name in part._entries}

    def numbers_by_name(self, key: str) -> dict[str, float]:
        part = self.part(key)
        found = {} if part is None else {name: part.number(name) for name in part._entries}
        return {name: value for name, value in found.items() if value is not None}

    def numbers(self) -> dict[str, float | None]:
        """Every entry that is a number, or that is null and could be one."""
        return {
            name: None if value is None else self.number(name)
            for name, value in self._entries.items()
            if value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        }


_KINDS: Final[Mapping[type, str]] = {str: "a text", bool: "true or false", list: "a list"}


def _pool(part: _Part) -> PoolSeen:
    return PoolSeen(
        part.text("pool"),
        part.text("revision"),
        part.number("staleness_limit_seconds"),
        part.number("window_seconds"),
        part.each("endpoints", _endpoint),
        part.by_name("values", _told),
        part.by_name("by_model", lambda model: {name: _told(each) for name, each in model.parts().items()}),
        part.count("models_left_out"),
        part.by_name("in_flight_models", lambda model: model.number("requests")),
        part.by_name("queried", lambda query: QueriedSeen(query.by_name("values", _told), query.text("last_failure"))),
    )


def _told(part: _Part) -> Told:
    return Told(part.number("value"), part.number("age_seconds"), part.text("cause"))


def _endpoint(part: _Part) -> EndpointSeen:
    failure, lora, health = part.part("last_failure"), part.part("lora"), part.part("health")
    return EndpointSeen(
        name=part.text("endpoint"),
        authority=part.text("authority"),
        phase=part.text("phase"),
        serving=None if health is None else health.flag_or_none("serving"),
        serving_age_seconds=None if health is None else health.number("age_seconds"),
        asleep=part.flag("asleep"),
        fresh=part.flag("fresh"),
        eligible=part.flag("eligible"),
        saturated=part.flag("saturated"),
        age_seconds=part.number("age_seconds"),
        gpu_age_seconds=part.number("gpu_age_seconds"),
        gpu_fresh=part.flag("gpu_fresh"),
        numbers=part.numbers(),
        models=_models(part),
        lora=None
        if lora is None
        else LoraSeen(lora.texts("running"), lora.texts("waiting"), lora.texts("loaded"), lora.number("max_adapters")),
        refused=part.texts_by_name("refused"),
        failure=None
        if failure is None
        else Failure(failure.text("cause"), failure.number("age_seconds"), failure.count("consecutive")),
    )


def _models(part: _Part) -> dict[str, ModelSeen]:
    """The models of an endpoint; documents of older versions have their names alone."""
    named = {name: ModelSeen(None, None) for name in part.texts("models")}
    return named | part.by_name(
        "model_loads", lambda load: ModelSeen(load.number("waiting_requests"), load.number("running_requests"))
    )


def _pick(part: _Part) -> PickSeen:
    return PickSeen(
        part.text("time"),
        part.text("request_id"),
        part.text("pool"),
        part.text("model"),
        part.text("revision"),
        part.each("destinations", lambda each: (each.text("endpoint"), each.text("authority"))),
        part.count("candidates"),
        part.number("score"),
        part.numbers_by_name("scores"),
        part.number("observed_age_seconds"),
        part.number("charged_tokens"),
        part.number("decision_seconds"),
    )


def _refusal(part: _Part) -> RefusalSeen:
    return RefusalSeen(part.text("pool"), part.text("reason"), part.count("status"), part.count("requests"))


def _autoscaler(part: _Part) -> AutoscalerSeen:
    return AutoscalerSeen(
        part.text("autoscaler"),
        part.text("target"),
        part.count_or_none("min_replicas"),
        part.count_or_none("max_replicas"),
        part.count_or_none("pods"),
        part.each("metrics", _scaled_metric),
        part.count_or_none("replicas"),
        part.text("why"),
        part.texts("not_known"),
    )


def _scaled_metric(part: _Part) -> ScaledMetricSeen:
    return ScaledMetricSeen(
        part.text("metric"),
        part.text("form"),
        part.text("described"),
        part.text("selector"),
        part.text("target_type"),
        part.text("target"),
        part.count("items"),
        _told(part),
        part.count_or_none("replicas"),
        part.text("why"),
    )
