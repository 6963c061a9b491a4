"""Hostile objects of a cluster: of MiB, with thousands of parts, or not what they should be. Others are served on."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from infscale.demo.child_processes import free_ports
from tests.cli.test_reference_line import kubeconfig
from tests.fakes.cluster import FakeCluster as FakeReviews
from tests.hostile.harness import MEMORY_BYTES, Program, memory_bytes, program
from tests.kube import cluster_objects as made
from tests.kube.api_server import serving
from tests.kube.fake_cluster import FakeCluster

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(90)]

POOL_GROUP = "inference.networking.k8s.io"
LARGE = {f"note-{each}": "x" * 50_000 for each in range(5)}
METRIC = {"target": {"type": "AverageValue", "averageValue": "1"}}
STRANGE: list[Any] = [
    {**made.pod("no-containers"), "spec": 5},
    {**made.pod("odd-status"), "status": {"podIPs": {"a": "b"}, "conditions": 7}},
    made.pod("odd-address", "not an address"),
    made.pod("odd-time", ready_at="yesterday"),
    made.pod("many-ports", containers=[made.container("vllm", *range(1, 3_000))]),
]


def autoscaler(name: str, *metrics: str) -> dict[str, Any]:
    asked = [{"type": "Pods", "pods": {"metric": {"name": each}, **METRIC}} for each in metrics]
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "vllm"}
    return {"metadata": made.metadata(name), "spec": {"scaleTargetRef": target, "metrics": asked}}


def deployment(labels: dict[str, str]) -> dict[str, Any]:
    return {"metadata": made.metadata("vllm"), "spec": {"selector": {"matchLabels": labels}}}


async def filled() -> FakeCluster:
    """A pool of one pod, and around it objects that are large or odd."""
    cluster = FakeCluster()
    await cluster.apply(POOL_GROUP, "inferencepools", made.pool("pool", 8000))
    for each in STRANGE:
        await cluster.apply("", "pods", each)
    for each in range(200):
        await cluster.apply("", "pods", made.pod(f"large-{each}", labels={"app": "other"}, annotations=LARGE))
    await cluster.apply("", "pods", made.pod("good", "127.0.0.1"))
    await cluster.apply("apps", "deployments", deployment({"app": "vllm"}))
    await cluster.apply("autoscaling", "horizontalpodautoscalers", autoscaler("small", "waiting_request"))
    return cluster


async def test_large_and_strange_objects_take_nobody_with_them(tmp_path: Path) -> None:
    """50 MB of pods in pages, five that cannot be read, an HPA of 5,000 metrics in ever new versions."""
    cluster = await filled()
    async with serving(cluster, FakeReviews()) as url:
        picker, adapter, telemetry = free_ports(3)
        document = {
            "kubernetes": {"kubeconfig": await asyncio.to_thread(kubeconfig, tmp_path, url)},
            "discovery": {"kubernetes": {"namespaces": ["chat"]}},
            "picker": {"listen": f"127.0.0.1:{picker}"},
            "adapter": {"listen": f"127.0.0.1:{adapter}"},
            "telemetry": {"listen": f"127.0.0.1:{telemetry}"},
        }
        (tmp_path / "serve.yaml").write_text(yaml.safe_dump(document))
        command = ("infscale.cli.main", "serve", "--config", str(tmp_path / "serve.yaml"))
        with program(tmp_path, "serve", *command) as running:
            await asyncio.to_thread(running.wait_for, "infscale.serving.composition: serving")
            await served_on(cluster, running, f"http://127.0.0.1:{telemetry}")
            said = running.said()
    assert "Traceback" not in said
    about_it = [line for line in said.splitlines() if "HorizontalPodAutoscaler chat/flood" in line]
    assert 1 <= len(about_it) <= 3
    assert "more metrics that HorizontalPodAutoscalers ask for cannot be answered" in said
    assert "HorizontalPodAutoscaler chat/small, metric waiting_request: " in said
    assert "did you mean waiting_requests?" in said
    assert "Deployment chat/vllm cannot be used, what it said before stays: it has more than" in said
    assert len(said.splitlines()) < 80


# Asks again and again, in a process of its own, and prints the longest that an answer took.
ASKING = """
import sys, threading, time, urllib.request
longest, ended = 0.0, threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
while not ended.wait(0.01):
    started = time.monotonic()
    urllib.request.urlopen(sys.argv[1], timeout=20).read()
    longest = max(longest, time.monotonic() - started)
print(longest)
"""


async def served_on(cluster: FakeCluster, running: Program, telemetry: str) -> None:
    pipe = asyncio.subprocess.PIPE
    asking = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ASKING, f"{telemetry}/healthz"), stdin=pipe, stdout=pipe
    )
    async with aiohttp.ClientSession() as session:

        async def snapshot() -> str:
            async with session.get(f"{telemetry}/debug/snapshot") as response:
                return await response.text()

        assert "good" in await snapshot()
        for version in range(5):
            flood = autoscaler("flood", *(f"m{version}-{each}" for each in range(5_000)))
            await cluster.apply("autoscaling", "horizontalpodautoscalers", flood)
            await cluster.apply(
                "apps", "deployments", deployment({f"k{each}": "v" for each in range(20_000 + version)})
            )
            await asyncio.sleep(0.2)
        while "chat/flood" not in running.said():
            await asyncio.sleep(0.1)
        assert "good" in await snapshot()
    longest, _ = await asking.communicate(b"")
    # Reading one of these whole takes more than a second, and writing 5,000 lines does.
    assert float(longest) < 0.7
    assert memory_bytes(running.process.pid) < MEMORY_BYTES / 2
