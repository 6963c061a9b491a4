from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from infscale.discovery.objects import READERS, InferenceModel, InferenceObject, read_model, read_object
from infscale.documents.strict_document import Plain, from_plain, load
from infscale.endpoint import (
    DescribedObject,
    FailureMode,
    Objective,
    ObjectKey,
    Pool,
    Rewrite,
    RewriteRule,
    RewriteTarget,
)
from infscale.errors import ConfigError
from infscale.labels import Selector

POOL = """\
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: chat}
spec:
  SPEC
"""
LEGACY_POOL = POOL.replace("inference.networking.k8s.io/v1", "inference.networking.x-k8s.io/v1alpha2")
OBJECTIVE = POOL.replace("inference.networking.k8s.io/v1", "llm-d.ai/v1alpha2").replace("Pool", "Objective")
REWRITE = POOL.replace("inference.networking.k8s.io/v1", "llm-d.ai/v1alpha2").replace(
    "InferencePool", "InferenceModelRewrite"
)
DEPLOYMENT = POOL.replace("inference.networking.k8s.io/v1", "apps/v1").replace("InferencePool", "Deployment")
SERVICE = DEPLOYMENT.replace("apps/v1", "v1").replace("Deployment", "Service")

KEY = ObjectKey("default", "chat")
APP = Selector.from_match_labels({"app": "x"})


def read(template: str, spec: str) -> InferenceObject:
    return read_object(load(template.replace("SPEC", dedent(spec).strip().replace("\n", "\n  ")), "f"))


@pytest.mark.parametrize(
    ("template", "spec", "expected"),
    [
        (
            POOL,
            "{selector: {matchLabels: {app: x}}, targetPorts: [{number: 8000}]}",
            Pool(KEY, {"app": "x"}, (8000,), FailureMode.CLOSE),
        ),
        (
            POOL,
            """
            selector: {matchLabels: {app: x, example.com/tier: ""}}
            targetPorts: [{number: 8000}, {number: 8002}]
            appProtocol: kubernetes.io/h2c
            endpointPickerRef: {group: "", kind: Service, name: epp, port: {number: 9002}, failureMode: FailOpen}
            """,
            Pool(KEY, {"app": "x", "example.com/tier": ""}, (8000, 8002), FailureMode.OPEN, h2c=True),
        ),
        (
            POOL,
            """
            selector: {matchLabels: {app: x}}
            targetPorts: [{number: 1}]
            endpointPickerRef: {group: example.com, kind: Picker, name: epp}
            """,
            Pool(KEY, {"app": "x"}, (1,)),
        ),
        (
            LEGACY_POOL,
            "{selector: {app: x}, targetPortNumber: 8000, extensionRef: {name: epp, failureMode: FailOpen}}",
            Pool(KEY, {"app": "x"}, (8000,), FailureMode.OPEN),
        ),
        (LEGACY_POOL, "{selector: {}, targetPortNumber: 8000, extensionRef: {name: epp}}", Pool(KEY, {}, (8000,))),
        (OBJECTIVE, "{poolRef: {name: chat}}", Objective(KEY, 0, "chat")),
        (OBJECTIVE, "{poolRef: {name: chat}, priority: -2147483648}", Objective(KEY, -(2**31), "chat")),
        (
            OBJECTIVE.replace("llm-d.ai", "inference.networking.x-k8s.io"),
            "{poolRef: {name: chat, kind: InferencePool, group: inference.networking.x-k8s.io}, priority: 7}",
            Objective(KEY, 7, "chat"),
        ),
        (
            REWRITE.replace("{name: chat}", "{name: chat, creationTimestamp: '2026-01-31T12:00:00Z'}"),
            """
            poolRef: {name: chat}
            rules:
            - matches: [{model: {type: Exact, value: a}}, {model: {value: b}}]
              targets: [{modelRewrite: c, weight: 1}, {modelRewrite: d, weight: 1000000}]
            - targets: [{modelRewrite: e}]
            - matches: [{model: {value: as-it-is}}]
            """,
            Rewrite(
                KEY,
                "chat",
                (
                    RewriteRule(("a", "b"), (RewriteTarget("c", 1), RewriteTarget("d", 1_000_000))),
                    RewriteRule((), (RewriteTarget("e"),)),
                    RewriteRule(("as-it-is",), ()),
                ),
                "2026-01-31T12:00:00Z",
            ),
        ),
        (
            DEPLOYMENT,
            "{replicas: 3, selector: {matchLabels: {app: x}}, template: {spec: {containers: []}}}",
            DescribedObject("apps", "v1", "Deployment", "deployments", KEY, APP, owns_pods=True),
        ),
        (
            DEPLOYMENT.replace("Deployment", "StatefulSet"),
            "{selector: {matchLabels: {app: x}, matchExpressions: []}}",
            DescribedObject("apps", "v1", "StatefulSet", "statefulsets", KEY, APP, owns_pods=True),
        ),
        (
            DEPLOYMENT,
            """
            selector:
              matchLabels: {app: x}
              matchExpressions: [{key: tier, operator: NotIn, values: [spare, ""]}, {key: gpu, operator: Exists}]
            """,
            DescribedObject(
                "apps",
                "v1",
                "Deployment",
                "deployments",
                KEY,
                Selector.parse("app=x,gpu,tier notin (,spare)"),
                owns_pods=True,
            ),
        ),
        (
            SERVICE,
            "{selector: {app: x}, ports: [{port: 80}]}",
            DescribedObject("", "v1", "Service", "services", KEY, APP),
        ),
        (
            SERVICE,
            "{type: ExternalName, externalName: example.com}",
            DescribedObject("", "v1", "Service", "services", KEY, None),
        ),
        (
            SERVICE.replace("Service", "Namespace"),
            "{}",
            DescribedObject("", "v1", "Namespace", "namespaces", ObjectKey("chat", "chat"), Selector()),
        ),
    ],
)
def test_an_object_is_read_as_its_definition_writes_it(template: str, spec: str, expected: InferenceObject) -> None:
    assert read(template, spec) == expected


def test_metadata_gives_namespace_and_labels() -> None:
    template = POOL.replace(
        "{name: chat}", "{name: chat, namespace: prod, uid: x, labels: {team: a}, annotations: {b: c}}"
    )
    pool = read(template, "{selector: {matchLabels: {app: x}}, targetPorts: [{number: 1}]}")
    assert (pool.key, pool.labels if isinstance(pool, Pool) else None) == (ObjectKey("prod", "chat"), {"team": "a"})


PORTS = ", ".join(f"{{number: {port}}}" for port in range(1, 10))
LABELS = ", ".join(f"l{i}: x" for i in range(65))
PICKER = "selector: {matchLabels: {app: x}}\ntargetPorts: [{number: 1}]\nendpointPickerRef: "


@pytest.mark.parametrize(
    ("template", "spec", "message"),
    [
        (POOL, "{targetPorts: [{number: 1}]}", "f:5: spec: key 'selector' is missing"),
        (POOL, "{selector: {matchLabels: {a: b}}}", "f:5: spec: key 'targetPorts' is missing"),
        (
            POOL,
            "selector: {app: x}\ntargetPorts: []",
            "f:5: spec.selector.app: unknown key; expected one of matchLabels",
        ),
        (
            POOL,
            "selector: {matchLabels: {}}\ntargetPorts: []",
            "f:5: spec.selector.matchLabels: expected 1 to 64 labels, got 0",
        ),
        (
            POOL,
            f"selector: {{matchLabels: {{{LABELS}}}}}\ntargetPorts: []",
            "f:5: spec.selector.matchLabels: expected 1 to 64 labels, got 65",
        ),
        (
            POOL,
            "selector: {matchLabels: {app: -x}}\ntargetPorts: []",
            "f:5: spec.selector.matchLabels.app: a label value has at most 63 characters of [-A-Za-z0-9_.] "
            "and begins and ends with a letter or digit, got '-x'",
        ),
        (
            POOL,
            "selector: {matchLabels: {A/b: x}}\ntargetPorts: []",
            "f:5: spec.selector.matchLabels['A/b']: the prefix before '/' must be a lower-case DNS subdomain "
            "of at most 253 characters",
        ),
        (
            POOL,
            "selector: {matchLabels: {a: b}}\ntargetPorts: []",
            "f:6: spec.targetPorts: expected 1 to 8 ports, got 0",
        ),
        (
            POOL,
            f"selector: {{matchLabels: {{a: b}}}}\ntargetPorts: [{PORTS}]",
            "f:6: spec.targetPorts: expected 1 to 8 ports, got 9",
        ),
        (
            POOL,
            "selector: {matchLabels: {a: b}}\ntargetPorts:\n- number: 8000\n- number: 8000",
            "f:8: spec.targetPorts[1].number: port 8000 is given twice",
        ),
        (
            POOL,
            "selector: {matchLabels: {a: b}}\ntargetPorts: [{number: 65536}]",
            "f:6: spec.targetPorts[0].number: expected at most 65535, got 65536",
        ),
        (
            POOL,
            "selector: {matchLabels: {a: b}}\ntargetPorts: [{number: 1}]\nappProtocol: h2c",
            "f:7: spec.appProtocol: expected one of http, kubernetes.io/h2c, got 'h2c'",
        ),
        (POOL, PICKER + "{name: epp}", "f:7: spec.endpointPickerRef: key 'port' is missing; a Service needs it"),
        (
            POOL,
            PICKER + "{name: epp, port: {number: 1}, failureMode: Open}",
            "f:7: spec.endpointPickerRef.failureMode: expected one of FailOpen, FailClose, got 'Open'",
        ),
        (
            POOL,
            PICKER + "{name: epp, kind: '1'}",
            "f:7: spec.endpointPickerRef.kind: expected a kind such as Service",
        ),
        (
            LEGACY_POOL,
            "{selector: {a: b}, targetPortNumber: 0, extensionRef: {name: epp}}",
            "f:5: spec.targetPortNumber: expected at least 1, got 0",
        ),
        (LEGACY_POOL, "{selector: {a: b}, targetPortNumber: 1}", "f:5: spec: key 'extensionRef' is missing"),
        (OBJECTIVE, "{priority: 1}", "f:5: spec: key 'poolRef' is missing"),
        (
            OBJECTIVE,
            "{poolRef: {name: a}, priority: 2147483648}",
            "f:5: spec.priority: expected at most 2147483647, got 2147483648",
        ),
        (
            OBJECTIVE,
            "{poolRef: {name: a, kind: Service}}",
            "f:5: spec.poolRef.kind: expected one of InferencePool, got 'Service'",
        ),
        (REWRITE, "{poolRef: {name: a}}", "f:5: spec: key 'rules' is missing"),
        (
            REWRITE,
            "{poolRef: {name: a}, rules: [{targets: []}]}",
            "f:5: spec.rules[0].targets: expected at least one target",
        ),
        (
            REWRITE,
            "{poolRef: {name: a}, rules: [{targets: [{modelRewrite: a, weight: 0}]}]}",
            "f:5: spec.rules[0].targets[0].weight: expected at least 1, got 0",
        ),
        (
            REWRITE,
            "{poolRef: {name: a}, rules: [{targets: [{modelRewrite: a, weight: 1000001}]}]}",
            "f:5: spec.rules[0].targets[0].weight: expected at most 1000000, got 1000001",
        ),
        (
            REWRITE,
            "{poolRef: {name: a}, rules: [{targets: [{modelRewrite: a, weight: 1}, {modelRewrite: b}]}]}",
            "f:5: spec.rules[0].targets: give every target a weight or none: one without is never chosen beside",
        ),
        (
            REWRITE,
            "{poolRef: {name: a}, rules: [{matches: [{model: {type: Regex, value: a}}]}]}",
            "f:5: spec.rules[0].matches[0].model.type: expected one of Exact, got 'Regex'",
        ),
        (DEPLOYMENT, "{replicas: 1}", "f:5: spec: key 'selector' is missing"),
        (
            DEPLOYMENT,
            "{selector: {matchExpressions: [{key: a, operator: Equals}]}}",
            "f:5: spec.selector: operator 'Equals' of label 'a': expected one of In, NotIn, Exists, DoesNotExist",
        ),
        (
            DEPLOYMENT,
            "{selector: {matchExpressions: [{key: a, operator: In}]}}",
            "f:5: spec.selector: label a: 'in' takes at least one value",
        ),
        (
            DEPLOYMENT,
            "{selector: {matchLabels: {}}}",
            "f:5: spec.selector: expected at least 1 requirement in matchLabels and matchExpressions, got 0",
        ),
        (POOL.replace("spec", "specs"), "{}", "f:5: specs: unknown key; expected one of apiVersion, kind, metadata"),
        (
            POOL.replace("name: chat", "name: Chat"),
            "{}",
            "f:3: metadata.name: expected at most 253 of a–z, 0–9, '-' and '.', such as vllm-0, got 'Chat'",
        ),
        (POOL.replace("name: chat", "namespace: a"), "{}", "f:3: metadata: key 'name' is missing"),
        (
            POOL.replace("name: chat", "name: chat, namespace: a.b"),
            "{}",
            "f:3: metadata.namespace: expected a namespace: at most 63 of a–z, 0–9 and '-', got 'a.b'",
        ),
        (
            POOL.replace("k8s.io/v1", "k8s.io/v2"),
            "{}",
            "f:1: apiVersion: expected one of inference.networking.k8s.io/v1, inference.networking.x-k8s.io/v1alpha2, "
            "got 'inference.networking.k8s.io/v2'",
        ),
        (
            POOL.replace("InferencePool", "ConfigMap"),
            "{}",
            "f:2: kind: expected one of Deployment, DisaggregatedSetRoleScaler, InferenceModelRewrite, "
            "InferenceObjective, InferencePool, LeaderWorkerSet, ModelRollout, Namespace, Rollout, Service … "
            "(11 in all), got 'ConfigMap'",
        ),
        (POOL.replace("kind: InferencePool\n", ""), "{}", "f:1: key 'kind' is missing"),
    ],
)
def test_what_the_definition_refuses_is_refused_with_place_and_path(template: str, spec: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(template, spec)
    assert str(caught.value).startswith(message)


def test_an_object_from_an_api_server_may_have_fields_that_are_not_known_here() -> None:
    data: Plain = {
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": {"name": "chat", "namespace": "prod", "creationTimestamp": None, "newField": 1},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}, "new": 1},
            "targetPorts": [{"number": 1, "new": 2}],
            "new": [],
        },
        "status": {"parents": []},
    }
    pool = read_object(from_plain(data, "InferencePool prod/chat", strict=False))
    assert pool == Pool(ObjectKey("prod", "chat"), {"a": "b"}, (1,))


def test_an_api_server_may_hold_mixed_weights_and_the_unweighted_are_never_chosen() -> None:
    text = REWRITE.replace(
        "SPEC", "{poolRef: {name: a}, rules: [{targets: [{modelRewrite: a, weight: 1}, {modelRewrite: b}]}]}"
    )
    rewrite = read_object(from_plain(load(text, "f").plain(), "InferenceModelRewrite default/chat", strict=False))
    assert isinstance(rewrite, Rewrite)
    assert rewrite.rules[0].targets == (RewriteTarget("a", 1),)


def test_every_kind_is_read_under_every_version_the_field_publishes() -> None:
    """The groups and versions in the vectors folder's definitions, apart from kinds that nothing here stands on."""
    inference = {pair for pair in READERS if pair[1].startswith("Inference")}
    assert inference == {
        ("inference.networking.k8s.io/v1", "InferencePool"),
        ("inference.networking.x-k8s.io/v1alpha2", "InferencePool"),
        ("llm-d.ai/v1alpha2", "InferenceObjective"),
        ("inference.networking.x-k8s.io/v1alpha2", "InferenceObjective"),
        ("llm-d.ai/v1alpha2", "InferenceModelRewrite"),
        ("inference.networking.x-k8s.io/v1alpha2", "InferenceModelRewrite"),
    }


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["chat", "InferencePool", "Service"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "matchLabels", "number", "rules", "targets", "model", "value", "poolRef", "selector"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(
    st.sampled_from(sorted(READERS)),
    st.dictionaries(st.sampled_from(["selector", "targetPorts", "rules", "poolRef", "priority"]), junk),
    st.booleans(),
)
def test_any_spec_is_an_object_or_a_config_error(
    identity: tuple[str, str], spec: dict[str, Plain], strict: bool
) -> None:
    version, kind = identity
    data: Plain = {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": spec}
    problem = ""
    try:
        assert read_object(from_plain(data, "f", strict=strict)).key.name == "x"
    except ConfigError as error:
        problem = str(error)
    assert "\n" not in problem


def test_the_example_has_an_object_of_every_inference_kind() -> None:
    path = Path(__file__).parents[2] / "manifests" / "examples" / "discovery.yaml"
    kinds = {item["kind"] for item in yaml.safe_load(path.read_text())["objects"]}
    assert kinds >= {kind for _, kind in READERS if kind.startswith("Inference")}


MODEL = LEGACY_POOL.replace("InferencePool", "InferenceModel").replace(
    "{name: chat}", "{name: chat, creationTimestamp: '2026-01-31T12:00:00Z'}"
)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param(
            "{modelName: llama, poolRef: {name: pool}}",
            InferenceModel(Objective(KEY, 0, "pool", "llama"), None),
            id="no criticality is Standard",
        ),
        pytest.param(
            "{modelName: llama, criticality: Critical, poolRef: {name: pool}, targetModels: []}",
            InferenceModel(Objective(KEY, 1, "pool", "llama"), None),
            id="no targets keep the model",
        ),
        pytest.param(
            """
            modelName: llama
            criticality: Sheddable
            poolRef: {group: inference.networking.x-k8s.io, kind: InferencePool, name: pool}
            targetModels: [{name: llama-7b, weight: 9}, {name: llama-8b, weight: 1}]
            """,
            InferenceModel(
                Objective(KEY, -1, "pool", "llama"),
                Rewrite(
                    KEY,
                    "pool",
                    (RewriteRule(("llama",), (RewriteTarget("llama-7b", 9), RewriteTarget("llama-8b", 1))),),
                    "2026-01-31T12:00:00Z",
                ),
            ),
            id="targets are a rewrite",
        ),
    ],
)
def test_an_inference_model_is_a_class_of_requests_and_a_rewrite(spec: str, expected: InferenceModel) -> None:
    text = MODEL.replace("SPEC", dedent(spec).strip().replace("\n", "\n  "))
    assert read_model(load(text, "f")) == expected
    assert expected.model == "llama"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{poolRef: {name: pool}}", "f:5: spec: key 'modelName' is missing"),
        (
            "{modelName: a, criticality: High, poolRef: {name: pool}}",
            "f:5: spec.criticality: expected one of Critical, Standard, Sheddable, got 'High'",
        ),
        (
            "{modelName: a, poolRef: {name: pool}, targetModels: [{name: b, weight: 0}]}",
            "f:5: spec.targetModels[0].weight: expected at least 1, got 0",
        ),
    ],
)
def test_what_the_definition_of_inference_models_refuses_is_refused(spec: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_model(load(MODEL.replace("SPEC", spec), "f"))
    assert str(caught.value) == message
