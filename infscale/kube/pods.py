"""From pods to endpoints: life, ports and ranks, load times, owners."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from infscale.endpoint import Endpoint, EndpointKey, ObjectKey, Phase, Pool, Workload
from infscale.kube.watched_objects import Container, PodRecord

_PORT = re.compile(r"[0-9]{1,5}")


def phase_of(pod: PodRecord) -> Phase | None:
    """The life of the endpoints of `pod`; None: it can have none, being without an address or finished.

    A pod that is deleted, or that is said to drain, finishes what it has, with all of its ports and ranks at once.
    A pod that was Ready and is not any more is as one that starts: what it serves is not to be counted on.
    """
    if not pod.address or pod.finished:
        return None
    if pod.deleting or pod.draining:
        return Phase.DRAINING
    return Phase.READY if pod.ready else Phase.STARTING


def ranked_ports(pod: PodRecord, pools: Iterable[Pool]) -> tuple[int, ...]:
    """The ports of `pod` by rank: those of the pools that choose it, each once, in the order of `pools`.

    Ranks do not depend on which ports are active. Give the pools oldest first: a new pool then adds ranks at the end
    and changes none.
    """
    ports = (port for pool in pools if pool.chooses(pod.key.namespace, pod.labels) for port in pool.target_ports)
    return tuple(dict.fromkeys(ports))


def is_active(pod: PodRecord, port: int) -> bool:
    """Whether `pod` serves on `port`: the annotation lists it, or there is none. What is no port in it is passed over.

    An empty annotation lists none.
    """
    if pod.active_ports is None:
        return True
    listed = (each.strip() for each in pod.active_ports.split(","))
    return any(_PORT.fullmatch(each) and int(each) == port for each in listed)


def container_behind(pod: PodRecord, port: int) -> Container | None:
    """The container that serves `port`: the one that declares it, else the last one to start."""
    for container in pod.containers:
        if port in container.ports:
            return container
    started = [each for each in pod.containers if each.started_at is not None]
    return max(started, key=lambda each: each.started_at or 0.0, default=None)


def remembering(before: PodRecord | None, pod: PodRecord) -> PodRecord:
    """`pod` with the load times that `before` knew of the same starts of its containers.

    The Ready condition only knows when it last changed: of a pod that was unready for a while it would tell a longer
    load time than there was.
    """
    if before is None or before.uid != pod.uid:
        return pod
    known = {(each.name, each.started_at): each.load_seconds for each in before.containers}
    loads = (known.get((each.name, each.started_at)) for each in pod.containers)
    containers = tuple(
        each if load is None else replace(each, load_seconds=load)
        for each, load in zip(pod.containers, loads, strict=True)
    )
    return pod if containers == pod.containers else replace(pod, containers=containers)


def workload_of(pod: PodRecord, replica_sets: Mapping[ObjectKey, Workload | None]) -> Workload | None:
    """What `pod` is a replica of: its controller, or that of its ReplicaSet where there is one.

    None where that is unknown: no controller, or a ReplicaSet that was not seen.
    """
    owner = pod.owner
    if owner is None or owner.kind != "ReplicaSet":
        return owner
    key = ObjectKey(pod.key.namespace, owner.name)
    return (replica_sets[key] or owner) if key in replica_sets else None


def endpoints_of(pod: PodRecord, ports: Sequence[int], workload: Workload | None) -> tuple[Endpoint, ...]:
    """The endpoints of `pod`, one per active port of `ports`, which are ordered by rank."""
    phase = phase_of(pod)
    if phase is None:
        return ()
    return tuple(_endpoint(pod, rank, port, phase, workload) for rank, port in enumerate(ports) if is_active(pod, port))


def _endpoint(pod: PodRecord, rank: int, port: int, phase: Phase, workload: Workload | None) -> Endpoint:
    container = container_behind(pod, port)
    return Endpoint(
        EndpointKey(pod.key.namespace, pod.key.name, rank),
        pod.address,
        port,
        pod.labels,
        phase,
        load_seconds=None if container is None else container.load_seconds,
        workload=workload,
        engine=pod.engine,
        incarnation=f"{pod.uid}/{None if container is None else container.started_at}",
        pod_uid=pod.uid,
    )
