"""What operators apply agrees with the code: ports, names, rights and metrics."""

from pathlib import Path
from typing import Any

import yaml

from adapter.registration import API_SERVICES
from infscale.config import load_config
from infscale.metrics.published import BY_NAME

MANIFESTS = Path(__file__).parent.parent / "manifests"
ADAPTER = MANIFESTS / "adapter"


def documents(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


def applied() -> list[dict[str, Any]]:
    [kustomization] = documents(ADAPTER / "kustomization.yaml")
    return [document for name in kustomization["resources"] for document in documents(ADAPTER / name)]


def one(kind: str, name: str) -> dict[str, Any]:
    [found] = [each for each in applied() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def test_every_file_of_the_folder_is_applied() -> None:
    [kustomization] = documents(ADAPTER / "kustomization.yaml")
    used = {*kustomization["resources"], *kustomization["configMapGenerator"][0]["files"]}
    assert used == {each.name for each in ADAPTER.iterdir()} - {"kustomization.yaml", "README.md"}


def test_the_container_s_ports_are_those_the_configuration_listens_on() -> None:
    config = load_config(ADAPTER / "serve.yaml")
    [container] = one("Deployment", "infscale")["spec"]["template"]["spec"]["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"https": config.adapter.listen.port, "ext-proc": config.picker.listen.port}
    for service in ("infscale-adapter", "infscale-picker"):
        assert {each["targetPort"] for each in one("Service", service)["spec"]["ports"]} <= set(ports)


def test_the_adapter_s_service_is_the_one_its_certificate_and_the_api_services_name() -> None:
    service = load_config(ADAPTER / "serve.yaml").adapter.service
    wanted = {"name": service.name, "namespace": service.namespace}
    assert one("Service", service.name)["metadata"] == wanted
    found = {each["metadata"]["name"]: each["spec"] for each in applied() if each["kind"] == "APIService"}
    assert set(found) == set(API_SERVICES)
    assert all(spec["service"] == wanted for spec in found.values())
    assert not any("insecureSkipTLSVerify" in spec for spec in found.values())


def test_open_exchanges_have_time_to_end() -> None:
    pod = one("Deployment", "infscale")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > load_config(ADAPTER / "serve.yaml").picker.drain_timeout_seconds


def test_rights_are_bound_to_infscale_s_account_alone() -> None:
    for each in applied():
        for subject in each.get("subjects", []):
            assert subject == {"kind": "ServiceAccount", "name": "infscale", "namespace": "infscale-system"}


def test_the_hpas_of_the_examples_ask_for_metrics_that_exist() -> None:
    asked = [
        metric[form]["metric"]["name"]
        for each in documents(MANIFESTS / "examples" / "hpa.yaml")
        for metric in each["spec"]["metrics"]
        for form in ("pods", "object", "external")
        if form in metric
    ]
    assert len(asked) == 3
    assert set(asked) <= set(BY_NAME)


def test_the_example_of_envoy_gateway_asks_the_picker_s_service_and_may() -> None:
    example = {each["kind"]: each for each in documents(MANIFESTS / "examples" / "envoy-gateway.yaml")}
    policy = example["EnvoyExtensionPolicy"]
    [asked] = policy["spec"]["extProc"][0]["backendRefs"]
    service = one("Service", asked["name"])
    assert service["metadata"]["namespace"] == asked["namespace"]
    [port] = service["spec"]["ports"]
    assert (port["port"], port["appProtocol"]) == (asked["port"], "kubernetes.io/h2c")
    grant = example["ReferenceGrant"]
    assert grant["metadata"]["namespace"] == asked["namespace"]
    group = policy["apiVersion"].partition("/")[0]
    asking = {"group": group, "kind": policy["kind"], "namespace": policy["metadata"]["namespace"]}
    assert grant["spec"] == {"from": [asking], "to": [{"group": "", "kind": "Service", "name": asked["name"]}]}
