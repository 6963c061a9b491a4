"""How the life of pods becomes the life of endpoints."""

from typing import Any

import pytest

from infscale.endpoint import DRAINING_LABEL, ObjectKey, Phase, Pool, Workload
from infscale.kube.pods import endpoints_of, phase_of, ranked_ports, remembering, workload_of
from infscale.kube.watched_objects import read_pod
from tests.kube import cluster_objects as made

DELETED: made.Json = {"deletionTimestamp": "2026-01-31T13:00:00Z"}
LATER = "2026-01-31T12:30:00Z"


@pytest.mark.parametrize(
    ("item", "phase"),
    [
        pytest.param(made.pod(), Phase.READY, id="ready"),
        pytest.param(made.pod(ready="False"), Phase.STARTING, id="running and not ready"),
        pytest.param(made.pod(ready="Unknown"), Phase.STARTING, id="its node is silent"),
        pytest.param(made.pod(phase="Pending", ready="False"), Phase.STARTING, id="its init containers run"),
        pytest.param(made.pod(address=""), None, id="no address"),
        pytest.param(made.pod(phase="Succeeded", ready="False"), None, id="succeeded"),
        pytest.param(made.pod(phase="Failed", ready="False"), None, id="failed"),
        pytest.param(made.pod(**DELETED), Phase.DRAINING, id="being deleted"),
        pytest.param(made.pod(ready="False", **DELETED), Phase.DRAINING, id="being deleted, not ready any more"),
        pytest.param(made.pod(phase="Failed", **DELETED), None, id="deleted and over"),
        pytest.param(made.pod(labels={DRAINING_LABEL: "true"}), Phase.DRAINING, id="a label says that it drains"),
        pytest.param(made.pod(annotations={DRAINING_LABEL: "true"}), Phase.DRAINING, id="an annotation says so"),
        pytest.param(made.pod(labels={DRAINING_LABEL: "false"}), Phase.READY, id="a label says that it does not"),
    ],
)
def test_the_life_of_a_pod_is_that_of_its_endpoints(item: made.Json, phase: Phase | None) -> None:
    pod = read_pod(item)
    assert phase_of(pod) is phase
    assert [each.phase for each in endpoints_of(pod, (8000,), None)] == ([] if phase is None else [phase])


def pool(name: str, *ports: int, app: str = "vllm", namespace: str = "chat") -> Pool:
    return Pool(ObjectKey(namespace, name), {"app": app}, ports, own_ports=True)


@pytest.mark.parametrize(
    ("pools", "ports"),
    [
        pytest.param([pool("a", 8000, 8002)], (8000, 8002), id="in the order of the pool"),
        pytest.param([pool("a", 8002), pool("b", 8000, 8002)], (8002, 8000), id="of several pools, each once"),
        pytest.param([pool("a", 8000, app="other")], (), id="not chosen"),
        pytest.param([pool("a", 8000, namespace="other")], (), id="of another namespace"),
    ],
)
def test_ports_are_ranked_by_the_pools_that_choose_the_pod(pools: list[Pool], ports: tuple[int, ...]) -> None:
    assert ranked_ports(read_pod(made.pod()), pools) == ports


@pytest.mark.parametrize(
    ("annotations", "ranks"),
    [
        pytest.param({}, {0: 8000, 1: 8001, 2: 8002}, id="none narrows"),
        pytest.param({"llm-d.ai/active-ports": "8000,8002"}, {0: 8000, 2: 8002}, id="ranks stay"),
        pytest.param({"inference.networking.k8s.io/active-ports": " 8001 , 9999"}, {1: 8001}, id="older name"),
        pytest.param(
            {"inference.networking.k8s.io/active-ports": "8000", "llm-d.ai/active-ports": "8001"},
            {1: 8001},
            id="the newer name wins",
        ),
        pytest.param({"llm-d.ai/active-ports": ""}, {}, id="empty lists none"),
        pytest.param({"llm-d.ai/active-ports": "8000x,-8001,8002"}, {2: 8002}, id="what is no port is passed over"),
    ],
)
def test_active_ports_narrow_the_endpoints_of_a_pod(annotations: dict[str, str], ranks: dict[int, int]) -> None:
    endpoints = endpoints_of(read_pod(made.pod(annotations=annotations)), (8000, 8001, 8002), None)
    assert {each.key.rank: each.port for each in endpoints} == ranks
    assert {each.key.pod for each in endpoints} <= {ObjectKey("chat", "vllm-0")}


@pytest.mark.parametrize(
    ("annotations", "engine"),
    [
        ({}, None),
        ({"llm-d.ai/engine-type": "tgi"}, "tgi"),
        ({"inference.networking.k8s.io/engine-type": "tgi"}, "tgi"),
        ({"inference.networking.k8s.io/engine-type": "tgi", "llm-d.ai/engine-type": "sglang"}, "sglang"),
    ],
    ids=["none", "newer name", "older name", "the newer name wins"],
)
def test_an_annotation_may_name_the_engine(annotations: dict[str, str], engine: str | None) -> None:
    endpoints = endpoints_of(read_pod(made.pod(annotations=annotations)), (8000, 8001), None)
    assert [each.engine for each in endpoints] == [engine, engine]


SLOW = [made.started("proxy", made.STARTED), made.started("vllm", "2026-01-31T12:00:50Z")]


@pytest.mark.parametrize(
    ("containers", "statuses", "seconds"),
    [
        pytest.param([made.container("vllm", 8000), made.container("proxy", 80)], SLOW, 40.0, id="declares the port"),
        pytest.param([made.container("proxy", 8000), made.container("vllm")], SLOW, 90.0, id="so does the slower one"),
        pytest.param([made.container("proxy"), made.container("vllm")], SLOW, 40.0, id="else the last to start"),
        pytest.param([made.container("proxy"), made.container("vllm")], [], None, id="none has started"),
    ],
)
def test_the_load_time_is_that_of_the_container_behind_the_port(
    containers: list[made.Json], statuses: list[made.Json], seconds: float | None
) -> None:
    (endpoint,) = endpoints_of(read_pod(made.pod(containers=containers, statuses=statuses)), (8000,), None)
    assert endpoint.load_seconds == seconds


def seen(*versions: made.Json) -> float | None:
    record = None
    for version in versions:
        record = remembering(record, read_pod(version))
    assert record is not None
    return record.containers[0].load_seconds


RESTARTED: dict[str, Any] = {"statuses": [made.started("vllm", "2026-01-31T12:29:00Z")]}


@pytest.mark.parametrize(
    ("versions", "seconds"),
    [
        pytest.param([made.pod(), made.pod(ready="False", ready_at=LATER)], 90.0, id="stays while unready"),
        pytest.param([made.pod(), made.pod(ready="False"), made.pod(ready_at=LATER)], 90.0, id="flapping adds nothing"),
        pytest.param([made.pod(ready_at=LATER)], 1800.0, id="unseen flapping does"),
        pytest.param([made.pod(), made.pod(ready="False", **RESTARTED)], None, id="a restart loads anew"),
        pytest.param(
            [made.pod(), made.pod(ready="False", **RESTARTED), made.pod(ready_at=LATER, **RESTARTED)],
            60.0,
            id="and is measured anew",
        ),
        pytest.param([made.pod(), made.pod(uid="another", ready="False")], None, id="another pod of the same name"),
    ],
)
def test_the_first_ready_after_a_start_counts(versions: list[made.Json], seconds: float | None) -> None:
    assert seen(*versions) == seconds


@pytest.mark.parametrize(
    ("after", "same"),
    [
        pytest.param(made.pod(ready="False"), True, id="unready for a while"),
        pytest.param(made.pod(labels={"app": "vllm", "new": "label"}), True, id="another label"),
        pytest.param(made.pod(**RESTARTED), False, id="its container began anew"),
        pytest.param(made.pod(uid="another"), False, id="another pod of the same name and address"),
    ],
)
def test_an_endpoint_has_another_incarnation_where_its_container_has(after: made.Json, same: bool) -> None:
    (before,), (behind,) = (endpoints_of(read_pod(each), (8000,), None) for each in (made.pod(), after))
    assert before.incarnation
    assert (before.pod_uid == behind.pod_uid) == (after["metadata"]["uid"] != "another")
    assert (before.incarnation == behind.incarnation) == same


REPLICA_SETS = {ObjectKey("chat", "vllm-7d"): Workload("Deployment", "vllm"), ObjectKey("chat", "alone"): None}


@pytest.mark.parametrize(
    ("references", "workload"),
    [
        pytest.param(made.owner("ReplicaSet", "vllm-7d"), Workload("Deployment", "vllm"), id="through its ReplicaSet"),
        pytest.param(made.owner("ReplicaSet", "alone"), Workload("ReplicaSet", "alone"), id="a ReplicaSet of its own"),
        pytest.param(made.owner("ReplicaSet", "unseen"), None, id="a ReplicaSet that was not seen"),
        pytest.param(made.owner("StatefulSet", "vllm"), Workload("StatefulSet", "vllm"), id="StatefulSet"),
        pytest.param(made.owner("LeaderWorkerSet", "lws"), Workload("LeaderWorkerSet", "lws"), id="any controller"),
        pytest.param([{**made.owner("Node", "n")[0], "controller": False}], None, id="no controller"),
        pytest.param([], None, id="nobody's"),
    ],
)
def test_the_workload_is_what_the_pod_is_a_replica_of(references: list[made.Json], workload: Workload | None) -> None:
    assert workload_of(read_pod(made.pod(ownerReferences=references)), REPLICA_SETS) == workload
