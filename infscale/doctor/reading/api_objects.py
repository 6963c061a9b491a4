"""APIServices, kinds and versions that an API server has, and what of infscale is in the cluster."""

import base64
import binascii
from collections.abc import Iterable, Mapping

from cryptography import x509

from adapter.registering.api_services import CONDITION
from infscale.doctor.reading.plain_json import Json
from infscale.doctor.view.seen_apis import SeenApiService
from infscale.endpoint import ObjectKey


def api_service(name: str, item: Json) -> SeenApiService:
    """An APIService."""
    spec = item.at("spec")
    service = spec.at("service")
    conditions = {each.at("type").text(): each for each in item.at("status", "conditions").items()}
    available, others = conditions.get("Available", Json()), conditions.get(CONDITION)
    bundle = spec.at("caBundle")
    return SeenApiService(
        name,
        ObjectKey(service.at("namespace").text(), service.at("name").text()) if service.is_there else None,
        available.at("status").text() == "True" or not service.is_there,
        available.at("reason").text(),
        available.at("message").text(),
        spec.at("versionPriority").whole(),
        _bundle_problem(bundle.value) if bundle.is_there else None,
        bundle.is_there,
        spec.at("insecureSkipTLSVerify").truth(),
        None if others is None else others.at("status").text() == "True",
    )


def _bundle_problem(bundle: object) -> str | None:
    """Why a CA bundle cannot be one; None where it is."""
    try:
        pem = base64.b64decode(str(bundle), validate=True)
        x509.load_pem_x509_certificates(pem)
    except (binascii.Error, ValueError):
        return "it is no certificate in PEM form"
    return None


def plurals(document: Json) -> Mapping[tuple[str, str], str]:
    """The resources of the kinds in a list of a group and version, by apiVersion and kind."""
    version = document.at("groupVersion").text()
    found: dict[tuple[str, str], str] = {}
    for each in document.at("resources").items():
        name = each.at("name").text()
        if "/" not in name:
            found[version, each.at("kind").text()] = name
    return found


def preferred(groups: Json, name: str, default: str) -> str:
    """The preferred version of an API group."""
    found = (each for each in groups.at("groups").items() if each.at("name").text() == name)
    return next((each.at("preferredVersion", "version").text(default) for each in found), default)


def served(groups: Json) -> frozenset[str]:
    """Every group and version that is served, as apiVersions."""
    return frozenset(
        version.at("groupVersion").text()
        for group in groups.at("groups").items()
        for version in group.at("versions").items()
    )


def minor_of(version: Json) -> int | None:
    """The 36 of Kubernetes 1.36; clouds write ``36+``."""
    digits = version.at("minor").text().rstrip("+")
    return int(digits) if digits.isdecimal() and len(digits) < 4 else None


def replica_set_owners(items: Iterable[Json]) -> Mapping[ObjectKey, tuple[str, str] | None]:
    """What owns each ReplicaSet."""
    return {each.key(): each.controller() for each in items}
