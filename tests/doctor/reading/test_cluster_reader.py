"""A look at a cluster: what is asked, what becomes of refusals, and a diagnosis of what was seen."""

from datetime import datetime
from pathlib import Path

import pytest

from infscale.config.read import read_config
from infscale.config.settings import ServeConfig
from infscale.doctor.advice.pool_facts import of_cluster
from infscale.doctor.diagnosis import diagnosed
from infscale.doctor.reading.cluster_reader import Scope, look, value_of_pool
from infscale.doctor.view.cluster_view import ClusterView
from infscale.documents.strict_document import load
from infscale.endpoint import ObjectKey
from infscale.kube.api.errors import KubeError
from infscale.kube.rights import Right
from tests.doctor.reading.fake_api import CLUSTER, CUSTOM, DEPLOYMENT, POD, Document, FakeApi, listed

NOW = datetime.fromisoformat("2026-11-30T12:00:03Z").timestamp()
VLLM = ObjectKey("llm", "vllm")
ADAPTER = "/api/v1/namespaces/infscale-system/services/infscale-adapter"
CONFIG = "discovery: {kubernetes: {}}\nkubernetes: {}\nscrape: {interval_seconds: 10, staleness_limit_seconds: 40}\n"


async def seen(api: FakeApi, scope: Scope | None = None) -> ClusterView:
    return await look(api, scope or Scope(), NOW)


async def test_a_cluster_is_read_into_a_view() -> None:
    api = FakeApi(CLUSTER)
    view = await seen(api)
    assert view.minor == 36
    assert [str(each.key) for each in view.pods_of(view.autoscalers[0])] == ["llm/vllm-0", "llm/vllm-1"]
    assert view.pods[0].owner == ("Deployment", "vllm")
    assert view.pool_of(view.autoscalers[0]) == view.pools[0]
    answer = view.answers[VLLM, 0]
    assert (
        answer.path
        == f"{CUSTOM}/pods/%2A/waiting_requests?labelSelector=app%3Dvllm&metricLabelSelector=model_key%3Dllama"
    )
    assert [(each.name, each.milli, each.window_seconds) for each in answer.items] == [
        ("vllm-0", 9000, 30.0),
        ("vllm-1", 7000, 30.0),
    ]
    [examined] = diagnosed(view).autoscalers
    assert examined.metrics[0].age_seconds == 3
    assert (examined.next.current, examined.next.desired) == (2, 4)
    asked = dict(api.asked)
    assert asked[f"{CUSTOM}/pods/%2A/waiting_requests"] == {
        "labelSelector": "app=vllm",
        "metricLabelSelector": "model_key=llama",
    }


async def test_infscale_that_is_not_there_is_said_and_no_rights_are_asked_for_it() -> None:
    api = FakeApi(CLUSTER)
    view = await seen(api, Scope(discovery_needs=lambda _: frozenset({Right("list", "", "pods")})))
    assert not view.infscale.installed
    assert {each["user"] for each in api.reviewed} == {"system:serviceaccount:kube-system:horizontal-pod-autoscaler"}


@pytest.mark.parametrize(
    ("config", "asked"),
    [
        (CONFIG, True),
        (CONFIG + "adapter: {tls: {certificate: tls.crt, key: tls.key}}\n", False),
        ("what: is this\n", False),
    ],
    ids=["it issues certificates", "it has its own", "of an unknown configuration"],
)
async def test_rights_on_secrets_are_asked_for_where_infscale_needs_them(config: str, asked: bool) -> None:
    api = FakeApi({**CLUSTER, **installed(config)})
    await seen(api)
    assert any(each["resourceAttributes"]["resource"] == "secrets" for each in api.reviewed) is asked


def installed(config: str) -> dict[str, Document]:
    """infscale with a configuration in its ConfigMap."""
    labels = {"app": "infscale"}
    pod = {"serviceAccountName": "own", "volumes": [{"configMap": {"name": "infscale-x1"}}]}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    workload = {"metadata": {"namespace": "infscale-system", "name": "infscale"}, "spec": spec}
    return {
        ADAPTER: {"spec": {"selector": labels}},
        "/apis/apps/v1/namespaces/infscale-system/deployments": listed(workload),
        "/api/v1/namespaces/infscale-system/configmaps/infscale-x1": {"data": {"serve.yaml": config}},
    }


async def test_of_an_installed_infscale_configuration_and_rights_are_read() -> None:
    api = FakeApi({**CLUSTER, **installed(CONFIG)})
    api.denied = {"namespaces"}

    def needs(config: ServeConfig) -> frozenset[Right]:
        assert config.scrape.interval_seconds == 10, "the configuration that it has"
        return frozenset({Right("list", "", "namespaces")})

    view = await seen(api, Scope(discovery_needs=needs))
    own = view.infscale
    assert (own.installed, own.config_map, own.workload) == (
        True,
        "infscale-x1",
        ObjectKey("infscale-system", "infscale"),
    )
    assert (own.interval_seconds, own.staleness_seconds, own.destinations) == (10.0, 40.0, 1)
    assert own.account == "system:serviceaccount:infscale-system:own"
    assert {each.code for each in diagnosed(view).findings} >= {"D002", "D801", "D802"}
    [missing] = [each.right for each in view.rights if not each.allowed]
    assert missing == Right("list", "", "namespaces")


async def test_pools_of_annotations_and_of_a_configuration_are_known() -> None:
    """An InferencePool has its name before them; what says nothing usable declares none."""
    declaring = {"infscale.dev/pool": "true"}
    workload = {**DEPLOYMENT, "metadata": {**DEPLOYMENT["metadata"], "annotations": declaring}}
    taken = {**workload, "metadata": {**workload["metadata"], "name": "chat"}}
    service = {
        "metadata": {"namespace": "llm", "name": "s", "annotations": declaring},
        "spec": {"ports": [{"port": 1}]},
    }
    api = FakeApi(
        {
            **CLUSTER,
            "/apis/apps/v1/deployments": listed(workload, taken, {"metadata": {"annotations": declaring}}),
            "/api/v1/services": listed(service),
        }
    )
    pools = "{kubernetes: {pools: [{name: llm/tuned, labels: {app: vllm}, ports: [8000]}]}}"
    config = read_config(load(f"discovery: {pools}\nkubernetes: {{}}\n", "serve.yaml"), Path("/"))
    view = await seen(api, Scope(config=config))
    assert [(each.key.name, each.ports, each.labels) for each in view.declared] == [
        ("tuned", (8000,), "app=vllm"),
        ("vllm", (8000,), "app=vllm"),
    ]
    [found] = diagnosed(view, ["tuned"]).pools
    assert (found.pods, found.ready) == (2, 2)
    assert of_cluster(view, "tuned", view.autoscalers[0].target).replicas == 2
    assert not {"D501", "D503"} & {each.code for each in diagnosed(view).findings}


async def test_queries_and_formulas_of_a_configuration_are_its_metrics() -> None:
    query = "{name: queue_depth, query: sum(queue_depth)}"
    text = f"{CONFIG}prometheus: {{servers: {{p: {{url: 'http://p:9090'}}}}, queries: [{query}]}}\n"
    text += "metrics: [{name: deep, formula: waiting_requests + queue_depth}]\n"
    view = await seen(FakeApi({**CLUSTER, **installed(text)}))
    assert set(view.infscale.metrics) == {"queue_depth", "deep"}


async def test_what_this_user_may_not_list_is_unknown_and_not_absent() -> None:
    api = FakeApi(CLUSTER)
    api.forbidden = {"/api/v1/pods", "/apis/apps/v1/deployments"}
    view = await seen(api)
    assert {"pods", "deployments"} <= set(view.unseen)
    found = diagnosed(view)
    assert not {"D501", "D502", "D208"} & {each.code for each in found.findings}
    assert any("pods" in each.why and "D501" in each.codes for each in found.unchecked)


async def test_kinds_that_could_not_be_listed_are_not_taken_for_absent() -> None:
    api = FakeApi(CLUSTER)
    api.forbidden = {"/apis/apps/v1"}
    view = await seen(api)
    assert view.scales == {}
    assert not {"D110", "D208"} & {each.code for each in diagnosed(view).findings}


async def test_of_too_many_objects_none_are_read_in_part() -> None:
    """The fake gives pages of one."""
    pods = [{**POD, "metadata": {**POD["metadata"], "name": f"vllm-{at}"}} for at in range(41)]
    view = await seen(FakeApi({**CLUSTER, "/api/v1/pods": listed(*pods)}))
    assert view.pods == ()
    assert "name a namespace" in view.unseen["pods"]


async def test_without_hpas_there_is_nothing_to_look_at() -> None:
    api = FakeApi(CLUSTER)
    api.forbidden = {"/apis/autoscaling/v2/horizontalpodautoscalers"}
    with pytest.raises(KubeError, match="HPAs cannot be listed"):
        await seen(api)


async def test_one_namespace_is_looked_at_by_its_own_lists() -> None:
    api = FakeApi(
        {path.replace("/autoscaling/v2/", "/autoscaling/v2/namespaces/llm/"): each for path, each in CLUSTER.items()}
    )
    view = await seen(api, Scope(namespace="llm"))
    assert [each.key for each in view.autoscalers] == [VLLM]
    assert "/api/v1/namespaces/llm/pods" in dict(api.asked)
    assert "/api/v1/pods" not in dict(api.asked)


async def test_objects_of_odd_shapes_are_read_as_far_as_they_go() -> None:
    odd = [{}, {"metadata": 7, "spec": []}, {"metadata": {"name": "x", "namespace": "llm"}, "spec": {"metrics": "no"}}]
    paths = [each for each in CLUSTER if "items" in CLUSTER[each]]
    view = await seen(FakeApi({**CLUSTER, **{path: listed(*odd) for path in paths}}))
    assert len(view.autoscalers) == 3
    diagnosed(view)


async def test_a_value_of_a_pool_is_asked_as_an_hpa_asks() -> None:
    path = f"{CUSTOM}/inferencepools.inference.networking.k8s.io/chat/model_load_seconds"
    api = FakeApi({path: listed({"value": "95"})})
    pool = ObjectKey("llm", "chat")
    assert await value_of_pool(api, pool, "inference.networking.k8s.io", "model_load_seconds") == 95.0
    assert await value_of_pool(api, pool, "inference.networking.k8s.io", "other") is None


async def test_names_that_the_metrics_apis_list_are_known_by_the_forms_that_ask_them() -> None:
    names = ("pods/orders_waiting", "services/orders_waiting", "inferencepools.inference.networking.k8s.io/x")
    custom = {"resources": [{"name": name} for name in names]}
    view = await seen(FakeApi({**CLUSTER, "/apis/custom.metrics.k8s.io/v1beta2": custom}))
    assert dict(view.listed) == dict.fromkeys(("Pods", "Object"), frozenset({"orders_waiting", "x"}))
    assert dict((await seen(FakeApi(CLUSTER))).listed) == {}, "an API that does not answer"


RULES = """\
rules:
- seriesQuery: 'orders_total{namespace!="",pod!=""}'
  name: {matches: "^(.*)_total$", as: "${1}_per_second"}
  resources: {overrides: {namespace: {resource: namespace}, pod: {resource: pod}}}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[2m])) by (<<.GroupBy>>)
- seriesQuery: '{__name__=~"^queue_.*"}'
  resources: {template: "<<.Resource>>"}
  metricsQuery: sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)
"""
WITH_RULES = (
    CONFIG + "prometheus: {servers: {main: {url: http://prometheus:9090}}, adapter_rules: /etc/infscale/rules.yaml}\n"
)


@pytest.mark.parametrize(
    ("files", "known"),
    [
        ({"rules.yaml": RULES}, ("orders_per_second",)),
        ({"rules.yaml": "rules: 3\n"}, ()),
        ({"other.yaml": RULES}, ()),
    ],
    ids=["its file", "one that is not sound", "another file"],
)
async def test_metrics_of_rules_are_known_as_far_as_their_file_shows_them(
    files: dict[str, str], known: tuple[str, ...]
) -> None:
    documents = installed(WITH_RULES)
    documents["/api/v1/namespaces/infscale-system/configmaps/infscale-x1"]["data"].update(files)
    assert (await seen(FakeApi({**CLUSTER, **documents}))).infscale.metrics == known


async def test_the_file_of_rules_of_a_given_configuration_is_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(RULES)
    config = read_config(load(WITH_RULES.replace("/etc/infscale", str(tmp_path)), "serve.yaml"), tmp_path)
    assert (await seen(FakeApi(CLUSTER), Scope(config=config))).infscale.metrics == ("orders_per_second",)
