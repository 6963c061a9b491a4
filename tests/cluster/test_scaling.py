"""Real HPAs scale real Deployments on what the picker sees, while requests flow through a real Envoy."""

import base64
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from infscale.endpoint import ObjectKey
from infscale.labels import model_key
from lab import documents
from lab.controlplane import ControlPlane
from lab.load import Load, load_on
from lab.pods import PodServers
from lab.stack import MANIFESTS
from lab.system import Ports, configuration, gateway, infscale, until_ready
from tests.cluster.watching import Watched, until

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

NAMESPACE = "scaling"
MODEL = "meta-llama/Llama-3.1-8B"
SURGE_PER_SECOND = 12.0
CALM_PER_SECOND = 0.5

FORMS = {
    "pods": documents.pods_metric("running_requests", "1"),
    "object": documents.pool_metric("object", "outstanding_requests", "4"),
    "external": documents.external_metric("waiting_requests", "2", pool="external", model_key=model_key(MODEL)),
}


@dataclass(frozen=True)
class Scaled:
    """The parts under test: the cluster, its model servers, and where requests go in."""

    plane: ControlPlane
    seen: Watched
    servers: PodServers
    url: str
    measured: list[str]
    adapter_port: int


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scaled(
    plane: ControlPlane, servers: PodServers, measured: list[str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Scaled, None]:
    ports = Ports.free()
    await plane.apply(documents.new_namespace(NAMESPACE), *documents.registration(ports.adapter))
    folder = tmp_path_factory.mktemp("scaling")
    async with infscale(folder, ports, configuration(plane, ports, NAMESPACE)), gateway(ports) as url:
        for name in FORMS:
            await plane.apply(
                documents.deployment(NAMESPACE, name, MODEL, max_num_seqs="2"), documents.pool(NAMESPACE, name)
            )
        for name in FORMS:
            await until_ready(plane, ObjectKey(NAMESPACE, name), 1)
        yield Scaled(plane, Watched(plane, NAMESPACE), servers, url, measured, ports.adapter)


@pytest.mark.parametrize("form", FORMS)
async def test_an_hpa_scales_up_under_load_and_down_after_it(scaled: Scaled, form: str) -> None:
    """Up within a sync period and a second, new pods at work at once, and no request lost on the way down."""
    await scaled.plane.apply(documents.autoscaler(NAMESPACE, form, FORMS[form]))

    await until(lambda: scaled.seen.is_active(form), 60, "the HPA reads its metric")
    async with load_on(scaled.url, f"{NAMESPACE}/{form}", MODEL) as load:
        await _up(scaled, load, form)
        await _down(scaled, load, form)
    assert load.failures == []
    assert len(load.answers) > 20


ALIASES = {
    "alias-pods": documents.pods_metric("prometheus.googleapis.com|vllm:num_requests_waiting|gauge", "2"),
    "alias-external": documents.external_metric(
        "vllm:num_requests_running", "2", pool="alias-external", model_name=model_key(MODEL)
    ),
}


@pytest.mark.parametrize("form", ALIASES)
async def test_an_hpa_reads_metrics_by_the_names_of_engines(scaled: Scaled, form: str) -> None:
    """As those that were written for other adapters name them; the controller asks as it is written."""
    await scaled.plane.apply(
        documents.deployment(NAMESPACE, form, MODEL, max_num_seqs="2"),
        documents.pool(NAMESPACE, form),
        documents.autoscaler(NAMESPACE, form, ALIASES[form]),
    )
    await until_ready(scaled.plane, ObjectKey(NAMESPACE, form), 1)
    await until(lambda: scaled.seen.is_active(form), 60, "the HPA reads its metric")


async def test_the_account_of_a_prometheus_reads_infscale_s_own_metrics_and_no_other_may(scaled: Scaled) -> None:
    """With the rights of overlays/metrics-access, over https by the CA that the monitors name."""
    plane = scaled.plane
    await plane.kubectl("apply", "-k", str(MANIFESTS / "overlays" / "metrics-access"))
    secret = await plane.client.get(f"/api/v1/namespaces/{documents.SYSTEM}/secrets/infscale-adapter-ca", {})
    tls = ssl.create_default_context(cadata=base64.b64decode(secret["data"]["ca.crt"]).decode())
    name = f"infscale-adapter.{documents.SYSTEM}.svc"
    found: dict[str, tuple[int, str]] = {}
    async with ClientSession() as session:
        for account in ("infscale-prometheus", "default"):
            token = (await plane.kubectl("-n", documents.SYSTEM, "create", "token", account)).strip()
            headers = {"Authorization": f"Bearer {token}"}
            url = f"https://{documents.ADAPTER_HOST}:{scaled.adapter_port}/metrics"
            async with session.get(url, headers=headers, ssl=tls, server_hostname=name) as response:
                found[account] = response.status, await response.text()
    assert (found["infscale-prometheus"][0], found["default"][0]) == (200, 403)
    assert "infscale_pool_waiting_requests" in found["infscale-prometheus"][1]


async def _up(scaled: Scaled, load: Load, form: str) -> None:
    load.rate = SURGE_PER_SECOND

    async def more() -> bool:
        return await scaled.seen.replicas(form) > 1

    took = await until(more, documents.SYNC_SECONDS + 1, f"more replicas: {await scaled.seen.condition(form)}")
    scaled.measured.append(
        f"{form}: from load step to changed spec.replicas {took:.2f} s (sync period {documents.SYNC_SECONDS} s)"
    )
    first = await scaled.seen.ready(form)

    async def grown() -> bool:
        return bool(await scaled.seen.ready(form) - first)

    await until(grown, 20, "new pods are ready")
    new = await scaled.seen.ready(form) - first

    async def at_work() -> bool:
        return all(scaled.servers.servers[ObjectKey(NAMESPACE, name)].running for name in new)

    took = await until(at_work, 3, "new pods have requests")
    scaled.measured.append(f"{form}: {len(new)} new pods had requests {took:.2f} s after they were seen ready")


async def _down(scaled: Scaled, load: Load, form: str) -> None:
    load.rate = CALM_PER_SECOND

    async def one() -> bool:
        return await scaled.seen.replicas(form) == 1

    took = await until(one, 60, f"one replica again: {await scaled.seen.condition(form)}")
    scaled.measured.append(f"{form}: from the end of the load to one replica {took:.1f} s")

    async def left() -> bool:
        return len(await scaled.seen.ready(form)) == 1

    await until(left, 20, "the others left")
