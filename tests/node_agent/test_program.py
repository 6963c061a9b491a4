"""The program as it is run: without a GPU, and with eight of which one fails, up to the store of a real `serve`."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from aiohttp import ClientSession

from infscale.config.read import load_config
from infscale.metrics.snapshot import PoolSnapshot
from infscale.serving.composition import serving
from tests.node_agent.fake_kubelet import FakeKubelet, kubelet, pod
from tests.node_agent.nvml_stand_in import GIB, StandIn

LOST = "the GPU is lost: it has fallen off the bus, or is otherwise out of reach"


@asynccontextmanager
async def agent(environment: Mapping[str, str], socket: Path, *flags: str) -> AsyncGenerator[str]:
    """The program; gives its address. Its log is on `socket`'s folder as ``agent.log``."""
    command = [sys.executable, "-m", "infscale.cli.main", "node-agent", "--listen", "127.0.0.1:0"]
    command += ["--interval-seconds", "0.1", "--timeout-seconds", "2", "--kubelet-socket", str(socket), *flags]
    process = await asyncio.create_subprocess_exec(*command, env=dict(environment), stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        while (found := re.search(r"page=(\S+)/metrics", (await process.stderr.readline()).decode())) is None:
            assert process.returncode is None
        yield found[1]
    finally:
        process.terminate()
        said = (await process.communicate())[1].decode()
        assert process.returncode == 0, said
        assert "Traceback" not in said


async def page(url: str, *wanted: str) -> str:
    """The page once it has every text of `wanted`."""
    async with asyncio.timeout(15), ClientSession() as session:
        while True:
            async with session.get(f"{url}/metrics") as response:
                text = await response.text()
            if all(each in text for each in wanted):
                return text
            await asyncio.sleep(0.02)


async def healthy(url: str) -> bool:
    async with ClientSession() as session, session.get(f"{url}/healthz") as response:
        return response.status == 200


async def test_without_a_gpu_it_says_so_and_is_healthy(tmp_path: Path) -> None:
    bare = {name: value for name, value in os.environ.items() if name not in {"LD_LIBRARY_PATH", "FAKE_NVML"}}
    async with agent(bare, tmp_path / "none") as url:
        no_driver = 'cause="there is no NVIDIA driver here (libnvidia-ml.so.1 is not found)",source="driver"} 1.0'
        text = await page(url, no_driver, 'cause="there is no such socket",source="kubelet"} 1.0')
        assert "infscale_node_agent_gpus 0.0\n" in text
        assert await healthy(url)


@pytest.mark.compiler
async def test_of_eight_gpus_seven_are_right_and_one_is_unknown_on_the_page_and_in_the_store(
    tmp_path: Path, compiled: StandIn
) -> None:
    compiled.show("count 8", "error 3 15")
    async with kubelet(tmp_path / "s") as fake, agent(compiled.environment, tmp_path / "s") as url:
        fake.pods = [pod("default", f"vllm-{index}", f"GPU-{index}") for index in range(8)]
        text = await page(url, 'pod_gpu_memory_used_bytes{namespace="default",pod="vllm-7"')
        assert "infscale_node_agent_gpus 8.0\n" in text
        of_pods = re.findall(r'pod_gpu_memory_used_bytes\{.*pod="vllm-(\d)".*\} (\S+)\n', text)
        assert {int(index): float(used) for index, used in of_pods} == {
            index: (index + 1) * 10 * GIB for index in range(8) if index != 3
        }
        assert len(re.findall(rf'pod_gpu_problem\{{cause="{LOST}",namespace="default",pod="vllm-3"', text)) == 2
        assert await healthy(url)
        snapshot = await in_the_store(tmp_path, url)
    used = [float(each) for each in snapshot.columns.pod.gpu_memory_used_bytes]
    busy = [float(each) for each in snapshot.columns.pod.gpu_utilization]
    for index in (0, 1, 2, 4, 5, 6, 7):
        assert (used[index], busy[index]) == ((index + 1) * 10 * GIB, pytest.approx(index / 10))
    assert used[3] != used[3]
    assert snapshot.columns.refused[3]["gpu_memory_used_bytes"] == LOST


async def in_the_store(folder: Path, url: str) -> PoolSnapshot:
    """The store of a process that scrapes the agent, once it has values of every pod."""
    endpoints = [{"name": f"vllm-{index}", "address": "127.0.0.1", "port": index + 1} for index in range(8)]
    (folder / "discovery.yaml").write_text(yaml.safe_dump({"endpoints": endpoints}))
    free = {part: {"listen": "127.0.0.1:0"} for part in ("picker", "adapter", "telemetry")}
    given = {"targets": [f"{url}/metrics"], "interval_seconds": 0.1}
    (folder / "serve.yaml").write_text(
        yaml.safe_dump({"discovery": {"file": "discovery.yaml"}, "node_agent": given, **free})
    )
    config = await asyncio.to_thread(load_config, folder / "serve.yaml")
    async with serving(config) as running, asyncio.timeout(10):
        while True:
            [snapshot] = running.store.snapshots()
            if (snapshot.columns.gpu_observed_at > 0).all():
                return snapshot
            await asyncio.sleep(0.02)


@pytest.mark.compiler
async def test_a_hanging_gpu_blocks_neither_the_page_nor_the_end(tmp_path: Path, compiled: StandIn) -> None:
    compiled.show("count 8", "hang 5")
    async with kubelet(tmp_path / "s"), agent(compiled.environment, tmp_path / "s", "--timeout-seconds", "0.3") as url:
        text = await page(url, 'gpu_memory_used_bytes{gpu="7"')
        assert 'gpu_problem{cause="NVML does not answer' in text
        assert await healthy(url)


@pytest.mark.compiler
async def test_processes_tell_pods_apart_where_it_may_see_them(tmp_path: Path, compiled: StandIn) -> None:
    """This process is of no pod on this machine, and of one in a cluster: its memory is told only there."""
    compiled.show("count 1", f"process 0 {os.getpid()} 1000")
    async with kubelet(tmp_path / "s") as fake:
        assert isinstance(fake, FakeKubelet)
        fake.pods = [pod("llm", name, f"GPU-0::{name}", resource="nvidia.com/gpu.shared") for name in "01"]
        async with agent(compiled.environment, tmp_path / "s", "--host-pid") as url:
            text = await page(url, 'cause="2 pods share the GPU')
    own = await asyncio.to_thread(Path("/proc/self/cgroup").read_text)
    assert ("pod_processes_memory_bytes{" in text) == (re.search(r"[-/]pod[0-9a-f]{8}", own) is not None)
