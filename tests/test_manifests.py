"""What operators apply agrees with the code: ports, names, rights and metrics."""

import argparse
import asyncio
import itertools
import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from aiohttp import ClientSession
from yarl import URL

from adapter.access.reviews import REVIEW_NEEDS
from adapter.access.trust_watch import TRUST_NEEDS
from adapter.api.paths import TELEMETRY_PATH
from adapter.registering.ownership import API_SERVICES, OVERLAYS, Overlay
from infscale.cli import node_agent
from infscale.config.read import load_config, read_config
from infscale.documents.strict_document import load
from infscale.endpoint import ObjectKey
from infscale.keda.trigger_metadata import Asked, SloTrigger, read_trigger
from infscale.kube.api.client import CredentialSource, KubeClient
from infscale.kube.discovery import FollowSettings, KubernetesDiscovery
from infscale.kube.rights import Right, rights
from infscale.metrics.published.catalogue import BY_NAME
from infscale.metrics.published.metric_table import MetricTable
from infscale.node_agent.kubelet import SOCKET
from infscale.process.listening import listening_place
from infscale.serving.composition import PARTS, Given, composed
from infscale.serving.discovering import Discovering
from infscale.sources.node_agent_names import PORT
from picker.epp_config.loader import preset

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
    assert used == {each.name for each in ADAPTER.iterdir()} - {"kustomization.yaml", "README.md", "overlays"}
    for folder in (ADAPTER / "overlays").iterdir():
        [kustomization] = documents(folder / "kustomization.yaml")
        included = {each for each in kustomization["resources"] if each.startswith("../")}
        assert all((folder / each / "kustomization.yaml").exists() for each in included)
        own = set(kustomization["resources"]) - included
        assert own == {each.name for each in folder.iterdir()} - {"kustomization.yaml"}


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
    assert wanted.items() <= one("Service", service.name)["metadata"].items()
    assert not [each for each in applied() if each["kind"] == "APIService"], "an API is taken by an overlay alone"
    for overlay in OVERLAYS:
        found = {each["metadata"]["name"]: each["spec"] for each in of_overlay(overlay) if each["kind"] == "APIService"}
        assert set(found) == set(overlay.api_services)
        assert all(spec["service"] == wanted for spec in found.values())
        assert not any("insecureSkipTLSVerify" in spec for spec in found.values())
    assert {name for overlay in OVERLAYS for name in overlay.api_services} == set(API_SERVICES)


def of_overlay(overlay: Overlay) -> list[dict[str, Any]]:
    folder = ADAPTER / "overlays" / overlay.name
    [kustomization] = documents(folder / "kustomization.yaml")
    return [document for name in kustomization["resources"] for document in documents(folder / name)]


def test_every_right_has_a_reason_in_the_readme() -> None:
    roles = [each for each in applied() if each["kind"] in {"Role", "ClusterRole"}]
    bindings = [each for each in applied() if each["kind"] in {"RoleBinding", "ClusterRoleBinding"}]
    told = (ADAPTER / "README.md").read_text()
    beside = [each for each in of_overlay(OVERLAYS[1]) if each["kind"] != "APIService"]
    for each in (*roles, *bindings, *beside):
        assert f"`{each['metadata']['name']}`" in told, each["metadata"]["name"]


# Kubernetes' own roles, which are bound and not written here.
_OF_KUBERNETES = {
    "system:auth-delegator": REVIEW_NEEDS,
    "extension-apiserver-authentication-reader": TRUST_NEEDS,
}


def granted(documents: Iterable[dict[str, Any]]) -> frozenset[Right]:
    """The rights that infscale's own account has: those of people (readers of metrics) are others'."""
    made = [*documents]
    roles = {each["metadata"]["name"]: each for each in made if each["kind"] in {"Role", "ClusterRole"}}
    found: set[Right] = set()
    for binding in made:
        if not binding["kind"].endswith("RoleBinding"):
            continue
        name = binding["roleRef"]["name"]
        if name in _OF_KUBERNETES:
            found |= _OF_KUBERNETES[name]
            continue
        for rule in roles[name]["rules"]:
            for group, resource in itertools.product(rule["apiGroups"], rule["resources"]):
                names = rule.get("resourceNames", [None])
                found |= rights(rule["verbs"], group, resource, names, roles[name]["metadata"].get("namespace"))
    return frozenset(found)


async def test_what_parts_need_is_what_is_granted() -> None:
    """As the deployment is configured: in a cluster, beside another adapter."""
    config = await asyncio.to_thread(load_config, ADAPTER / "serve.yaml")
    async with ClientSession() as session:
        client = KubeClient(session, URL("https://127.0.0.1:1"), cast(CredentialSource, None))
        follows = KubernetesDiscovery(client, FollowSettings(), lambda: 0.0, random.Random(1))
        discovery = Discovering(follows.states(), int, dict, lambda _: None, follows.needs())
        made = composed(Given(config, preset("infscale"), None, client, discovery, random.Random(1)), PARTS)
        needed = frozenset(right for part in made.parts for right in part.needs())
    assert needed == granted([*applied(), *of_overlay(OVERLAYS[1])])


def test_no_right_is_to_everything() -> None:
    """Beside the metrics, whose names are not known before: no rule names every group, resource or verb."""
    for each in (*applied(), *of_overlay(OVERLAYS[1])):
        for rule in each.get("rules", []):
            assert "*" not in {*rule["apiGroups"], *rule["verbs"]}
            if "*" in rule["resources"]:
                assert set(rule["apiGroups"]) <= {"custom.metrics.k8s.io", "external.metrics.k8s.io"}
                assert set(rule["verbs"]) <= {"get", "list"}


def test_the_namespace_takes_restricted_pods_and_the_deployment_s_is_one() -> None:
    labels = one("Namespace", "infscale-system")["metadata"]["labels"]
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {"restricted"}
    pod = one("Deployment", "infscale")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"] == {"memory": "1Gi"}


def test_only_gateways_reach_ext_proc_and_only_the_api_server_the_adapter() -> None:
    [policy] = documents(ADAPTER / "overlays" / "network-policy" / "network.yaml")
    template = one("Deployment", "infscale")["spec"]["template"]
    assert policy["spec"]["podSelector"]["matchLabels"] == template["metadata"]["labels"]
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    ports = {each["name"] for each in template["spec"]["containers"][0]["ports"]}
    by_port: dict[Any, list[Any]] = {}
    for rule in policy["spec"]["ingress"]:
        by_port.setdefault(rule["ports"][0]["port"], []).extend(rule["from"])
    keda = by_port.pop(9005)
    assert keda == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}}]
    assert set(by_port) == ports
    # A pod's labels are written by its owner, those of a namespace are not.
    assert by_port["ext-proc"] == [{"namespaceSelector": {"matchLabels": {"infscale.dev/gateways": "true"}}}]
    *api_server, prometheus = by_port["https"]
    assert all(each["ipBlock"]["cidr"].endswith("/32") for each in api_server)
    assert prometheus == {"namespaceSelector": {"matchLabels": {"infscale.dev/monitoring": "true"}}}


@pytest.mark.parametrize(
    ("overlay", "kind", "endpoints"),
    [
        ("service-monitor", "ServiceMonitor", "endpoints"),
        ("pod-monitor", "PodMonitor", "podMetricsEndpoints"),
    ],
)
def test_a_monitor_scrapes_what_there_is_with_the_token_of_an_account_that_may(
    overlay: str, kind: str, endpoints: str
) -> None:
    folder = ADAPTER / "overlays"
    [monitor] = documents(folder / overlay / "monitor.yaml")
    assert (monitor["kind"], monitor["apiVersion"]) == (kind, "monitoring.coreos.com/v1")
    selector = monitor["spec"]["selector"]["matchLabels"]
    service = one("Service", "infscale-adapter")
    if kind == "ServiceMonitor":
        assert selector.items() <= service["metadata"]["labels"].items()
        ports = {each["name"] for each in service["spec"]["ports"]}
    else:
        template = one("Deployment", "infscale")["spec"]["template"]
        assert selector == template["metadata"]["labels"]
        ports = {each["name"] for each in template["spec"]["containers"][0]["ports"]}
    [endpoint] = monitor["spec"][endpoints]
    assert endpoint["port"] in ports
    assert (endpoint["path"], endpoint["scheme"], endpoint["honorLabels"]) == (TELEMETRY_PATH, "https", True)
    tls = endpoint["tlsConfig"]
    config = load_config(ADAPTER / "serve.yaml").adapter
    assert tls["serverName"] == f"{config.service.name}.{config.service.namespace}.svc"
    assert tls["ca"] == {"secret": {"name": f"{config.service.name}-ca", "key": "ca.crt"}}
    made = {(each["kind"], each["metadata"]["name"]): each for each in documents(folder / "metrics-access/access.yaml")}
    credentials = endpoint["authorization"]["credentials"]
    secret = made["Secret", credentials["name"]]
    account = secret["metadata"]["annotations"]["kubernetes.io/service-account.name"]
    assert (secret["type"], credentials["key"]) == ("kubernetes.io/service-account-token", "token")
    [subject] = made["ClusterRoleBinding", "infscale-prometheus"]["subjects"]
    assert (subject["name"], subject["namespace"]) == (account, monitor["metadata"]["namespace"])
    assert made["ClusterRole", "infscale-prometheus"]["rules"] == [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]


def test_a_node_is_not_emptied_of_the_one_infscale() -> None:
    budget = one("PodDisruptionBudget", "infscale")["spec"]
    assert budget["selector"]["matchLabels"] == one("Deployment", "infscale")["spec"]["selector"]["matchLabels"]
    assert budget["minAvailable"] == one("Deployment", "infscale")["spec"]["replicas"]


def test_the_configuration_has_the_fallback_that_the_gateway_s_example_retries_on() -> None:
    example = {each["kind"]: each for each in documents(MANIFESTS / "examples" / "envoy-gateway.yaml")}
    retries = example["BackendTrafficPolicy"]["spec"]["retry"]["numRetries"]
    assert 1 < load_config(ADAPTER / "serve.yaml").picker.destinations <= retries + 1


def test_keda_reaches_the_external_scaler_where_it_is_configured() -> None:
    """By the section that is written into the configuration as a comment, and the Service of the overlay."""
    text = (ADAPTER / "serve.yaml").read_text()
    config = load(re.sub(r"^# (keda:|  listen:)", r"\1", text, flags=re.MULTILINE), "serve.yaml")
    keda = read_config(config, ADAPTER).keda
    assert keda is not None
    assert load_config(ADAPTER / "serve.yaml").keda is None, "a port is opened for users of KEDA alone"
    [service] = documents(ADAPTER / "overlays" / "keda" / "service.yaml")
    assert service["spec"]["selector"] == one("Deployment", "infscale")["spec"]["selector"]["matchLabels"]
    [port] = service["spec"]["ports"]
    assert (port["targetPort"], keda.listen.host) == (keda.listen.port, "0.0.0.0")
    documented = re.findall(r"```yaml\n(.*?)```", (MANIFESTS.parent / "docs" / "keda.md").read_text(), re.DOTALL)
    examples = [*documents(MANIFESTS / "examples" / "scaledobject.yaml"), yaml.safe_load(documented[0])]
    for example in examples:
        [trigger] = checked_scaled_object(example)["triggers"]
        key = ObjectKey(example["metadata"]["namespace"], example["metadata"]["name"])
        read = read_trigger(Asked(key, trigger["metadata"]), MetricTable(), other_namespaces=False)
        assert isinstance(read, SloTrigger)
        where = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc:{port['port']}"
        assert trigger["metadata"]["scalerAddress"] == where
    assert read_config(load("discovery: {file: x}\n" + documented[1], "keda.md"), ADAPTER).keda is not None


# What a ScaledObject may have, in KEDA 2.21; the CRD itself is not needed for it.
_SCALED_OBJECT = {
    "scaleTargetRef": {"apiVersion", "kind", "name"},
    "minReplicaCount": int,
    "maxReplicaCount": int,
    "cooldownPeriod": int,
    "fallback": {"failureThreshold", "replicas", "behavior"},
    "advanced": {"horizontalPodAutoscalerConfig"},
    "triggers": list,
}


def checked_scaled_object(document: dict[str, Any]) -> dict[str, Any]:
    """The specification of a ScaledObject, of which every key is one that KEDA has."""
    assert (document["apiVersion"], document["kind"]) == ("keda.sh/v1alpha1", "ScaledObject")
    spec: dict[str, Any] = document["spec"]
    for key, value in spec.items():
        allowed = _SCALED_OBJECT[key]
        assert isinstance(value, allowed) if isinstance(allowed, type) else set(value) <= allowed, key
    for trigger in spec["triggers"]:
        assert trigger["type"] in {"external", "external-push"}
        assert all(isinstance(each, str) for item in trigger["metadata"].items() for each in item)
    return spec


def test_open_exchanges_have_time_to_end() -> None:
    pod = one("Deployment", "infscale")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > load_config(ADAPTER / "serve.yaml").picker.drain_timeout_seconds


def test_rights_are_bound_to_infscale_s_account_alone() -> None:
    for each in applied():
        for subject in each.get("subjects", []):
            assert subject == {"kind": "ServiceAccount", "name": "infscale", "namespace": "infscale-system"}


NODE_AGENT = MANIFESTS / "node-agent"


def agent_objects() -> dict[str, dict[str, Any]]:
    """What is applied for the node agent, by kind."""
    [kustomization] = documents(NODE_AGENT / "kustomization.yaml")
    return {each["kind"]: each for name in kustomization["resources"] for each in documents(NODE_AGENT / name)}


def test_every_file_of_the_node_agent_is_applied_into_its_namespace() -> None:
    [kustomization] = documents(NODE_AGENT / "kustomization.yaml")
    beside = {"kustomization.yaml", "README.md", "shared-gpus"}
    assert set(kustomization["resources"]) == {each.name for each in NODE_AGENT.iterdir()} - beside
    namespace = agent_objects()["Namespace"]["metadata"]["name"]
    told = (NODE_AGENT / "README.md").read_text()
    for kind, each in agent_objects().items():
        assert each["metadata"].get("namespace", namespace) == namespace
        assert f"{kind} `{each['metadata']['name']}`" in told


def test_the_node_agent_has_no_rights_and_only_the_kubelet_s_socket() -> None:
    objects = agent_objects()
    assert set(objects) == {"Namespace", "ServiceAccount", "DaemonSet", "NetworkPolicy"}, "no role, no binding"
    pod = objects["DaemonSet"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == objects["ServiceAccount"]["metadata"]["name"]
    assert pod["automountServiceAccountToken"] is objects["ServiceAccount"]["automountServiceAccountToken"] is False
    assert not {"hostPID", "hostNetwork", "hostIPC"} & set(pod)
    [container] = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [volume], [mount] = pod["volumes"], container["volumeMounts"]
    assert volume["hostPath"] == {"path": str(SOCKET.parent), "type": "Directory"}
    assert mount == {"name": volume["name"], "mountPath": str(SOCKET.parent), "readOnly": True}
    assert {each["key"] for each in pod["tolerations"]} == {"nvidia.com/gpu"}


def test_infscale_finds_the_node_agent_and_alone_may_read_it() -> None:
    objects = agent_objects()
    template = objects["DaemonSet"]["spec"]["template"]
    [container] = template["spec"]["containers"]
    parser = argparse.ArgumentParser()
    node_agent.add_arguments(parser)
    _, *flags = container["args"]
    place = listening_place(parser.parse_args(flags).listen)
    assert place is not None
    [port] = container["ports"]
    assert port["containerPort"] == place[1] == PORT
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}
    [example] = re.findall(r"```yaml\n(node_agent:.*?)```", (NODE_AGENT / "README.md").read_text(), re.S)
    pods = yaml.safe_load(example)["node_agent"]["pods"]
    assert pods["namespace"] == objects["Namespace"]["metadata"]["name"]
    assert pods["labels"].items() <= template["metadata"]["labels"].items()
    policy = objects["NetworkPolicy"]["spec"]
    assert policy["podSelector"]["matchLabels"] == template["metadata"]["labels"]
    [rule] = policy["ingress"]
    assert rule["ports"] == [{"port": port["name"], "protocol": "TCP"}]
    infscale = one("Deployment", "infscale")
    [reader] = rule["from"]
    assert reader["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": infscale["metadata"]["namespace"]
    }
    assert reader["podSelector"]["matchLabels"] == infscale["spec"]["template"]["metadata"]["labels"]


def test_the_component_of_shared_gpus_adds_the_node_s_processes_and_nothing_else() -> None:
    [component] = documents(NODE_AGENT / "shared-gpus" / "kustomization.yaml")
    [patch] = component["patches"]
    assert patch["target"]["name"] == agent_objects()["DaemonSet"]["metadata"]["name"]
    assert yaml.safe_load(patch["patch"]) == [
        {"op": "add", "path": "/spec/template/spec/hostPID", "value": True},
        {"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--host-pid"},
    ]


def test_the_hpas_of_the_examples_ask_for_metrics_that_exist() -> None:
    files = sorted((MANIFESTS / "examples").glob("hpa*.yaml"))
    assert len(files) == 3
    asked = [
        metric[form]["metric"]["name"]
        for path in files
        for each in documents(path)
        for metric in each["spec"]["metrics"]
        for form in ("pods", "object", "external")
        if form in metric
    ]
    assert len(asked) == 3, "one HPA a file, each of one metric: HPAs of one target fight"
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
