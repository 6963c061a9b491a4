"""Faults for the doctor to find on a real cluster: a sound set-up for a namespace each, and what is wrong in it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lab import documents
from lab.controlplane import Document

MODEL = "meta-llama/Llama-3.1-8B"
POOL_GROUP, LEGACY_GROUP = "inference.networking.k8s.io", "inference.networking.x-k8s.io"
GATEWAY = "gateway.networking.k8s.io"
PREFIX = "doctor-"

Plant = Callable[[str, Mapping[str, Document]], list[Document]]
"""Changes the sound documents of a namespace, which it gets by their kinds, and gives more."""


def definition(group: str, version: str, kind: str, plural: str, scope: str = "Namespaced") -> Document:
    """A kind of the field that the test cluster takes with whatever is in it."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
    notes = {"api-approved.kubernetes.io": "unapproved, for tests"} if group.endswith("k8s.io") else {}
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "annotations": notes},
        "spec": {"group": group, "names": names, "scope": scope, "versions": [served]},
    }


DEFINITIONS = (
    definition("keda.sh", "v1alpha1", "ScaledObject", "scaledobjects"),
    definition("autoscaling.aibrix.ai", "v1alpha1", "PodAutoscaler", "podautoscalers"),
    definition("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
    definition(GATEWAY, "v1", "HTTPRoute", "httproutes"),
    definition(GATEWAY, "v1", "Gateway", "gateways"),
    definition(GATEWAY, "v1", "GatewayClass", "gatewayclasses", "Cluster"),
    definition(GATEWAY, "v1", "BackendTLSPolicy", "backendtlspolicies"),
)


def deployment(namespace: str, name: str = "vllm") -> Document:
    """Model servers as they should be."""
    made = documents.deployment(namespace, name, MODEL, batch_size="64")
    pod = made["spec"]["template"]["spec"]
    pod["terminationGracePeriodSeconds"] = 40
    probe = {"httpGet": {"path": "/health", "port": 8000}}
    [container] = pod["containers"]
    container |= {"readinessProbe": probe, "livenessProbe": probe, "startupProbe": {**probe, "failureThreshold": 60}}
    container |= {"args": ["serve", "--max-num-seqs=64"], "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}
    container["resources"]["requests"] = {"cpu": "1"}
    return made


def autoscaler(namespace: str, name: str = "vllm", metric: Document | None = None) -> Document:
    made = documents.autoscaler(namespace, name, metric or documents.pods_metric("waiting_requests", "4"), 4, 300)
    made["spec"]["scaleTargetRef"]["name"] = "vllm"
    return made


def pool(namespace: str, name: str = "chat") -> Document:
    made = documents.pool(namespace, name)
    made["spec"]["selector"]["matchLabels"] = {"app": "vllm"}
    made["spec"]["endpointPickerRef"]["name"] = "epp"
    return made


def epp(namespace: str) -> tuple[Document, Document]:
    """The EPP's Service with a ready address, which no controller can give it on loopback."""
    metadata = {"name": "epp", "namespace": namespace}
    port = {"name": "ext-proc", "port": 9002, "protocol": "TCP"}
    labels = {"kubernetes.io/service-name": "epp"}
    return (
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"ports": [{**port, "appProtocol": "kubernetes.io/h2c"}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "labels": labels},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["192.0.2.3"], "conditions": {"ready": True}}],
            "ports": [port],
        },
    )


def backend(name: str = "chat", weight: int = 1, group: str = POOL_GROUP) -> Document:
    return {"group": group, "kind": "InferencePool", "name": name, "weight": weight}


def of_kind(version: str, kind: str, namespace: str, name: str, **fields: Any) -> Document:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def route(namespace: str, *backends: Document) -> Document:
    spec = {"parentRefs": [{"name": "gateway"}], "rules": [{"backendRefs": [*(backends or (backend(),))]}]}
    return of_kind(f"{GATEWAY}/v1", "HTTPRoute", namespace, "chat", spec=spec)


def objective(namespace: str, pool_name: str = "chat") -> Document:
    spec = {"poolRef": {"name": pool_name}, "priority": 1}
    return of_kind("llm-d.ai/v1alpha2", "InferenceObjective", namespace, "fast", spec=spec)


def scaled_object(namespace: str, target: str = "batch", **changes: Any) -> Document:
    trigger = {"type": "external-push", "metadata": {"scalerAddress": "infscale-keda.infscale-system:9005"}}
    fallback = {"failureThreshold": 3, "replicas": 1}
    spec = {"scaleTargetRef": {"name": target}, "minReplicaCount": 1, "triggers": [trigger], "fallback": fallback}
    return of_kind("keda.sh/v1alpha1", "ScaledObject", namespace, "batch", spec={**spec, **changes})


def pool_metric(name: str, kind: str, amount: str) -> Document:
    made = documents.pool_metric("chat", name, amount)
    made["object"]["target"] = {"type": kind, "value" if kind == "Value" else "averageValue": amount}
    return made


def rule(namespace: str, expression: str) -> Document:
    groups = [{"name": "llm", "rules": [{"alert": "Full", "expr": expression}]}]
    return of_kind("monitoring.coreos.com/v1", "PrometheusRule", namespace, "old", spec={"groups": groups})


def dashboard(namespace: str, expression: str) -> Document:
    made = of_kind("v1", "ConfigMap", namespace, "dashboard", data={"llm.json": f'{{"expr": "{expression}"}}'})
    made["metadata"]["labels"] = {"grafana_dashboard": "1"}
    return made


def sound(namespace: str) -> list[Document]:
    """A set-up in which nothing is wrong."""
    return [
        documents.new_namespace(namespace),
        deployment(namespace),
        *epp(namespace),
        pool(namespace),
        autoscaler(namespace),
        of_kind(f"{GATEWAY}/v1", "Gateway", namespace, "gateway", spec={"gatewayClassName": "istio"}),
        route(namespace),
        objective(namespace),
        scaled_object(namespace),
        rule(namespace, "vllm:kv_cache_usage_perc > 0.9"),
        dashboard(namespace, "sum(vllm:num_requests_waiting)"),
    ]


CORE = ("Namespace", "Deployment", "InferencePool", "HorizontalPodAutoscaler")
_ROUTED = ("Service", "EndpointSlice", "Gateway", "HTTPRoute")
MORE: Mapping[str, tuple[str, ...]] = {"D3": ("ScaledObject",), "D504": _ROUTED, "D6": _ROUTED}
"""The kinds that faults are about beside those, by how their codes begin."""


@dataclass(frozen=True)
class Faulty:
    """A namespace with the faults of `codes`."""

    codes: tuple[str, ...]

    @property
    def namespace(self) -> str:
        return f"{PREFIX}{self.codes[0].lower()}"

    def documents(self) -> list[Document]:
        """The part of a sound set-up that the faults are about, with the faults."""
        about = {kind for code in self.codes for start, more in MORE.items() if code.startswith(start) for kind in more}
        made = [each for each in sound(self.namespace) if each["kind"] in {*CORE, *about}]
        found = {each["kind"]: each for each in made}
        return [*made, *(each for code in self.codes for each in FAULTS[code](self.namespace, found))]


def changed(kind: str, change: Callable[[Document], None]) -> Plant:
    """A fault in the spec of the one object of a kind."""

    def plant(namespace: str, found: Mapping[str, Document]) -> list[Document]:
        del namespace
        change(found[kind]["spec"])
        return []

    return plant


def beside(*makers: Callable[[str], Document]) -> Plant:
    """Objects beside the sound ones."""
    return lambda namespace, found: [make(namespace) for make in makers]


def asking(metric: Document) -> Plant:
    """A metric instead of the sound one, beside others that are planted."""

    def plant(namespace: str, found: Mapping[str, Document]) -> list[Document]:
        spec = found["HorizontalPodAutoscaler"]["spec"]
        planted = [each for each in spec["metrics"] if each not in autoscaler(namespace)["spec"]["metrics"]]
        spec["metrics"] = [*planted, metric]
        return []

    return plant


def routing(*backends: Document) -> Plant:
    """A rule of the route that leads there, beside the sound one."""
    return changed("HTTPRoute", lambda spec: spec["rules"].append({"backendRefs": [*backends]}))


def behaving(direction: str, **rules: Any) -> Plant:
    return changed("HorizontalPodAutoscaler", lambda spec: spec["behavior"][direction].update(rules))


def without(probe: str) -> Plant:
    def drop(spec: Document) -> None:
        del spec["template"]["spec"]["containers"][0][probe]

    return changed("Deployment", drop)


def memory_share() -> Document:
    target = {"type": "Utilization", "averageUtilization": 80}
    return {"type": "Resource", "resource": {"name": "memory", "target": target}}


def wrong_group() -> Document:
    made = documents.pool_metric("chat", "waiting_requests", "4")
    made["object"]["describedObject"]["apiVersion"] = f"{POOL_GROUP}/v1alpha2"
    return made


def canary(namespace: str, *, selected: bool) -> Document:
    """Another Deployment whose pods the first one's selector matches; with a narrower selector of its own."""
    made = deployment(namespace, "canary")
    labels = {"app": "vllm", "role": "canary"}
    made["spec"]["selector"]["matchLabels"] = labels
    made["spec"]["template"]["metadata"]["labels"] = labels
    made["metadata"]["annotations"] = {"scaled": str(selected)}
    return made


def canary_autoscaler(namespace: str) -> Document:
    made = autoscaler(namespace, "canary")
    made["spec"]["scaleTargetRef"]["name"] = "canary"
    return made


def other_scaler(namespace: str) -> Document:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "vllm"}
    return of_kind(
        "autoscaling.aibrix.ai/v1alpha1", "PodAutoscaler", namespace, "vllm", spec={"scaleTargetRef": target}
    )


def tls_policy(namespace: str) -> Document:
    spec = {"targetRefs": [{"group": "", "kind": "Service", "name": "epp"}]}
    return of_kind(f"{GATEWAY}/v1", "BackendTLSPolicy", namespace, "epp", spec=spec)


def hurried(spec: Document) -> None:
    spec["template"]["spec"]["terminationGracePeriodSeconds"] = 12


def two_pools_asked_for(namespace: str, found: Mapping[str, Document]) -> list[Document]:
    """A ratio of whatever pool, of which there are two."""
    target = {"type": "Value", "value": "700m"}
    external = {"metric": {"name": "kv_cache_utilization_ratio"}, "target": target}
    asking({"type": "External", "external": external})(namespace, found)
    return [pool(namespace, "second")]


def two_pools_routed(namespace: str, found: Mapping[str, Document]) -> list[Document]:
    routing(backend(), backend("second", 0))(namespace, found)
    return [pool(namespace, "second")]


FAULTS: Mapping[str, Plant] = {
    "D101": asking(documents.pods_metric("waiting_request", "4")),
    "D102": asking(documents.pods_metric("inference_pool_average_kv_cache_utilization", "700m")),
    "D104": asking(documents.pods_metric("kv_cache_utilization_ratio", "80")),
    "D106": asking(documents.pods_metric("running_requests", "64")),
    "D107": asking(pool_metric("waiting_requests", "Value", "4")),
    "D108": asking(pool_metric("kv_cache_utilization_ratio", "AverageValue", "500m")),
    "D109": two_pools_asked_for,
    "D110": asking(wrong_group()),
    "D111": asking(documents.pool_metric("chatt", "waiting_requests", "4")),
    "D201": behaving("scaleUp", tolerance="500m"),
    "D202": beside(lambda namespace: autoscaler(namespace, "vllm-second")),
    "D203": beside(lambda namespace: scaled_object(namespace, "vllm") | {"metadata": _named(namespace, "vllm")}),
    "D204": beside(other_scaler),
    "D205": beside(lambda namespace: canary(namespace, selected=True), canary_autoscaler),
    "D206": beside(lambda namespace: canary(namespace, selected=False)),
    "D208": changed("HorizontalPodAutoscaler", lambda spec: spec["scaleTargetRef"].update(name="vlm")),
    "D209": behaving("scaleDown", selectPolicy="Disabled"),
    "D210": behaving("scaleDown", stabilizationWindowSeconds=0),
    "D211": asking(memory_share()),
    "D301": changed("ScaledObject", lambda spec: spec["triggers"][0]["metadata"].update(scalerAddress="keda")),
    "D302": changed("ScaledObject", lambda spec: spec.pop("fallback")),
    "D303": changed(
        "ScaledObject",
        lambda spec: spec.update(
            minReplicaCount=0, triggers=[{"type": "prometheus", "metadata": {"query": "vllm:num_requests_waiting"}}]
        ),
    ),
    "D304": changed(
        "ScaledObject",
        lambda spec: spec.update(
            triggers=[{"type": "prometheus", "metadata": {"query": "avg(vllm:num_requests_waiting)"}}]
        ),
    ),
    "D401": changed("Deployment", hurried),
    "D402": without("readinessProbe"),
    "D403": without("startupProbe"),
    "D501": beside(lambda namespace: _selecting(namespace, {"app": "vlm"})),
    "D503": changed("InferencePool", lambda spec: spec.update(targetPorts=[{"number": 8080}])),
    "D504": changed("InferencePool", lambda spec: spec["endpointPickerRef"].update(name="ep")),
    "D506": beside(lambda namespace: objective(namespace, "cat") | {"metadata": _named(namespace, "slow")}),
    "D601": two_pools_routed,
    "D602": routing(backend(), {"name": "epp", "port": 9002}),
    "D603": routing(backend(group=LEGACY_GROUP)),
    "D605": changed("InferencePool", lambda spec: spec["endpointPickerRef"].update(failureMode="FailOpen")),
    "D606": beside(tls_policy),
    "D701": beside(lambda namespace: rule(namespace, "avg(vllm:gpu_cache_usage_perc) > 0.9")),
    "D702": beside(lambda namespace: dashboard(namespace, "inference_pool_average_queue_size")),
}
"""What is planted for each rule: sound documents changed, or others beside them."""

_TOGETHER = (
    "D101",
    "D104 D102 D106 D107 D108 D110 D111",
    "D109",
    "D201 D209",
    "D202 D301 D302",
    "D203 D204",
    "D205",
    "D206 D506 D701 D702",
    "D208 D401 D402 D403",
    "D210 D211",
    "D303 D304",
    "D501 D503",
    "D504 D605",
    "D601 D602 D603 D606",
)
"""Faults that do not hide one another share a namespace: each takes seconds of a cluster."""
NAMESPACES = tuple(Faulty(tuple(codes.split())) for codes in _TOGETHER)


def _named(namespace: str, name: str) -> Document:
    return {"name": name, "namespace": namespace}


def _selecting(namespace: str, labels: Mapping[str, str]) -> Document:
    made = pool(namespace, "second")
    made["spec"]["selector"]["matchLabels"] = dict(labels)
    return made
