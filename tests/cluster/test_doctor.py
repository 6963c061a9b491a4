"""The doctor on a real cluster: it finds planted faults, its fixes mend them, and it says nothing of what is sound."""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from infscale.cli.doctor import discovery_needs
from infscale.cli.main import main
from infscale.config.read import load_config
from infscale.config.settings import ServeConfig
from infscale.doctor.diagnosis import diagnosed
from infscale.doctor.diagnosis_json import plain
from infscale.doctor.reading.cluster_reader import Scope, look
from infscale.endpoint import ObjectKey
from infscale.kube.api.errors import NotFound, Unreachable
from lab import documents
from lab.controlplane import TOOLS, ControlPlane
from lab.pods import PodServers
from lab.stack import MANIFESTS
from lab.system import Ports, configuration, infscale, until_ready
from tests.cluster.planted_faults import (
    DEFINITIONS,
    FAULTS,
    GATEWAY,
    NAMESPACES,
    PREFIX,
    Faulty,
    of_kind,
    sound,
)
from tests.cluster.watching import until

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

HEALTHY = f"{PREFIX}healthy"
RESOURCE_METRICS = "v1beta1.metrics.k8s.io"
CONTROLLER_ROLE = "system:controller:horizontal-pod-autoscaler"
AT_ONCE = 4
SCRAPE = {"interval_seconds": 1.0, "timeout_seconds": 0.9, "staleness_limit_seconds": 10}
"""For a machine that is busy with much else: no value is missing because of that."""
CUSTOM = "/apis/custom.metrics.k8s.io/v1beta2"
AFTERMATH = {"D503": ("D103",)}
"""What else is found where something is broken: no metrics page is on a wrong port."""
MEANT = {"D501": "kubectl -n NAMESPACE delete inferencepools second"}
"""What mends a fault whose fix shows more, because only a person knows what is meant."""

Found = dict[str, Any]


@dataclass(frozen=True)
class Doctor:
    """The doctor, asked about one cluster."""

    plane: ControlPlane
    folder: Path
    config: ServeConfig

    async def found(self, namespace: str | None = None) -> Found:
        """The diagnosis as JSON values."""
        scope = Scope(namespace, self.config, partial(discovery_needs, self.plane.client))
        view = await look(self.plane.client, scope, datetime.now(UTC).timestamp())
        return plain(diagnosed(view))

    async def fix(self, command: str) -> str:
        """Run a fix as a person would, with kubectl on the path."""
        environment = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}"}
        ran = await asyncio.create_subprocess_exec(
            *("bash", "-e", "-o", "pipefail", "-c", command),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said = (await ran.communicate())[0].decode()
        assert ran.returncode == 0, f"{command}\n{said}"
        return said


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def doctor(
    plane: ControlPlane, servers: PodServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Doctor]:
    """infscale, a sound set-up, and one of each fault, all at once."""
    del servers
    folder = tmp_path_factory.mktemp("doctor")
    kubectl = folder / "kubectl"
    kubectl.write_text(f'#!/bin/sh\nexec {TOOLS.resolve()}/controlplane kubectl --kubeconfig {plane.kubeconfig} "$@"\n')
    kubectl.chmod(0o755)
    ports = Ports.free()
    namespaces = [HEALTHY, *(each.namespace for each in NAMESPACES)]
    # Sound autoscalers go by what waits in pods.
    sent = {"flow_control": {"enabled": False}}
    config = configuration(plane, ports, HEALTHY, discovery={"kubernetes": {}}, scrape=SCRAPE, picker=sent)
    await plane.apply(*DEFINITIONS)
    for each in DEFINITIONS:
        await _until_served(plane, each)
    await plane.apply(*documents.registration(ports.adapter))
    istio = of_kind(
        f"{GATEWAY}/v1", "GatewayClass", "", "istio", spec={"controllerName": "istio.io/gateway-controller"}
    )
    await plane.apply(istio)
    async with infscale(folder, ports, config):
        limit = asyncio.Semaphore(AT_ONCE)

        async def plant(made: list[documents.Document]) -> None:
            async with limit:
                await plane.apply(*made)

        await asyncio.gather(plant(sound(HEALTHY)), *(plant(each.documents()) for each in NAMESPACES))
        await asyncio.gather(*(until_ready(plane, ObjectKey(each, "vllm"), 1) for each in namespaces))
        yield Doctor(plane, folder, await asyncio.to_thread(load_config, folder / "serve.yaml"))
    await plane.kubectl("delete", "namespace", "--wait=false", *namespaces)
    await plane.kubectl("delete", "crd", "--wait=false", *(each["metadata"]["name"] for each in DEFINITIONS))


async def _until_served(plane: ControlPlane, definition: documents.Document) -> None:
    spec = definition["spec"]

    async def served() -> bool:
        with contextlib.suppress(NotFound, Unreachable):
            await plane.client.get(f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}")
            return True
        return False

    await until(served, 20, f"{spec['names']['plural']} are served")


def codes_in(diagnosis: Found, namespace: str) -> list[str]:
    return [each["code"] for each in diagnosis["findings"] if each["namespace"] == namespace]


async def test_nothing_is_wrong_with_a_sound_set_up(doctor: Doctor) -> None:
    found: Found = {}

    async def silent() -> bool:
        found.update(await doctor.found(HEALTHY))
        return found["findings"] == []

    await until_or(silent, 30, lambda: found["findings"])
    [scaled] = found["autoscalers"]
    [metric] = scaled["metrics"]
    assert metric["url"].startswith(f"{CUSTOM}/namespaces/{HEALTHY}/pods/%2A/waiting_requests?labelSelector=app%3Dvllm")
    assert [each["value"] for each in metric["values"]] == [0]
    assert metric["ageSeconds"] < 30
    assert scaled["next"]["replicas"] == scaled["replicas"] == 1
    assert "0 per pod / target 4" in scaled["next"]["explanation"]
    assert found["notLookedAt"] == []


async def test_the_command_says_it_in_80_columns_and_by_its_exit_code(
    doctor: Doctor, capsys: pytest.CaptureFixture[str]
) -> None:
    async def said(*arguments: str) -> tuple[int, list[str]]:
        code = await asyncio.to_thread(main, ["doctor", "--kubeconfig", str(doctor.plane.kubeconfig), *arguments])
        return code, capsys.readouterr().out.splitlines()

    code, lines = await said("--namespace", HEALTHY, "--strict")
    assert (code, lines[-1]) == (0, "Nothing is wrong.")
    code, lines = await said("--namespace", f"{PREFIX}d104", "vllm")
    assert code == 1
    assert "D104 error: a target that the metric cannot exceed" in lines
    assert all(each.startswith(("kubectl ", "    asks")) for each in lines if len(each) > 80)


@pytest.mark.parametrize(
    ("code", "reason", "words"),
    [
        ("d101", "FailedGetPodsMetric", "unable to get metric waiting_request: unable to fetch metrics from custom"),
        ("d205", "AmbiguousSelector", ""),
    ],
)
async def test_what_the_controller_will_do_is_what_it_says_then(
    doctor: Doctor, code: str, reason: str, words: str
) -> None:
    """The real controller's condition has the reason and the words that were foretold, and it changes no replicas."""
    found: Found = {}

    async def said() -> bool:
        found.update((await doctor.found(f"{PREFIX}{code}"))["autoscalers"][0])
        active = [each for each in found["conditions"] if each["type"] == "ScalingActive"]
        return any(each["reason"] == reason and words in each["message"] for each in active)

    await until_or(said, 30, lambda: found)
    assert found["next"]["reason"] == reason
    assert words in found["next"]["explanation"]
    assert found["next"]["replicas"] == found["replicas"]


async def test_the_hpa_that_is_written_for_a_pool_is_taken_by_the_cluster(
    doctor: Doctor, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["hpa", f"{HEALTHY}/chat", "--slo", "ttft_p90=1s", "--kubeconfig", str(doctor.plane.kubeconfig)]
    assert await asyncio.to_thread(main, command) == 0
    path = doctor.folder / "hpa.yaml"
    path.write_text(capsys.readouterr().out)
    said = await doctor.plane.kubectl("apply", "--dry-run=server", "-f", str(path))
    assert said.startswith("horizontalpodautoscaler.autoscaling/vllm")


async def test_planted_faults_are_found_each_by_its_name_and_mended_by_its_fix(doctor: Doctor) -> None:
    """All at once; at first nothing else is found there."""
    found: Found = {}

    async def all_found() -> bool:
        found.update(await doctor.found())
        return all({*each.codes} <= {*codes_in(found, each.namespace)} for each in NAMESPACES)

    await until_or(all_found, 40, lambda: [{*each.codes} - {*codes_in(found, each.namespace)} for each in NAMESPACES])
    wanted = {each.namespace: sorted((*each.codes, *_aftermath(each))) for each in NAMESPACES}
    assert {each.namespace: sorted(codes_in(found, each.namespace)) for each in NAMESPACES} == wanted
    assert sorted(code for each in NAMESPACES for code in each.codes) == sorted(FAULTS)
    assert len(FAULTS) >= 20
    limit = asyncio.Semaphore(AT_ONCE)

    async def mend(faulty: Faulty) -> None:
        async with limit:
            for each in found["findings"]:
                if each["namespace"] == faulty.namespace and each["code"] in faulty.codes:
                    fix = MEANT.get(each["code"]) or str(each["fix"])
                    await doctor.fix(fix.replace("NAMESPACE", faulty.namespace))

    await asyncio.gather(*map(mend, NAMESPACES))
    mended: Found = {}

    async def healed() -> bool:
        mended.update(await doctor.found())
        return not any(codes_in(mended, each.namespace) for each in NAMESPACES)

    def left() -> object:
        there = (each for each in mended["findings"] if each["namespace"].startswith(PREFIX))
        return [f"{each['namespace']}: {each['code']} {each['cause']}" for each in there]

    await until_or(healed, 60, left)


def _aftermath(faulty: Faulty) -> list[str]:
    return [each for code in faulty.codes for each in AFTERMATH.get(code, ())]


async def until_or(holds: Callable[[], Awaitable[bool]], seconds: float, what: Callable[[], object]) -> None:
    """As `until`, with words that are made when it fails."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while not await holds():
        assert loop.time() - started < seconds, what()
        await asyncio.sleep(0.5)


async def test_missing_rights_and_a_metrics_api_without_a_service_are_found_and_mended(doctor: Doctor) -> None:
    """What concerns the whole cluster: of the HPA controller, of infscale, and an APIService that leads nowhere."""
    plane = doctor.plane
    path = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{CONTROLLER_ROLE}"
    role = await plane.client.get(path)
    rules = [each for each in role["rules"] if "custom.metrics.k8s.io" not in each["apiGroups"]]
    await plane.client.patch(path, {"rules": rules})
    await plane.kubectl("-n", documents.SYSTEM, "delete", "rolebinding", "infscale-events")
    service = {"name": "metrics-server", "namespace": "kube-system"}
    spec = {"group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100, "versionPriority": 100}
    nowhere = of_kind(
        "apiregistration.k8s.io/v1", "APIService", "", RESOURCE_METRICS, spec={**spec, "service": service}
    )
    await plane.apply(nowhere)
    wanted = {"D001", "D002", "D003"}
    found: Found = {}

    async def seen() -> bool:
        found.update(await doctor.found(HEALTHY))
        return {each["code"] for each in found["findings"]} == wanted

    try:
        await until_or(seen, 30, lambda: found["findings"])
        for each in found["findings"]:
            await doctor.fix(each["fix"])

        async def mended() -> bool:
            return (await doctor.found(HEALTHY))["findings"] == []

        await until(mended, 30, "nothing is found any more")
    finally:
        await plane.client.patch(path, {"rules": role["rules"]})
        await plane.kubectl("delete", "clusterrole,clusterrolebinding", "infscale-hpa-controller", "--ignore-not-found")
        await plane.kubectl(
            "-n", documents.SYSTEM, "delete", "role,rolebinding", "infscale-missing", "--ignore-not-found"
        )
        await plane.kubectl("delete", "apiservice", RESOURCE_METRICS, "--ignore-not-found")
        text = await asyncio.to_thread((MANIFESTS / "rbac.yaml").read_text)
        await plane.apply(*yaml.safe_load_all(text))
