"""``infscale hpa``: a manifest from a cluster or a discovery file, and mistakes in one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from infscale.cli.main import main
from infscale.discovery.workloads import WORKLOADS, WorkloadKind
from tests.cli.test_doctor import cluster, ran
from tests.doctor.reading.fake_api import CUSTOM, listed

DISCOVERY = """
endpoints:
- {name: vllm-0, namespace: llm, address: 10.0.0.1, port: "8000", labels: {app: vllm}}
objects:
- apiVersion: inference.networking.k8s.io/v1
  kind: InferencePool
  metadata: {name: chat, namespace: llm}
  spec: {selector: {matchLabels: {app: vllm}}, targetPorts: [{number: 8000}]}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: vllm, namespace: llm}
  spec: {selector: {matchLabels: {app: vllm}}}
"""


def written(capsys: pytest.CaptureFixture[str]) -> Any:
    return yaml.safe_load(capsys.readouterr().out)


def test_from_a_discovery_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "discovery.yaml"
    path.write_text(DISCOVERY)
    command = ["hpa", "chat", "--slo", "ttft_p90=1s", "--discovery", str(path)]
    assert main(command) == 0
    document = written(capsys)
    assert (document["kind"], document["metadata"]) == (
        "HorizontalPodAutoscaler",
        {"name": "vllm", "namespace": "llm"},
    )
    assert main([*command, "--keda", "--min", "2", "--max", "9"]) == 0
    document = written(capsys)
    assert document["kind"] == "ScaledObject"
    assert (document["spec"]["minReplicaCount"], document["spec"]["maxReplicaCount"]) == (2, 9)


@pytest.mark.parametrize("keda", [[], ["--keda"]])
@pytest.mark.parametrize("kind", WORKLOADS, ids=lambda each: each.kind)
def test_every_kind_of_workload_can_be_the_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: WorkloadKind, keda: list[str]
) -> None:
    path = tmp_path / "discovery.yaml"
    path.write_text(DISCOVERY)
    command = ["hpa", "chat", "--slo", "ttft_p90=1s", "--discovery", str(path), *keda]
    assert main([*command, "--target", f"{kind.kind.lower()}/big"]) == 0
    target = written(capsys)["spec"]["scaleTargetRef"]
    assert target == {"apiVersion": kind.api_version, "kind": kind.kind, "name": "big"}


async def test_from_a_cluster_with_the_time_that_models_take_to_load(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"{CUSTOM}/inferencepools.inference.networking.k8s.io/chat/model_load_seconds"
    async with cluster(tmp_path, **{path: listed({"value": "240"})}) as place:
        assert await ran("hpa", "llm/chat", "--slo", "ttft_p90=1s", *place) == 0
    document = written(capsys)
    assert document["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 480
    assert document["spec"]["metrics"][1]["object"]["target"]["averageValue"] == "22", "of a batch of 32"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--slo", "x=1s"], "--slo: expected ttft, itl or queue with a statistic"),
        (
            ["--slo", "ttft_p90=1s", "--target", "Pod/x"],
            "--target: expected KIND/NAME, with one of Deployment, Stateful",
        ),
        (["--slo", "ttft_p90=1s", "--keda", "--scaler", "host"], "--scaler: expected HOST:PORT"),
        (["--slo", "ttft_p90=1s", "--min", "9", "--max", "3"], "expected 0 <= min <= max"),
    ],
)
def test_mistakes_end_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    path = tmp_path / "discovery.yaml"
    path.write_text(DISCOVERY)
    assert main(["hpa", "chat", "--discovery", str(path), *arguments]) == 2
    said = capsys.readouterr()
    assert problem in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)
