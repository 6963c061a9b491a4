"""Which Service has what, what is lost, and what an overlay would take."""

from typing import Any

import pytest

from adapter.registering.issuing import Subject
from adapter.registering.ownership import (
    API_SERVICES,
    CUSTOM_V1BETA1,
    CUSTOM_V1BETA2,
    EXTERNAL_V1BETA1,
    Owner,
    Ownership,
    advice,
    answered_by,
    judged,
    read_api_service,
)

SUBJECT = Subject("infscale-adapter", "infscale-system")
PLACES = {
    "ours": {"name": "infscale-adapter", "namespace": "infscale-system"},
    "theirs": {"name": "prometheus-adapter", "namespace": "monitoring"},
    "keda": {"name": "keda-operator-metrics-apiserver", "namespace": "autoscaling"},
}


def ownership(*places: str, priorities: tuple[int, int, int] = (100, 200, 100)) -> Ownership:
    """Places of v1beta1, v1beta2 and external; "-" is that of none."""
    found = []
    for name, place, priority in zip(API_SERVICES, places, priorities, strict=True):
        spec = {"service": PLACES.get(place), "versionPriority": priority}
        found.append(read_api_service(name, None if place == "-" else {"spec": spec}, SUBJECT))
    return Ownership.of(found)


@pytest.mark.parametrize(
    ("places", "priorities", "forwards", "reason"),
    [
        (("-", "-", "-"), (100, 200, 100), False, "NoOtherAdapter"),
        (("ours", "ours", "ours"), (100, 200, 100), False, "NoOtherAdapter"),
        (("theirs", "-", "theirs"), (100, 200, 100), False, "NoOtherAdapter"),
        (("theirs", "ours", "theirs"), (100, 200, 100), False, "MetricsOfAnotherAdapterLost"),
        (("theirs", "ours", "theirs"), (100, 200, 100), True, "Forwarded"),
        # Of equal priority the later version is preferred.
        (("theirs", "ours", "-"), (100, 100, 100), False, "MetricsOfAnotherAdapterLost"),
        (("theirs", "ours", "-"), (300, 200, 100), True, "NotPreferred"),
        (("ours", "theirs", "-"), (100, 200, 100), True, "NotPreferred"),
        (("ours", "theirs", "-"), (300, 200, 100), True, "NoOtherAdapter"),
    ],
)
def test_what_is_lost_is_judged_by_what_the_hpa_prefers(
    places: tuple[str, ...], priorities: tuple[int, int, int], forwards: bool, reason: str
) -> None:
    verdict = judged(ownership(*places, priorities=priorities), forwards=forwards)
    assert verdict.reason == reason
    assert verdict.is_settled == (reason in {"NoOtherAdapter", "Forwarded"})


def test_the_message_names_the_other_adapter_and_both_ways_out() -> None:
    message = judged(ownership("theirs", "ours", "-"), forwards=False).message
    assert all(word in message for word in ("monitoring/prometheus-adapter", "adapter.forward", CUSTOM_V1BETA2))


def test_what_the_api_server_serves_itself_is_another_s() -> None:
    found = read_api_service(CUSTOM_V1BETA1, {"spec": {"group": "x"}}, SUBJECT)
    assert (found.owner, found.service) == (Owner.OTHER, "the API server itself")


@pytest.mark.parametrize("found", [{}, {"spec": None}, {"spec": {"service": {}}, "status": None}])
def test_odd_api_services_are_read(found: dict[str, Any]) -> None:
    assert read_api_service(CUSTOM_V1BETA1, found, SUBJECT).owner is Owner.OTHER


@pytest.mark.parametrize(
    ("places", "may"),
    [
        (("-", "-", "-"), {"custom-metrics", "custom-metrics-beside", "external-metrics"}),
        (("ours", "ours", "ours"), {"custom-metrics", "custom-metrics-beside", "external-metrics"}),
        (("theirs", "-", "theirs"), {"custom-metrics-beside"}),
        (("theirs", "theirs", "-"), {"external-metrics"}),
        (("-", "theirs", "ours"), {"external-metrics"}),
        (("theirs", "ours", "ours"), {"custom-metrics-beside", "external-metrics"}),
    ],
)
def test_an_overlay_may_be_applied_where_it_takes_nothing(places: tuple[str, ...], may: set[str]) -> None:
    said = {each.overlay: each for each in advice(ownership(*places))}
    assert {name for name, each in said.items() if each.may} == may
    for each in said.values():
        assert each.may or "monitoring/prometheus-adapter" in each.why
    if places[0] == "theirs":
        assert "adapter.forward" in said["custom-metrics-beside"].why or not said["custom-metrics-beside"].may


def test_the_external_metrics_are_one_adapter_s() -> None:
    assert ownership("-", "-", "theirs").services[EXTERNAL_V1BETA1].owner is Owner.OTHER


def test_keda_is_known_by_its_service_and_has_the_external_metrics() -> None:
    found = ownership("theirs", "-", "keda")
    owners = {name: each.known_owner for name, each in found.services.items()}
    assert owners == {CUSTOM_V1BETA1: "other", CUSTOM_V1BETA2: "none", EXTERNAL_V1BETA1: "keda"}
    words = answered_by(EXTERNAL_V1BETA1, found.services[EXTERNAL_V1BETA1].service)
    assert words.startswith(
        "KEDA (autoscaling/keda-operator-metrics-apiserver) answers v1beta1.external.metrics.k8s.io"
    )
    assert "trigger of type external" in words
    assert answered_by(EXTERNAL_V1BETA1, "a/b").startswith("APIService v1beta1.external.metrics.k8s.io leads to a/b")
    assert [each.may for each in advice(found) if each.overlay == "external-metrics"] == [False]
