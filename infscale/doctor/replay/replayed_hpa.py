"""The HPA of a replay: read from its file, with or without other settings."""

from dataclasses import dataclass, field, replace

from infscale.doctor.next_sync import SOURCES
from infscale.doctor.reading.plain_json import Json
from infscale.doctor.reading.scaler_objects import autoscaler
from infscale.doctor.view.seen_scalers import SeenMetric
from infscale.documents.strict_document import Field, quoted
from infscale.endpoint import ObjectKey
from infscale.errors import ConfigError
from infscale.planner.hpa_rules import Behavior, Bounds
from infscale.planner.scale_target import ControllerSettings, Tolerance

_DEFAULT_SETTINGS = ControllerSettings()
_MAX_WINDOW_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class ReplayedHpa:
    """What of an HPA, and of the controller's flags, decides about replicas."""

    key: ObjectKey
    metrics: tuple[SeenMetric, ...]
    bounds: Bounds
    settings: ControllerSettings = _DEFAULT_SETTINGS


@dataclass(frozen=True, slots=True)
class Overrides:
    """Other settings of an HPA, None where they stay. `targets_milli` are by the metrics' names.

    Targets are milli-units, per cent for a utilisation (given in milli-units as well). A tolerance is of both
    directions.
    """

    targets_milli: dict[str, int] = field(default_factory=dict[str, int], hash=False)
    tolerance: float | None = None
    down_window_seconds: float | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None

    @property
    def is_there(self) -> bool:
        """Whether anything is another."""
        return self != Overrides()


def read_hpa(root: Field) -> ReplayedHpa:
    """The HPA of a document. Raises `ConfigError` where the API server would refuse it."""
    given = root.entries()
    version = given["apiVersion"].text() if "apiVersion" in given else ""
    kind = given["kind"].text() if "kind" in given else ""
    if (version, kind) != ("autoscaling/v2", "HorizontalPodAutoscaler"):
        root.refuse(f"expected a HorizontalPodAutoscaler of autoscaling/v2, got {quoted(f'{version} {kind}')}")
    plain = root.plain()
    seen = autoscaler(Json(plain))
    if not seen.metrics:
        root.refuse("spec.metrics: expected at least one metric")
    for each in seen.metrics:
        target = each.target_milli if each.target_percent is None else each.target_percent
        if each.form not in SOURCES or not each.name:
            root.refuse(f"{each.field}: expected a metric of type {', '.join(SOURCES)} with a name")
        if target is None or target <= 0:
            root.refuse(f"{each.field}: expected a target above 0")
    names = [each.name for each in seen.metrics]
    if len(set(names)) != len(names):
        root.refuse("spec.metrics: two metrics have one name, and a history cannot tell them apart")
    _check_behavior(root, Json(plain))
    return ReplayedHpa(seen.key, seen.metrics, _bounds(root, seen.max_replicas, seen.min_replicas, seen.behavior))


def _bounds(root: Field, most: int, least: int, behavior: Behavior | None) -> Bounds:
    try:
        return Bounds(most, least, behavior)
    except ValueError:
        root.refuse(f"spec: expected minReplicas ≤ maxReplicas and maxReplicas of at least 1, got {least} and {most}")


def _check_behavior(root: Field, document: Json) -> None:
    """Refuse rules that a lenient reader would replace by the defaults: a replay of others says nothing."""
    for direction in ("scaleUp", "scaleDown"):
        rules = document.at("spec", "behavior", direction)
        place = f"spec.behavior.{direction}"
        for index, each in enumerate(rules.at("policies").items()):
            value, period = each.at("value").whole(), each.at("periodSeconds").whole()
            if each.at("type").text() not in ("Pods", "Percent") or value < 1 or not 1 <= period <= 1800:
                form = "type Pods or Percent, a value above 0 and periodSeconds of 1 to 1800"
                root.refuse(f"{place}.policies[{index}]: expected {form}")
        window = rules.at("stabilizationWindowSeconds")
        if window.is_there and not 0 <= window.whole(-1) <= _MAX_WINDOW_SECONDS:
            root.refuse(f"{place}.stabilizationWindowSeconds: expected 0 to {_MAX_WINDOW_SECONDS:g}")
        if rules.at("selectPolicy").text("Max") not in ("Max", "Min", "Disabled"):
            root.refuse(f"{place}.selectPolicy: expected Max, Min or Disabled")
        tolerance = rules.at("tolerance")
        if tolerance.is_there and ((found := tolerance.quantity()) is None or found < 0):
            root.refuse(f"{place}.tolerance: expected a quantity of at least 0")


def overridden(hpa: ReplayedHpa, other: Overrides) -> ReplayedHpa:
    """The HPA with other settings. Raises `ConfigError`."""
    unknown = sorted(set(other.targets_milli) - {each.name for each in hpa.metrics})
    if unknown:
        has = ", ".join(each.name for each in hpa.metrics)
        raise ConfigError("arguments", "--target", f"the HPA has no metric {quoted(unknown[0])}; it has {has}")
    metrics = tuple([_with_target(each, other.targets_milli.get(each.name)) for each in hpa.metrics])
    settings, behavior = hpa.settings, hpa.bounds.behavior
    if other.tolerance is not None:
        settings = replace(settings, tolerance=Tolerance(other.tolerance, other.tolerance))
        if behavior is not None:
            behavior = Behavior(
                replace(behavior.scale_up, tolerance=other.tolerance),
                replace(behavior.scale_down, tolerance=other.tolerance),
            )
    if other.down_window_seconds is not None:
        settings = replace(settings, downscale_stabilization_seconds=other.down_window_seconds)
        if behavior is not None:
            down = replace(behavior.scale_down, stabilization_window_seconds=other.down_window_seconds)
            behavior = replace(behavior, scale_down=down)
    least = hpa.bounds.min_replicas if other.min_replicas is None else other.min_replicas
    most = hpa.bounds.max_replicas if other.max_replicas is None else other.max_replicas
    try:
        bounds = Bounds(most, least, behavior)
    except ValueError:
        problem = f"expected 0 ≤ min ≤ max and a max of at least 1, got {least} and {most}"
        raise ConfigError("arguments", "--min, --max", problem) from None
    return ReplayedHpa(hpa.key, metrics, bounds, settings)


def _with_target(metric: SeenMetric, target_milli: int | None) -> SeenMetric:
    if target_milli is None:
        return metric
    if metric.target_percent is not None:
        return replace(metric, target_percent=max(1, round(target_milli / 1000)))
    return replace(metric, target_milli=target_milli)
