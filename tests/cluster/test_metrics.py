"""Every metric in every form, through the real aggregation layer."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from infscale.endpoint import ObjectKey
from infscale.kube.api.errors import KubeError, NotFound, Unreachable
from infscale.metrics.published.catalogue import PUBLISHED
from lab import documents
from lab.controlplane import ControlPlane
from lab.load import Load, load_on
from lab.pods import PodServers
from lab.system import Ports, configuration, gateway, infscale, until_ready
from tests.cluster.watching import until

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

NAMESPACE, NAME = "metrics", "chat"
MODEL = "meta-llama/Llama-3.1-8B"
CUSTOM = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{NAMESPACE}"
FORMS = {
    "pods": f"{CUSTOM}/pods/*",
    "pool": f"{CUSTOM}/inferencepools.inference.networking.k8s.io/{NAME}",
    "deployment": f"{CUSTOM}/deployments.apps/{NAME}",
    "service": f"{CUSTOM}/services/{NAME}",
    "namespace": f"{CUSTOM}/metrics",
    "external": f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}",
}
OF_POOLS = {each.name for each in PUBLISHED if each.of_pool}
FORMULA = {
    "name": "pressure_ratio",
    "formula": "max(waiting_requests / 3, kv_cache_utilization_ratio / 0.7, gpu_memory_used_ratio ?? 0)",
    "unit": "ratio",
    "aggregation": "mean",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def load(
    plane: ControlPlane, servers: PodServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Load, None]:
    """A pool of two under some load, with a GPU exporter."""
    del servers
    ports = Ports.free()
    await plane.apply(documents.new_namespace(NAMESPACE), *documents.registration(ports.adapter))
    pods = {"namespace": NAMESPACE, "labels": {"app": "exporter"}, "port": 9400}
    config = configuration(plane, ports, NAMESPACE, dcgm={"pods": pods, "interval_seconds": 1})
    folder = tmp_path_factory.mktemp("metrics")
    async with infscale(folder, ports, {**config, "metrics": [FORMULA]}), gateway(ports) as url:
        await plane.apply(
            documents.pool(NAMESPACE, NAME),
            documents.deployment(NAMESPACE, NAME, MODEL, 2, load_time="3s"),
            documents.service(NAMESPACE, NAME),
            documents.exporter(NAMESPACE, "exporter"),
        )
        await until_ready(plane, ObjectKey(NAMESPACE, NAME), 2)
        async with load_on(url, f"{NAMESPACE}/{NAME}", MODEL) as running:
            running.rate = 4.0

            async def answered() -> bool:
                return len(running.answers) > 20

            await until(answered, 30, "requests are answered")
            yield running


async def asked(plane: ControlPlane, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await plane.client.get(path))["items"]
    return items


@pytest.mark.parametrize("form", FORMS)
async def test_every_metric_is_known_in_every_form(plane: ControlPlane, load: Load, form: str) -> None:
    """What the simulated engines report has a value; what they do not is said to be unknown, never missing or 0."""
    del load
    unknown: set[str] = set()
    for metric in (*(each.name for each in PUBLISHED), FORMULA["name"]):

        async def known(metric: str = metric) -> bool:
            try:
                return bool(await asked(plane, f"{FORMS[form]}/{metric}"))
            except Unreachable:
                return False

        if metric in OF_POOLS and form in {"pods", "deployment", "service"}:
            with pytest.raises(NotFound, match="it is a number of a whole InferencePool"):
                await asked(plane, f"{FORMS[form]}/{metric}")
        elif metric == "waiting_tokens":
            unknown.add(metric)
        else:
            await until(known, 20, f"{form}: {metric} has a value")
    for metric in unknown:
        with pytest.raises(KubeError, match=f"{metric} .* unknown now"):
            await asked(plane, f"{FORMS[form]}/{metric}")


async def test_the_time_a_model_took_to_load_is_that_of_its_pod(plane: ControlPlane, load: Load) -> None:
    del load
    values = [each["value"] for each in await asked(plane, f"{FORMS['pods']}/model_load_seconds")]
    assert len(values) == 2
    assert all(value in {"2", "3", "4"} for value in values), "Kubernetes tells whole seconds"


async def test_gpu_memory_is_that_of_the_pods_in_the_pool(plane: ControlPlane, load: Load) -> None:
    del load
    pods = await asked(plane, f"{FORMS['pods']}/gpu_memory_total_bytes")
    [pool] = await asked(plane, f"{FORMS['pool']}/gpu_memory_total_bytes")
    assert len(pods) == 2
    assert bytes_of(pool["value"]) == sum(bytes_of(each["value"]) for each in pods) > 0


def bytes_of(quantity: str) -> int:
    """Whole quantities of bytes, as the adapter writes them: with a decimal suffix or none."""
    factor = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}.get(quantity[-1])
    return int(quantity[:-1]) * factor if factor else int(quantity)
