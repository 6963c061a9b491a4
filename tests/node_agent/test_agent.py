"""The agent's rounds: one GPU's fault stays its own, what is not there is looked for, what is old is not used."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from infscale.backoff import Backoff
from infscale.endpoint import ObjectKey
from infscale.node_agent.agent import NOT_LOOKED, AgentSettings, NodeAgent, NodeView
from infscale.node_agent.devices import Device, Holding
from infscale.node_agent.kubelet import KubeletProblem
from infscale.node_agent.nvml import Nvml
from infscale.process.tasks import running
from tests.node_agent.nvml_stand_in import GIB, StandIn

LOST = "the GPU is lost: it has fallen off the bus, or is otherwise out of reach"
HOLDING = Holding(ObjectKey("llm", "a"), "vllm", "nvidia.com/gpu", "GPU-0")


class Holders:
    def __init__(self) -> None:
        self.problem = ""

    async def holdings(self) -> tuple[Holding, ...]:
        if self.problem:
            raise KubeletProblem(self.problem)
        return (HOLDING,)


@asynccontextmanager
async def agent_of(timeout: float = 5.0) -> AsyncGenerator[NodeAgent]:
    clock = asyncio.get_running_loop().time
    made = NodeAgent(Nvml(), Holders(), AgentSettings(0.02, timeout), clock, random.Random(1))
    async with running(made.follow()):
        yield made


async def until(agent: NodeAgent, holds: Callable[[NodeView], bool]) -> NodeView:
    async with asyncio.timeout(10):
        while not holds(agent.view):
            await asyncio.sleep(0.005)
    return agent.view


def used(view: NodeView) -> dict[str, int | None]:
    return {each.uuid: each.memory_used_bytes for each in view.devices}


@pytest.mark.compiler
async def test_of_eight_gpus_one_fails_and_seven_are_right(nvml: StandIn) -> None:
    async with agent_of() as agent:
        view = await until(agent, lambda view: len(view.devices) == 8)
        assert used(view) == {f"GPU-{index}": (index + 1) * 10 * GIB for index in range(8)}
        nvml.show("count 8", "error 3 15")
        view = await until(agent, lambda view: used(view)["GPU-3"] is None)
        assert view.devices[3].problems == {"memory": LOST, "utilization": LOST}
        assert [each.uuid for each in view.devices if each.memory_used_bytes is None] == ["GPU-3"]
        nvml.show("count 8", "gone 3 15")
        view = await until(agent, lambda view: view.devices[3].row_remap_failed is None)
        assert (view.devices[3].uuid, view.devices[3].problems["memory"]) == ("GPU-3", LOST), "it is remembered"
        assert (view.gpus, view.driver_problem, view.unread) == (8, "", ())


@pytest.mark.compiler
async def test_a_gpu_that_was_never_read_has_its_index_and_a_cause(nvml: StandIn) -> None:
    nvml.show("count 2", "gone 1 15")
    async with agent_of() as agent:
        view = await until(agent, lambda view: bool(view.devices))
        assert (view.unread, list(used(view))) == (((1, LOST),), ["GPU-0"])


@pytest.mark.compiler
async def test_a_gpu_that_hangs_is_unknown_and_delays_the_others_once(nvml: StandIn) -> None:
    async with agent_of(timeout=0.2) as agent:
        await until(agent, lambda view: len(view.devices) == 8)
        nvml.show("count 8", "hang 3", "busy 7 77")
        view = await until(agent, lambda view: used(view)["GPU-3"] is None)
        assert view.devices[3].problems["memory"] == "NVML does not answer within 0.2 s"
        view = await until(agent, lambda view: view.devices[7].utilization_ratio == 0.77)
        assert [uuid for uuid, memory in used(view).items() if memory is None] == ["GPU-3"]
        nvml.show("count 8")
        await until(agent, lambda view: used(view)["GPU-3"] == 40 * GIB)


@pytest.mark.compiler
async def test_a_driver_that_comes_and_goes_is_followed(nvml: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infscale.node_agent.agent._RETRIES", Backoff(base_seconds=0.01, cap_seconds=0.02))
    nvml.show("init 9", "count 1")
    async with agent_of() as agent:
        view = await until(agent, lambda view: view.driver_problem != NOT_LOOKED)
        assert (view.gpus, view.driver_problem) == (0, "the NVIDIA driver is not loaded")
        nvml.show("count 0")
        await until(agent, lambda view: view.driver_problem == "the NVIDIA driver shows no GPU")
        nvml.show("count 1")
        view = await until(agent, lambda view: view.gpus == 1)
        assert (view.driver_problem, used(view)) == ("", {"GPU-0": 10 * GIB})
        nvml.show("count 1", "gone 0 9", "init 9")
        view = await until(agent, lambda view: view.gpus == 0)
        assert (view.driver_problem, used(view)) == ("the NVIDIA driver is not loaded", {"GPU-0": None})
        nvml.show("count 2")
        await until(agent, lambda view: used(view) == {"GPU-0": 10 * GIB, "GPU-1": 20 * GIB})


@pytest.mark.compiler
async def test_a_kubelet_that_fails_leaves_what_it_said_until_that_is_old(nvml: StandIn) -> None:
    async with agent_of() as agent:
        view = await until(agent, lambda view: bool(view.holdings))
        assert (view.holdings, view.kubelet_problem) == ((HOLDING,), "")
        assert isinstance(agent.holders, Holders)
        agent.holders.problem = "permission denied"
        view = await until(agent, lambda view: bool(view.kubelet_problem))
        assert (view.holdings, view.kubelet_problem) == ((HOLDING,), "permission denied")


def test_what_is_too_old_is_not_used() -> None:
    device = Device("GPU-0", 0, memory_used_bytes=1, memory_total_bytes=2, utilization_ratio=0.5)
    view = NodeView(1, (device,), (), "", 100.0, (HOLDING,), "", 100.0)
    assert view.at(115.0, 15.0) == view
    old = view.at(115.1, 15.0)
    assert (old.driver_problem, old.kubelet_problem) == ("the last reading is 15 s old", "the last answer is 15 s old")
    assert (old.devices, old.holdings) == ((device.silent("the last reading is 15 s old"),), ())
    failing = replace(view, driver_problem="gone", kubelet_problem="permission denied").at(200.0, 15.0)
    assert (failing.devices[0].problems["memory"], failing.kubelet_problem) == ("gone", "permission denied")
    assert NodeView().at(1e9, 15.0) == NodeView()


class Broken:
    """A driver with a fault that is none of NVML's."""

    def open(self) -> int:
        return 2

    def close(self) -> None:
        return

    def read(self, index: int) -> tuple[Device, ...]:
        return (Device("GPU-0", 0),) if index == 0 else (Device(f"GPU-{index}", [][index]),)


async def test_a_fault_of_the_program_is_one_gpu_s_and_does_not_end_it() -> None:
    clock = asyncio.get_running_loop().time
    made = NodeAgent(Broken(), Holders(), AgentSettings(0.02, 5.0), clock, random.Random(1))
    async with running(made.follow()):
        view = await until(made, lambda view: bool(view.devices))
        assert (view.unread, [each.uuid for each in view.devices]) == (((1, "internal error (IndexError)"),), ["GPU-0"])
        before = view.read_at
        await until(made, lambda view: view.read_at != before)
