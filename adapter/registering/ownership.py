"""Which Service answers which version of the metrics APIs, and what of another adapter's infscale would take over.

An APIService leads every request for one group and version to one Service. Of a group with several versions an HPA
asks the preferred one alone, whatever the metric: where one adapter serves custom metrics as v1beta1 and another as
v1beta2, it asks the second for everything.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from adapter.api.paths import CUSTOM_GROUP, EXTERNAL_GROUP, CustomVersion
from adapter.registering.issuing import Subject

CUSTOM_V1BETA1 = f"{CustomVersion.V1BETA1.value}.{CUSTOM_GROUP}"
CUSTOM_V1BETA2 = f"{CustomVersion.V1BETA2.value}.{CUSTOM_GROUP}"
EXTERNAL_V1BETA1 = f"v1beta1.{EXTERNAL_GROUP}"
API_GROUP = "apiregistration.k8s.io"
API_SERVICES_PATH = f"/apis/{API_GROUP}/v1/apiservices"
API_SERVICES = (CUSTOM_V1BETA1, CUSTOM_V1BETA2, EXTERNAL_V1BETA1)
"""Names of the APIServices that may be the adapter's."""

_KEDA: Final = "keda-operator-metrics-apiserver"

JsonObject = Mapping[str, Any]


class Owner(enum.Enum):
    """Where an APIService leads."""

    INFSCALE = "infscale"
    OTHER = "other"
    NONE = "none"
    """There is no such APIService."""


@dataclass(frozen=True, slots=True)
class ApiService:
    """One APIService: where it leads (``namespace/name``, "" for nowhere), its priority, and whether it answers."""

    name: str
    owner: Owner
    service: str = ""
    priority: int = 0
    is_available: bool = False

    @property
    def known_owner(self) -> str:
        """Where it leads, in one of few words: KEDA has one of its own."""
        return "keda" if self.owner is Owner.OTHER and is_keda(self.service) else self.owner.value

    @property
    def rank(self) -> tuple[int, str]:
        """The version of a group with the highest rank is the preferred one."""
        return (self.priority, self.name)


def is_keda(service: str) -> bool:
    """Whether a Service (``namespace/name``) is that of KEDA's metrics adapter."""
    return service.partition("/")[2] == _KEDA


def answered_by(name: str, service: str) -> str:
    """What there is to say of an APIService that leads to another Service."""
    if name == EXTERNAL_V1BETA1 and is_keda(service):
        return (
            f"KEDA ({service}) answers {name}: infscale leaves it alone; a ScaledObject asks infscale with a trigger "
            "of type external (docs/keda.md)"
        )
    return f"APIService {name} leads to {service}: its metrics are answered there, not here"


def read_api_service(name: str, found: JsonObject | None, subject: Subject) -> ApiService:
    """The APIService `name` as the API server has it (None: it has none), where `subject` is infscale's Service."""
    if found is None:
        return ApiService(name, Owner.NONE)
    spec = found.get("spec") or {}
    service = spec.get("service")
    if not service:
        return ApiService(name, Owner.OTHER, "the API server itself", int(spec.get("versionPriority") or 0), True)
    place = (service.get("namespace"), service.get("name"))
    owner = Owner.INFSCALE if place == (subject.namespace, subject.service) else Owner.OTHER
    conditions = (found.get("status") or {}).get("conditions") or ()
    available = any(each.get("type") == "Available" and each.get("status") == "True" for each in conditions)
    return ApiService(name, owner, f"{place[0]}/{place[1]}", int(spec.get("versionPriority") or 0), available)


@dataclass(frozen=True, slots=True)
class Ownership:
    """Which Service has what, by the names of `API_SERVICES`."""

    services: Mapping[str, ApiService]

    @classmethod
    def of(cls, services: Iterable[ApiService]) -> "Ownership":
        """The ownership that these amount to."""
        return cls({each.name: each for each in services})

    @property
    def other_adapter(self) -> str | None:
        """The Service of another adapter whose custom metrics are asked of infscale; None where there is none.

        It has v1beta1, infscale has v1beta2, and that is the one an HPA prefers.
        """
        older, newer = self.services[CUSTOM_V1BETA1], self.services[CUSTOM_V1BETA2]
        taken = older.owner is Owner.OTHER and newer.owner is Owner.INFSCALE and newer.rank > older.rank
        return older.service if taken else None

    @property
    def is_passed_over(self) -> bool:
        """Whether infscale has a version of the custom metrics that no HPA asks for, since another is preferred."""
        older, newer = self.services[CUSTOM_V1BETA1], self.services[CUSTOM_V1BETA2]
        there = [each for each in (older, newer) if each.owner is not Owner.NONE]
        ours = [each for each in there if each.owner is Owner.INFSCALE]
        return bool(ours) and max(there, key=lambda each: each.rank).owner is not Owner.INFSCALE


@dataclass(frozen=True, slots=True)
class Verdict:
    """What there is to say of an ownership: whether metrics of another adapter are lost, why, and what to do.

    `reason` is one word for a condition, `message` a sentence for people. `is_settled`: nothing has to be done.
    """

    is_settled: bool
    reason: str
    message: str


def judged(ownership: Ownership, *, forwards: bool) -> Verdict:
    """The verdict on the custom metrics, where infscale passes unknown ones on (`forwards`) or not."""
    other = ownership.other_adapter
    if other is not None and forwards:
        return Verdict(True, "Forwarded", f"metrics that infscale does not know are asked of {other}")
    if other is not None:
        return Verdict(
            False,
            "MetricsOfAnotherAdapterLost",
            f"an HPA asks {CUSTOM_V1BETA2} for every custom metric, so those of {other}, which serves {CUSTOM_V1BETA1} "
            "alone, are asked of infscale and not found: set adapter.forward, or delete the APIService "
            f"{CUSTOM_V1BETA2}",
        )
    if ownership.is_passed_over:
        return Verdict(
            False,
            "NotPreferred",
            "an HPA asks a version of the custom metrics that another adapter serves: those of infscale are not "
            "found; use its external metrics, or give its APIService the highest versionPriority",
        )
    return Verdict(True, "NoOtherAdapter", "no other adapter has custom metrics")


@dataclass(frozen=True, slots=True)
class Overlay:
    """A folder of ``manifests/adapter/overlays``: which APIServices it makes infscale's."""

    name: str
    api_services: tuple[str, ...]


OVERLAYS = (
    Overlay("custom-metrics", (CUSTOM_V1BETA1, CUSTOM_V1BETA2)),
    Overlay("custom-metrics-beside", (CUSTOM_V1BETA2,)),
    Overlay("external-metrics", (EXTERNAL_V1BETA1,)),
)


@dataclass(frozen=True, slots=True)
class Advice:
    """Whether an overlay may be applied, and why."""

    overlay: str
    may: bool
    why: str


def advice(ownership: Ownership) -> tuple[Advice, ...]:
    """What would become of the cluster with each overlay."""
    return tuple(_advice(overlay, ownership) for overlay in OVERLAYS)


def _advice(overlay: Overlay, ownership: Ownership) -> Advice:
    taken = [ownership.services[name] for name in overlay.api_services]
    others = [each for each in taken if each.owner is Owner.OTHER]
    if others:
        lost = ", ".join(f"{each.name} from {each.service}" for each in others)
        return Advice(overlay.name, False, f"it would take {lost}")
    older = ownership.services[CUSTOM_V1BETA1]
    why = "no other adapter has it"
    if overlay.api_services == (CUSTOM_V1BETA2,):
        why += "; without another adapter take custom-metrics"
        if older.owner is Owner.OTHER:
            why = f"with adapter.forward: metrics that infscale does not know are asked of {older.service}"
    return Advice(overlay.name, True, why)
