"""``infscale preflight`` says what installing would take over, before anything is applied."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from adapter.registering.ownership import API_SERVICES, API_SERVICES_PATH, CUSTOM_V1BETA1, EXTERNAL_V1BETA1
from infscale.cli import preflight
from infscale.cli.main import main
from infscale.config.settings import KubernetesSettings
from infscale.kube.api import cluster_access as access

OTHER = {"namespace": "monitoring", "name": "prometheus-adapter"}


def api_service(service: Mapping[str, str]) -> dict[str, Any]:
    conditions = [{"type": "Available", "status": "True"}]
    return {"spec": {"service": service, "versionPriority": 100}, "status": {"conditions": conditions}}


def autoscaler(name: str, *kinds: str) -> dict[str, Any]:
    return {"metadata": {"namespace": "shop", "name": name}, "spec": {"metrics": [{"type": kind} for kind in kinds]}}


@asynccontextmanager
async def cluster(
    objects: Mapping[str, Any], folder: Path, autoscalers: list[Any] | None
) -> AsyncGenerator[KubernetesSettings]:
    """A kubeconfig that leads to an API server with these APIServices; None: HPAs may not be listed."""

    async def answer(request: web.Request) -> web.Response:
        name = request.path.removeprefix(f"{API_SERVICES_PATH}/")
        if name in objects:
            return web.json_response(objects[name])
        if request.path.endswith("/horizontalpodautoscalers"):
            if autoscalers is None:
                return web.json_response({"code": 403, "message": "no"}, status=403)
            # Pages of one.
            start = int(request.query.get("continue", "0"))
            more = {"continue": str(start + 1)} if start + 1 < len(autoscalers) else {}
            return web.json_response({"metadata": more, "items": autoscalers[start : start + 1]})
        return web.json_response({"code": 404, "message": "not found"}, status=404)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    path = folder / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.write_text(yaml.safe_dump(document))
    try:
        yield KubernetesSettings(path)
    finally:
        await runner.cleanup()


async def told(objects: Mapping[str, Any], folder: Path, autoscalers: list[Any] | None = None) -> list[str]:
    async with cluster(objects, folder, autoscalers) as place:
        return list(preflight.report(await preflight.looked_at(access.cluster(place.kubeconfig, place.context))))


async def test_beside_another_adapter_it_says_what_is_whose_and_what_to_apply(tmp_path: Path) -> None:
    keda = {"namespace": "keda", "name": "keda-operator-metrics-apiserver"}
    objects = {CUSTOM_V1BETA1: api_service(OTHER), EXTERNAL_V1BETA1: api_service(keda)}
    asking = [autoscaler("web", "Pods", "Resource"), autoscaler("queue", "External"), autoscaler("cpu", "Resource")]
    assert await told(objects, tmp_path, asking) == [
        "Who answers now",
        "  v1beta1.custom.metrics.k8s.io    monitoring/prometheus-adapter (answers)",
        "  v1beta2.custom.metrics.k8s.io    none",
        "  v1beta1.external.metrics.k8s.io  keda/keda-operator-metrics-apiserver (answers)",
        "",
        "HPAs that ask",
        "  custom metrics                   1: shop/web",
        "  external metrics                 1: shop/queue",
        "",
        "What to apply (manifests/adapter/overlays)",
        "  custom-metrics                   NO: it would take v1beta1.custom.metrics.k8s.io from "
        "monitoring/prometheus-adapter",
        "  custom-metrics-beside            yes: with adapter.forward: metrics that infscale does not know are asked "
        "of monitoring/prometheus-adapter",
        "  external-metrics                 NO: it would take v1beta1.external.metrics.k8s.io from "
        "keda/keda-operator-metrics-apiserver",
    ]


async def test_a_cluster_without_adapters_has_room_and_hpas_need_not_be_listed(tmp_path: Path) -> None:
    said = await told({}, tmp_path)
    assert sum(line.endswith(" none") and line.startswith("  v1") for line in said) == len(API_SERVICES)
    assert "  not known: this user may not list horizontalpodautoscalers" in said
    assert not any("NO:" in line for line in said)


def test_mistakes_end_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preflight", "nonsense"]) == 2
    assert capsys.readouterr().err.startswith(
        "infscale: arguments: OVERLAY: there is no overlay 'nonsense'; expected one"
    )
    assert main(["preflight", "--kubeconfig", str(tmp_path / "none")]) == 2
    assert "the kubeconfig cannot be read" in capsys.readouterr().err
