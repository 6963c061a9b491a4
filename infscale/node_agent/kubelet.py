"""The kubelet's pod-resources API: which container of this node holds which device."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grpc
import grpc.aio

from infscale.endpoint import ObjectKey
from infscale.errors import InfscaleError
from infscale.node_agent.devices import Holding
from infscale.node_agent.proto import pod_resources_pb2
from infscale.process.grpc_problems import rpc_problem

SOCKET: Final = Path("/var/lib/kubelet/pod-resources/kubelet.sock")
MOST_HOLDINGS: Final = 4_096
"""Devices of pods that are read: a node has a hundred pods."""
_METHOD: Final = "/v1.PodResourcesLister/List"
_ANSWER_BYTES: Final = 4 << 20
_LONGEST_NAME: Final = 253
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _ANSWER_BYTES),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


class KubeletProblem(InfscaleError):
    """The kubelet does not say what pods hold; the message is the cause in plain words."""


class Kubelet:
    """The kubelet behind a unix socket, while the block is open."""

    def __init__(self, socket: Path, timeout_seconds: float) -> None:
        self._socket = socket
        self._timeout = timeout_seconds
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> "Kubelet":
        self._channel = grpc.aio.insecure_channel(f"unix:{self._socket}", options=_OPTIONS)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._channel is not None:
            await self._channel.close(None)

    async def holdings(self) -> tuple[Holding, ...]:
        """What the containers of the node hold. Raises `KubeletProblem`."""
        if self._channel is None:
            raise RuntimeError("asked outside of its block")
        listed = self._channel.unary_unary(
            _METHOD,
            request_serializer=pod_resources_pb2.ListPodResourcesRequest.SerializeToString,
            response_deserializer=pod_resources_pb2.ListPodResourcesResponse.FromString,
        )
        try:
            answer = await listed(pod_resources_pb2.ListPodResourcesRequest(), timeout=self._timeout)
        except grpc.aio.AioRpcError as error:
            raise KubeletProblem(rpc_problem(error)) from None
        found: list[Holding] = []
        for holding in _holdings(answer):
            if len(found) == MOST_HOLDINGS:
                raise KubeletProblem(f"pods hold more than {MOST_HOLDINGS} devices")
            found.append(holding)
        return tuple(found)


def _holdings(answer: pod_resources_pb2.ListPodResourcesResponse) -> Iterator[Holding]:
    for pod in answer.pod_resources:
        key = ObjectKey(_name(pod.namespace), _name(pod.name))
        for container in pod.containers:
            name = _name(container.name)
            for devices in container.devices:
                for device_id in devices.device_ids:
                    yield Holding(key, name, _name(devices.resource_name), _name(device_id))
            for dynamic in container.dynamic_resources:
                for claimed in dynamic.claim_resources:
                    yield Holding(key, name, _name(claimed.driver_name), _name(claimed.device_name))


def _name(text: str) -> str:
    """A name as a label has it; the kubelet's are shorter."""
    return text[:_LONGEST_NAME]
