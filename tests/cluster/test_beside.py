"""Beside an adapter that serves v1beta1 alone: its HPA goes on working while infscale comes, runs and goes."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from adapter.registering.api_services import CONDITION
from adapter.registering.ownership import API_SERVICES, API_SERVICES_PATH, CUSTOM_V1BETA1, CUSTOM_V1BETA2
from infscale.endpoint import ObjectKey
from infscale.kube.api.errors import KubeError, NotFound, Unreachable
from lab import documents
from lab.controlplane import ControlPlane
from lab.pods import PodServers
from lab.stack import MANIFESTS
from lab.system import ACCOUNT, Ports, configuration, infscale, until_ready
from tests.cluster.second_adapter import METRIC, SecondAdapter, second_adapter
from tests.cluster.watching import Watched, until

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

NAMESPACE, NAME = "beside", "other"
OWN = "waiting_requests"
V1BETA2 = "/apis/custom.metrics.k8s.io/v1beta2"
LOOKS = 5
BACK_SECONDS = 20 * documents.SYNC_SECONDS


@dataclass(frozen=True)
class Scaled:
    """The other adapter with a Deployment that it scales, and infscale's configuration beside it."""

    plane: ControlPlane
    other: SecondAdapter
    seen: Watched
    ports: Ports
    folder: Path

    @contextlib.asynccontextmanager
    async def infscale(self, **adapter: Any) -> AsyncGenerator[None]:
        """An infscale that answers v1beta2, until the block ends."""
        document = configuration(self.plane, self.ports, NAMESPACE, adapter=adapter)
        async with infscale(self.folder, self.ports, document):
            # Once it runs: as an operator waits for the rollout before the cluster is told of it.
            await self.plane.apply(
                *(
                    each
                    for each in documents.registration(self.ports.adapter)
                    if each["kind"] != "APIService" or each["metadata"]["name"] == CUSTOM_V1BETA2
                )
            )
            await self.plane.kubectl(
                "wait", "--for=condition=Available", "--timeout=60s", f"apiservice/{CUSTOM_V1BETA2}"
            )
            yield

    async def removed(self) -> None:
        await self.plane.kubectl("delete", "apiservice", CUSTOM_V1BETA2, "--ignore-not-found")

    async def scales(self, value: str, replicas: int) -> None:
        """The HPA follows the other adapter's value."""
        self.other.value = value

        async def there() -> bool:
            return await self.seen.replicas(NAME) == replicas

        await until(there, BACK_SECONDS, f"{replicas} replicas: {await self.seen.condition(NAME)}")

    async def looked(self, times: int) -> None:
        """Wait until the other adapter was asked so many times more: once at each look of the HPA's."""
        before = len(self.other.asked_by)

        async def enough() -> bool:
            return len(self.other.asked_by) >= before + times

        await until(enough, BACK_SECONDS, f"the other adapter is asked {times} times")

    async def asked(self, metric: str, **params: str) -> list[dict[str, Any]]:
        path = f"{V1BETA2}/namespaces/{NAMESPACE}/pods/*/{metric}"
        return list((await self.plane.client.get(path, params))["items"])

    async def page(self) -> str:
        url = f"http://127.0.0.1:{self.ports.telemetry}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await response.text()

    def log(self) -> str:
        return (self.folder / "infscale.log").read_text()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scaled(
    plane: ControlPlane, servers: PodServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Scaled]:
    del servers
    await plane.kubectl("delete", "apiservice", *API_SERVICES, "--ignore-not-found")
    rights = (MANIFESTS / "overlays" / "custom-metrics-beside" / "rbac.yaml").read_text()
    await plane.apply(documents.new_namespace(NAMESPACE), *yaml.safe_load_all(rights))
    async with second_adapter(plane, tmp_path_factory.mktemp("second")) as other:
        await plane.apply(
            documents.deployment(NAMESPACE, NAME, "none"),
            documents.autoscaler(NAMESPACE, NAME, documents.pods_metric(METRIC, "2")),
        )
        await until_ready(plane, ObjectKey(NAMESPACE, NAME), 1)
        made = Scaled(plane, other, Watched(plane, NAMESPACE), Ports.free(), tmp_path_factory.mktemp("beside"))
        await until(lambda: made.seen.is_active(NAME), 60, "the HPA reads the other adapter's metric")
        yield made
        await made.removed()


async def never_inactive(scaled: Scaled, seconds: float) -> None:
    """What the HPA says of its metric, looked at ten times a second."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        status, message = await scaled.seen.condition(NAME)
        assert status == "True", message
        await asyncio.sleep(0.1)


async def test_its_hpa_works_on_while_infscale_comes_runs_and_goes(scaled: Scaled) -> None:
    """Forwarding on: no look of the HPA's fails, and infscale asks as itself."""
    watching = asyncio.get_running_loop().create_task(never_inactive(scaled, 3600))
    try:
        async with scaled.infscale(forward={}):
            scaled.other.asked_by.clear()
            await scaled.scales("4", 2)
            await until(lambda: _asked_by(scaled, ACCOUNT), BACK_SECONDS, "infscale asks the other adapter")
            await scaled.scales("1", 1)
            await scaled.looked(LOOKS)
            assert not watching.done(), watching.exception()
            assert "infscale_adapter_other_metrics_lost 0.0" in await scaled.page()
            await scaled.removed()
            await scaled.scales("4", 2)
        await scaled.looked(LOOKS)
        assert not watching.done(), watching.exception()
        await scaled.scales("1", 1)
    finally:
        watching.cancel()


async def _asked_by(scaled: Scaled, user: str) -> bool:
    return user in scaled.other.asked_by


async def test_preflight_says_what_would_be_taken_and_fails_for_it(scaled: Scaled) -> None:
    command = (sys.executable, "-m", "infscale.cli.main", "preflight", "--kubeconfig", str(scaled.plane.kubeconfig))
    for overlay, status in (("custom-metrics", 1), ("custom-metrics-beside", 0)):
        ran = await asyncio.create_subprocess_exec(*command, overlay, stdout=asyncio.subprocess.PIPE)
        said = (await ran.communicate())[0].decode()
        assert ran.returncode == status
        assert f"{CUSTOM_V1BETA1}    monitoring/second-adapter (answers)" in said
        assert f"1: {NAMESPACE}/{NAME}" in said
        assert "NO: it would take v1beta1.custom.metrics.k8s.io from monitoring/second-adapter" in said


async def test_both_adapters_metrics_are_answered_and_listed(scaled: Scaled) -> None:
    async with scaled.infscale(forward={}):
        [item] = await scaled.asked(METRIC, labelSelector=f"app={NAME}")
        assert item["metric"] == {"name": METRIC, "selector": None}
        assert (item["windowSeconds"], item["value"]) == (60, scaled.other.value)
        with pytest.raises(NotFound, match="could not find the metric nothing"):
            await scaled.asked("nothing")

        async def listed() -> bool:
            resources = (await scaled.plane.client.get(V1BETA2))["resources"]
            return {f"pods/{METRIC}", f"pods/{OWN}"} <= {each["name"] for each in resources}

        await until(listed, 40, "both are listed")
        scaled.other.fails = True
        try:
            with pytest.raises(Unreachable, match="the adapter that serves v1beta1 was asked: it does not answer"):
                await scaled.asked(METRIC)
        finally:
            scaled.other.fails = False
        await scaled.removed()


async def test_without_forwarding_the_loss_is_said_everywhere_and_ends_with_the_api_service(scaled: Scaled) -> None:
    async with scaled.infscale():

        async def lost() -> bool:
            return "infscale_adapter_other_metrics_lost 1.0" in await scaled.page()

        await until(lost, 20, "the metric says so")
        said = [line for line in scaled.log().splitlines() if "ERROR" in line and "adapter.forward" in line]
        assert len(said) == 1, "once, not at every look"

        async def condition() -> bool:
            found = await scaled.plane.client.get(f"{API_SERVICES_PATH}/{CUSTOM_V1BETA2}")
            kinds = {each["type"]: each["status"] for each in found["status"]["conditions"]}
            return kinds.get(CONDITION) == "False" and kinds.get("Available") == "True"

        await until(condition, 20, "the condition says so, beside the cluster's own")
        events = await scaled.plane.kubectl("-n", documents.SYSTEM, "get", "events", "-o", "wide")
        assert "MetricsOfAnotherAdapterLost" in events
        await scaled.removed()
    await until(lambda: scaled.seen.is_active(NAME), BACK_SECONDS, "the HPA reads the other adapter's metric again")
    await scaled.scales("4", 2)
    await scaled.scales("1", 1)


async def test_without_the_right_to_forward_the_cause_names_it(scaled: Scaled) -> None:
    await scaled.plane.kubectl("delete", "clusterrolebinding", "infscale-forwarding")
    try:
        async with scaled.infscale(forward={}):

            async def named() -> bool:
                """The API server itself answers until it has found infscale to be there."""
                with pytest.raises(KubeError) as caught:
                    await scaled.asked(METRIC)
                return "allow it get on custom.metrics.k8s.io" in str(caught.value)

            await until(named, 20, "the refusal names the right that is missing")
            assert (await scaled.plane.client.get(f"{API_SERVICES_PATH}/{CUSTOM_V1BETA1}"))["spec"]["service"]
            await scaled.removed()
    finally:
        rights = (MANIFESTS / "overlays" / "custom-metrics-beside" / "rbac.yaml").read_text()
        await scaled.plane.apply(*yaml.safe_load_all(rights))
