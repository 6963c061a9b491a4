"""The documents under `/debug/` as values: read once, with whatever they lack left unknown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from infscale.viewing.document_parts import Part
from infscale.viewing.explained.seen_stages import StagesSeen, stages_seen
from infscale.viewing.rollouts.seen_rollouts import RolloutSeen, rollout_seen


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
class PickEndSeen:
    """How the request of a pick ended; seconds are None where they are not known."""

    outcome: str
    status: int | None
    first_byte_seconds: float | None
    seconds_per_output_token: float | None
    duration_seconds: float | None


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
    waited_seconds: float | None
    waited_for: str
    end: PickEndSeen | None
    """None while the answer is under way."""
    fallback: str = ""
    """Instead of what it went there, in words; "" where it was for this pool and model."""


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
class TriggerSeen:
    """A trigger of a ScaledObject of KEDA, and what KEDA was told last about it.

    `pool` and `model` are "" where all are meant. `value` has the cause where it was refused, `why` what it was made
    of. `active` was told `active_age_seconds` ago; it is None, with `why_not_known`, where that was refused.
    `streams`: how many are open over which it is told to be active.
    """

    scaled_object: str
    pool: str
    model: str
    metric: str
    target: float | None
    value: Told
    why: str
    active: bool | None
    active_age_seconds: float | None
    why_not_known: str
    streams: int


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything at one moment. `picks`, `autoscalers` and `triggers` are None where the process has no such document.

    `picks_asked`: the process was asked for its decisions. `explained` are those of which the stages were asked for.
    """

    pools: tuple[PoolSeen, ...]
    picks: tuple[PickSeen, ...] | None = None
    refusals: tuple[RefusalSeen, ...] = ()
    autoscalers: tuple[AutoscalerSeen, ...] | None = None
    autoscalers_left_out: int = 0
    picks_asked: bool = True
    triggers: tuple[TriggerSeen, ...] | None = None
    explained: tuple[StagesSeen, ...] = ()
    rollouts: tuple[RolloutSeen, ...] = ()

    def pool(self, name: str) -> PoolSeen | None:
        """The pool of that name."""
        return next((pool for pool in self.pools if pool.name == name), None)


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents as JSON has them; None: there is no such document, or it was not asked for."""

    snapshot: object
    picks: object | None = None
    autoscalers: object | None = None
    triggers: object | None = None
    picks_asked: bool = True
    explanation: object | None = None
    rollouts: object | None = None


def seen(documents: Documents) -> Seen:
    """What `documents` say. Raises `DocumentError`."""
    picks = None if documents.picks is None else Part(documents.picks, "picks")
    scalers = None if documents.autoscalers is None else Part(documents.autoscalers, "autoscalers")
    triggers = None if documents.triggers is None else Part(documents.triggers, "triggers")
    return Seen(
        Part(documents.snapshot, "snapshot").each("pools", _pool),
        None if picks is None else picks.each("picks", _pick),
        () if picks is None else picks.each("refusals", _refusal),
        None if scalers is None else scalers.each("autoscalers", _autoscaler),
        0 if scalers is None else scalers.count("left_out"),
        documents.picks_asked,
        None if triggers is None else triggers.each("triggers", _trigger),
        () if documents.explanation is None else stages_seen(documents.explanation),
        () if documents.rollouts is None else Part(documents.rollouts, "rollouts").each("rollouts", rollout_seen),
    )


def _pool(part: Part) -> PoolSeen:
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


def _told(part: Part) -> Told:
    return Told(part.number("value"), part.number("age_seconds"), part.text("cause"))


def _endpoint(part: Part) -> EndpointSeen:
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


def _models(part: Part) -> dict[str, ModelSeen]:
    """The models of an endpoint; documents of older versions have their names alone."""
    named = {name: ModelSeen(None, None) for name in part.texts("models")}
    return named | part.by_name(
        "model_loads", lambda load: ModelSeen(load.number("waiting_requests"), load.number("running_requests"))
    )


def _pick(part: Part) -> PickSeen:
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
        part.number("waited_seconds"),
        part.text("waited_for"),
        None if (end := part.part("end")) is None else _pick_end(end),
        part.text("fallback"),
    )


def _pick_end(part: Part) -> PickEndSeen:
    return PickEndSeen(
        part.text("outcome"),
        part.count_or_none("status"),
        part.number("first_byte_seconds"),
        part.number("seconds_per_output_token"),
        part.number("duration_seconds"),
    )


def _refusal(part: Part) -> RefusalSeen:
    return RefusalSeen(part.text("pool"), part.text("reason"), part.count("status"), part.count("requests"))


def _autoscaler(part: Part) -> AutoscalerSeen:
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


def _scaled_metric(part: Part) -> ScaledMetricSeen:
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


def _trigger(part: Part) -> TriggerSeen:
    value, why = part.number("value"), part.text("why")
    return TriggerSeen(
        scaled_object=part.text("scaled_object"),
        pool=part.text("pool"),
        model=part.text("model"),
        metric=part.text("metric"),
        target=part.number("target"),
        value=Told(value, part.number("age_seconds"), why if value is None else ""),
        why="" if value is None else why,
        active=part.flag_or_none("active"),
        active_age_seconds=part.number("active_age_seconds"),
        why_not_known=part.text("why_not_known"),
        streams=part.count("streams"),
    )
