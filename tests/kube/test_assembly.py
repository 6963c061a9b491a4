"""How what the watches have seen becomes one state."""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.discovery.workloads import WORKLOADS
from infscale.endpoint import ObjectKey, Phase, Pool, Workload
from infscale.kube import watched_objects as objects
from infscale.kube.assembly import Assembler, SeenObjects
from infscale.kube.pods import remembering
from infscale.kube.watched_objects import Definition, read_pod
from infscale.sources.source_kind import ExporterPods
from tests.kube import cluster_objects as made

DEPLOYMENT, STATEFUL_SET, LEADER_WORKER_SET, _, ROLLOUT = WORKLOADS


def records(definition: Definition[Any], items: Iterable[made.Json]) -> dict[ObjectKey, Any]:
    return {record.key: record for record in map(definition.read, items)}


def seen(pods: Sequence[made.Json] = (), pools: Sequence[made.Json] = (), **tables: Any) -> SeenObjects:
    return SeenObjects(pods={pod.key: pod for pod in map(read_pod, pods)}, pools=records(objects.POOL, pools), **tables)


def test_pods_of_a_pool_become_its_endpoints_in_order() -> None:
    pods = [made.pod("vllm-1", "10.0.0.2", ready="False"), made.pod("vllm-0"), made.pod("web", labels={"app": "web"})]
    state = Assembler().assemble(seen(pods, [made.pool("pool", 8000, 8001)])).state
    assert [(str(each.key), each.authority, each.phase) for each in state.endpoints] == [
        ("chat/vllm-0", "10.0.0.1:8000", Phase.READY),
        ("chat/vllm-0-rank-1", "10.0.0.1:8001", Phase.READY),
        ("chat/vllm-1", "10.0.0.2:8000", Phase.STARTING),
        ("chat/vllm-1-rank-1", "10.0.0.2:8001", Phase.STARTING),
    ]


def test_pools_with_different_ports_share_pods_and_take_their_own_endpoints() -> None:
    younger, older = made.pool("a", 8001, 8000, created=made.READY), made.pool("b", 8000, 8002)
    state = Assembler().assemble(seen([made.pod()], [younger, older])).state
    members = {pool.key.name: [(each.key.rank, each.port) for each in state.members(pool)] for pool in state.pools}
    assert members == {"a": [(0, 8000), (2, 8001)], "b": [(0, 8000), (1, 8002)]}


def test_a_new_pool_changes_no_rank() -> None:
    older, younger = made.pool("b", 8000, 8002), made.pool("a", 8001, created=made.READY)
    before = Assembler().assemble(seen([made.pod()], [older])).state
    after = Assembler().assemble(seen([made.pod()], [older, younger])).state
    assert after.endpoints[: len(before.endpoints)] == before.endpoints


def test_of_both_groups_the_newer_counts_and_it_is_noted() -> None:
    both = seen([made.pod()], [made.pool("pool", 8000)])
    both.legacy_pools = records(objects.LEGACY_POOL, [made.legacy_pool("pool", 9000), made.legacy_pool("old", 9001)])
    both.objectives = records(objects.OBJECTIVE, [made.objective("batch", priority=-1)])
    both.legacy_objectives = records(objects.LEGACY_OBJECTIVE, [made.objective("batch", priority=5)])
    assembly = Assembler().assemble(both)
    assert {pool.key.name: pool.target_ports for pool in assembly.state.pools} == {"old": (9001,), "pool": (8000,)}
    assert [each.priority for each in assembly.state.objectives] == [-1]
    assert assembly.notes == (
        "InferencePool chat/pool exists in both API groups: that of the newer group counts",
        "InferenceObjective chat/batch exists in both API groups: that of the newer group counts",
    )


def test_of_two_models_of_one_name_the_older_counts() -> None:
    models = [
        made.model("late", "llama", created=made.READY),
        made.model("early", "llama"),
        made.model("elsewhere", "llama", pool="other", created=made.READY),
    ]
    assembly = Assembler().assemble(seen(models=records(objects.MODEL, models)))
    assert [each.key.name for each in assembly.state.objectives] == ["early", "elsewhere"]
    assert [each.key.name for each in assembly.state.rewrites] == ["early", "elsewhere"]
    assert assembly.notes == (
        "InferenceModel chat/late is left out: the older InferenceModel chat/early has its model name",
    )


def test_two_pods_with_one_address_are_one_endpoint_of_the_livelier() -> None:
    leaving = made.pod("vllm-0", deletionTimestamp=made.READY)
    assembly = Assembler().assemble(seen([leaving, made.pod("vllm-1")], [made.pool()]))
    assert [str(each.key) for each in assembly.state.endpoints] == ["chat/vllm-1"]
    assert assembly.notes == ("endpoint chat/vllm-0 is left out: chat/vllm-1 has its address 10.0.0.1:8000",)


@pytest.mark.parametrize(
    ("nodes", "cordoned", "draining"),
    [
        (["a", "b"], set[str](), set[str]()),
        (["a", "b"], {"a"}, {"vllm-0"}),
        (["a", "b"], {"a", "b"}, set[str]()),
        (["a", "a"], {"a"}, set[str]()),
        (["a", ""], {"a"}, {"vllm-0"}),
    ],
    ids=["no node", "one of two", "all nodes", "all pods are there", "one is nowhere"],
)
def test_pods_of_a_cordoned_node_drain_while_others_of_their_pools_are_elsewhere(
    nodes: list[str], cordoned: set[str], draining: set[str]
) -> None:
    pods = [made.pod(f"vllm-{row}", f"10.0.0.{row + 1}", node=node) for row, node in enumerate(nodes)]
    found = seen(pods, [made.pool("pool", 8000, 8001)])
    found.cordoned.update({ObjectKey("", name): name in cordoned for name in "ab"})
    endpoints = Assembler().assemble(found).state.endpoints
    drain = [each.key for each in endpoints if each.phase is Phase.DRAINING]
    assert {each.name for each in drain} == draining
    assert len(drain) == 2 * len(draining), "both ports of a pod drain together"


def test_described_objects_and_autoscalers_come_in_order() -> None:
    whole = seen(
        workloads={
            DEPLOYMENT: records(objects.described_by(DEPLOYMENT), [made.workload("D", "b"), made.workload("D", "a")]),
            STATEFUL_SET: records(objects.described_by(STATEFUL_SET), [made.workload("S", "c")]),
        },
        services=records(objects.SERVICE, [{"metadata": made.metadata("svc"), "spec": {"selector": {"app": "vllm"}}}]),
        namespaces=records(objects.NAMESPACE, [{"metadata": {"name": "chat"}}]),
        autoscalers=records(objects.AUTOSCALER, [made.autoscaler("z"), made.autoscaler("y")]),
    )
    state = Assembler().assemble(whole).state
    assert [(each.kind, each.key.name) for each in state.objects] == [
        ("Deployment", "a"),
        ("Deployment", "b"),
        ("StatefulSet", "c"),
        ("Service", "svc"),
        ("Namespace", "chat"),
    ]
    assert [each.key.name for each in state.autoscalers] == ["y", "z"]


def declaring(
    kind: str, name: str, annotations: Mapping[str, str], *ports: int, created: str = made.STARTED
) -> made.Json:
    item = made.workload(kind, name, template={"spec": {"containers": [made.container("vllm", *ports)]}})
    item["metadata"] |= {"annotations": dict(annotations), "creationTimestamp": created, "labels": {"team": "a"}}
    return item


def assembled(*deployments: made.Json, **tables: Any) -> tuple[tuple[Pool, ...], tuple[str, ...]]:
    found = records(objects.described_by(DEPLOYMENT), deployments)
    assembly = Assembler().assemble(seen([made.pod()], workloads={DEPLOYMENT: found}, **tables))
    return assembly.state.pools, assembly.notes


@pytest.mark.parametrize(
    ("annotations", "ports", "made_of"),
    [
        pytest.param({"infscale.dev/pool": "true"}, (8000,), ("vllm", (8000,)), id="its own name, its only port"),
        pytest.param({"infscale.dev/pool": "chat"}, (8000,), ("chat", (8000,)), id="a name of its own"),
        pytest.param(
            {"infscale.dev/pool": "true", "infscale.dev/pool-ports": "8000, 8001"},
            (8000, 9000),
            ("vllm", (8000, 8001)),
            id="the ports of ranks",
        ),
    ],
)
def test_an_annotated_workload_is_a_pool_of_its_pods(
    annotations: Mapping[str, str], ports: Sequence[int], made_of: tuple[str, tuple[int, ...]]
) -> None:
    found = records(objects.described_by(DEPLOYMENT), [declaring("Deployment", "vllm", annotations, *ports)])
    state = Assembler().assemble(seen([made.pod()], workloads={DEPLOYMENT: found})).state
    [pool] = state.pools
    assert (pool.key, pool.target_ports, pool.labels) == (ObjectKey("chat", made_of[0]), made_of[1], {"team": "a"})
    assert [each.authority for each in state.members(pool)] == [f"10.0.0.1:{port}" for port in made_of[1]]


@pytest.mark.parametrize(
    ("annotations", "ports", "note"),
    [
        pytest.param({}, (8000, 9000), "its pods declare ports 8000, 9000: say in the annotation", id="several ports"),
        pytest.param({}, (), "its pods declare no ports: say in the annotation", id="no port"),
        pytest.param({"infscale.dev/pool-ports": "http"}, (), "expected 1 to 8 ports, such as 8000", id="no number"),
        pytest.param({"infscale.dev/pool-ports": "70000"}, (), "expected 1 to 8 ports", id="beyond any port"),
        pytest.param({"infscale.dev/pool-ports": ",".join(map(str, range(1, 10)))}, (), "expected 1 to 8", id="nine"),
        pytest.param({"infscale.dev/pool": "No Name"}, (8000,), "expected at most 253 of a", id="no name"),
    ],
)
def test_what_is_wrong_with_annotations_is_said_and_the_workload_still_describes_its_pods(
    annotations: Mapping[str, str], ports: Sequence[int], note: str
) -> None:
    item = declaring("Deployment", "vllm", {"infscale.dev/pool": "true", **annotations}, *ports)
    found = records(objects.described_by(DEPLOYMENT), [item])
    assembly = Assembler().assemble(seen(workloads={DEPLOYMENT: found}))
    assert assembly.state.pools == ()
    assert [each.key.name for each in assembly.state.objects if each.selector is not None] == ["vllm"]
    [said] = assembly.notes
    assert said.startswith("Deployment chat/vllm is no pool: metadata.annotations")
    assert note in said


def test_of_one_name_the_object_counts_then_the_configuration_then_the_oldest_annotation() -> None:
    declared = {"infscale.dev/pool": "pool"}
    old = declaring("Deployment", "old", declared, 8001)
    young = declaring("Deployment", "young", declared, 8002, created=made.READY)
    configured = Pool(ObjectKey("chat", "pool"), {"app": "vllm"}, (9000,), own_ports=True)
    pools, notes = assembled(young, old)
    assert [each.target_ports for each in pools] == [(8001,)]
    assert notes == ("Deployment chat/young is left out as a pool: Deployment chat/old is the pool chat/pool",)
    pools, notes = assembled(old, configured_pools=(configured,))
    assert [each.target_ports for each in pools] == [(9000,)]
    pools, notes = assembled(old, configured_pools=(configured,), pools=[made.pool("pool", 8000)])
    assert [each.target_ports for each in pools] == [(8000,)]
    assert notes == (
        "the pool chat/pool of the configuration is left out as a pool: InferencePool chat/pool is the pool chat/pool",
        "Deployment chat/old is left out as a pool: InferencePool chat/pool is the pool chat/pool",
    )


def test_a_service_is_a_pool_on_its_only_target_port() -> None:
    ports = [{"port": 80, "targetPort": 8000, "appProtocol": "kubernetes.io/h2c"}]
    item = {
        "metadata": made.metadata("svc", annotations={"infscale.dev/pool": "true"}),
        "spec": {"selector": {"app": "vllm"}, "ports": ports},
    }
    state = Assembler().assemble(seen([made.pod()], services=records(objects.SERVICE, [item]))).state
    assert [(each.key.name, each.target_ports, each.h2c) for each in state.pools] == [("svc", (8000,), True)]
    ports[0]["targetPort"] = "http"
    assembly = Assembler().assemble(seen(services=records(objects.SERVICE, [item])))
    assert "a port by name: say in the annotation infscale.dev/pool-ports which one it is" in assembly.notes[0]


def test_kinds_with_a_scale_subresource_are_described_by_the_selector_they_report() -> None:
    leaders = "leaderworkerset.sigs.k8s.io/name=vllm,leaderworkerset.sigs.k8s.io/worker-index=0"
    template = {"leaderWorkerTemplate": {"workerTemplate": {"spec": {"containers": [made.container("vllm", 8000)]}}}}
    ready = {
        "metadata": made.metadata("vllm", annotations={"infscale.dev/pool": "true"}),
        "spec": template,
        "status": {"hpaPodSelector": leaders},
    }
    new = {"metadata": made.metadata("new", annotations={"infscale.dev/pool": "true"}), "spec": template}
    pods = [
        made.pod(
            f"vllm-{index}",
            f"10.0.0.{index + 1}",
            labels={"leaderworkerset.sigs.k8s.io/name": "vllm", "leaderworkerset.sigs.k8s.io/worker-index": f"{index}"},
            ownerReferences=made.owner("StatefulSet", "vllm"),
        )
        for index in range(2)
    ]
    rollout = {"metadata": made.metadata("canary"), "spec": {}, "status": {"selector": "app=vllm"}}
    workloads = {
        LEADER_WORKER_SET: records(objects.described_by(LEADER_WORKER_SET), [ready, new]),
        ROLLOUT: records(objects.described_by(ROLLOUT), [rollout]),
    }
    state = Assembler().assemble(seen(pods, workloads=workloads)).state
    described = {each.key.name: each for each in state.objects}
    assert described["new"].selector is None
    assert [each.key.name for each in state.pools] == ["vllm"]
    assert [each.key.name for each in state.endpoints if described["vllm"].describes(each)] == ["vllm-0"]
    assert (described["canary"].resource, described["canary"].group) == ("rollouts", "argoproj.io")
    assert str(described["canary"].selector) == "app=vllm"


@pytest.mark.parametrize(
    ("item", "urls"),
    [
        pytest.param(made.pod(labels={"app": "dcgm", "x": "y"}), ("http://10.0.0.1:9400/metrics",), id="chosen"),
        pytest.param(
            made.pod(address="fd00::1", labels={"app": "dcgm"}), ("http://[fd00::1]:9400/metrics",), id="IPv6"
        ),
        pytest.param(made.pod(labels={"app": "dcgm"}, ready="False"), ("http://10.0.0.1:9400/metrics",), id="unready"),
        pytest.param(made.pod(labels={"app": "other"}), (), id="other labels"),
        pytest.param(made.pod(labels={"app": "dcgm"}, namespace="other"), (), id="other namespace"),
        pytest.param(made.pod(labels={"app": "dcgm"}, deletionTimestamp=made.READY), (), id="leaving"),
        pytest.param(made.pod(labels={"app": "dcgm"}, phase="Failed"), (), id="failed"),
    ],
)
def test_exporters_are_found_by_their_labels(item: made.Json, urls: tuple[str, ...]) -> None:
    pod = read_pod(item)
    assembler = Assembler({"dcgm": ExporterPods("chat", {"app": "dcgm"}, 9400)})
    assert assembler.assemble(SeenObjects(exporters={pod.key: pod})).state.exporters == {"dcgm": urls}
    assert Assembler().assemble(SeenObjects(exporters={pod.key: pod})).state.exporters == {}


def test_a_change_of_one_pod_makes_only_its_endpoints_anew() -> None:
    pods = [made.pod(f"vllm-{row}", f"10.0.0.{row + 1}") for row in range(3)]
    everything, assembler = seen(pods, [made.pool()]), Assembler()
    before = assembler.assemble(everything).state.endpoints
    everything.pools = records(objects.POOL, [made.pool()])
    everything.pods[ObjectKey("chat", "vllm-1")] = read_pod(made.pod("vllm-1", "10.0.0.9"))
    after = assembler.assemble(everything).state.endpoints
    assert [new is old for new, old in zip(after, before, strict=True)] == [True, False, True]


def test_an_owner_seen_later_reaches_the_endpoints() -> None:
    everything, assembler = seen([made.pod(ownerReferences=made.owner("ReplicaSet", "rs"))], [made.pool()]), Assembler()
    assert assembler.assemble(everything).state.endpoints[0].workload is None
    everything.replica_sets[ObjectKey("chat", "rs")] = Workload("Deployment", "vllm")
    assert assembler.assemble(everything).state.endpoints[0].workload == Workload("Deployment", "vllm")


VERSIONS = st.builds(
    made.pod,
    ready=st.sampled_from(["True", "False"]),
    ready_at=st.sampled_from([made.READY, "2026-01-31T12:30:00Z"]),
    phase=st.sampled_from(["Pending", "Running", "Failed"]),
    address=st.sampled_from(["", "10.0.0.1", "10.0.0.2"]),
)
POOLS = st.lists(
    st.builds(made.pool, st.sampled_from(["a", "b", "c"]), st.integers(8000, 8002)),
    unique_by=lambda each: each["metadata"]["name"],
)


@settings(max_examples=60, deadline=None)
@given(
    histories=st.lists(st.lists(VERSIONS, min_size=1, max_size=4), min_size=1, max_size=4),
    pools=POOLS,
    seed=st.integers(0, 1000),
)
def test_any_order_of_events_of_different_objects_ends_in_the_same_state(
    histories: list[list[made.Json]], pools: list[made.Json], seed: int
) -> None:
    """The events of one object keep their order, as a watch keeps it; states on the way do not matter either."""
    for row, history in enumerate(histories):
        for version in history:
            version["metadata"]["name"] = f"vllm-{row}"
    straight = [version for history in histories for version in history]
    rng = random.Random(seed)
    turns = [row for row, history in enumerate(histories) for _ in history]
    rng.shuffle(turns)
    queues = [iter(history) for history in histories]
    shuffled = [next(queues[row]) for row in turns]

    def run(events: list[made.Json], *, pools_first: bool) -> Any:
        everything, assembler = SeenObjects(), Assembler()
        if pools_first:
            everything.pools = records(objects.POOL, pools)
        for event in events:
            pod = read_pod(event)
            everything.pods[pod.key] = remembering(everything.pods.get(pod.key), pod)
            assembler.assemble(everything)
        everything.pools = records(objects.POOL, pools)
        return assembler.assemble(everything)

    assert run(straight, pools_first=True) == run(shuffled, pools_first=False)


@pytest.mark.parametrize("address", ["nonsense", "10.0.0.256", "evil.example", "10.0.0.1:80", "::1%eth0;rm"])
def test_a_pod_whose_address_is_none_is_left_out_alone(address: str) -> None:
    """Of exporters, too: what is no address becomes no URL."""
    exporters = {pod.key: pod for pod in map(read_pod, [made.pod("odd", address), made.pod("even", "10.0.0.9")])}
    pods = [made.pod("odd", address), made.pod("vllm-0")]
    assembly = Assembler({"dcgm": ExporterPods("chat", {}, 9400)}).assemble(
        seen(pods, [made.pool("pool", 8000)], exporters=exporters)
    )
    assert [each.key.name for each in assembly.state.endpoints] == ["vllm-0"]
    assert [note for note in assembly.notes if note.startswith("pod chat/odd is left out: ")]
    assert assembly.state.exporters == {"dcgm": ("http://10.0.0.9:9400/metrics",)}
