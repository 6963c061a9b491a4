"""The kubelet is asked over a unix socket; what it holds back, or says too much of, is a cause and nothing else."""

import asyncio
from pathlib import Path

import pytest

from infscale.endpoint import ObjectKey
from infscale.node_agent.devices import Holding
from infscale.node_agent.kubelet import Kubelet, KubeletProblem
from tests.node_agent.fake_kubelet import dynamic_pod, kubelet, pod


async def test_devices_of_containers_are_listed(tmp_path: Path) -> None:
    async with kubelet(tmp_path / "s") as fake, Kubelet(tmp_path / "s", 2.0) as asked:
        assert await asked.holdings() == ()
        fake.pods = [pod("llm", "a", "GPU-0", "GPU-1"), dynamic_pod("llm", "b", "gpu.nvidia.com", "gpu-3")]
        a, b = ObjectKey("llm", "a"), ObjectKey("llm", "b")
        assert await asked.holdings() == (
            Holding(a, "vllm", "nvidia.com/gpu", "GPU-0"),
            Holding(a, "vllm", "nvidia.com/gpu", "GPU-1"),
            Holding(b, "vllm", "gpu.nvidia.com", "gpu-3"),
        )


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ("hang", "no answer in time"),
        ("huge", "the answer is too large, or the server is out of resources"),
        ("many", "pods hold more than 4096 devices"),
    ],
)
async def test_what_cannot_be_used_is_refused_in_words(tmp_path: Path, answer: str, cause: str) -> None:
    async with kubelet(tmp_path / "s") as fake, Kubelet(tmp_path / "s", 0.1 if answer == "hang" else 10.0) as asked:
        fake.answer = getattr(fake, answer)
        with pytest.raises(KubeletProblem) as raised:
            await asked.holdings()
        assert str(raised.value) == cause


async def test_a_kubelet_without_the_method_a_socket_without_a_kubelet_and_no_socket(tmp_path: Path) -> None:
    async with kubelet(tmp_path / "s", method="Other"), Kubelet(tmp_path / "s", 2.0) as asked:
        with pytest.raises(KubeletProblem, match="does not speak this protocol"):
            await asked.holdings()
    async with Kubelet(tmp_path / "none", 2.0) as asked:
        with pytest.raises(KubeletProblem, match="there is no such socket"):
            await asked.holdings()


async def test_a_kubelet_that_comes_back_is_asked_again(tmp_path: Path) -> None:
    async with Kubelet(tmp_path / "s", 2.0) as asked:
        with pytest.raises(KubeletProblem):
            await asked.holdings()
        async with kubelet(tmp_path / "s") as fake:
            fake.pods = [pod("llm", "a", "GPU-0")]
            async with asyncio.timeout(10):
                while not await answered(asked):
                    await asyncio.sleep(0.02)


async def answered(asked: Kubelet) -> bool:
    try:
        return len(await asked.holdings()) == 1
    except KubeletProblem:
        return False
