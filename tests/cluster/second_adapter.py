"""A metrics adapter that serves v1beta1 of the custom metrics alone, as prometheus-adapter is installed.

It has one metric of pods, `queue_length`, whose value a test sets, and knows pods by asking the cluster.
"""

import base64
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from lab.certificates import Authority
from lab.controlplane import ControlPlane, Document

HOST = "127.96.0.20"
"""The cluster IP of its Service, on which it listens."""
NAMESPACE, NAME = "monitoring", "second-adapter"
METRIC = "queue_length"
_GROUP = "custom.metrics.k8s.io"
_ROOT = f"/apis/{_GROUP}/v1beta1"


@dataclass
class SecondAdapter:
    """What it answers, and the users that asked it."""

    plane: ControlPlane
    authority: Authority
    port: int = 0
    value: str = "1"
    fails: bool = False
    asked_by: list[str] = field(default_factory=list[str])

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.rstrip("/") == _ROOT:
            return _json(
                {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{_GROUP}/v1beta1"} | RESOURCES
            )
        if request.path in {"/apis", f"/apis/{_GROUP}"}:
            return _status(404, "NotFound", "no such document")
        self.asked_by.append(request.headers.get("X-Remote-User", ""))
        if self.fails:
            return _status(500, "InternalError", "its own source is down")
        match request.path.removeprefix(f"{_ROOT}/").split("/"):
            case ["namespaces", namespace, "pods", _, metric] if metric == METRIC:
                return _json(await self._values(namespace, request.query.get("labelSelector", "")))
            case _:
                return _status(404, "NotFound", f"there is no metric at {request.path}")

    async def _values(self, namespace: str, selector: str) -> Document:
        path = f"/api/v1/namespaces/{namespace}/pods"
        pods = (await self.plane.client.get(path, {"labelSelector": selector}))["items"]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        items = [
            {
                "describedObject": {
                    "kind": "Pod",
                    "namespace": namespace,
                    "name": pod["metadata"]["name"],
                    "apiVersion": "/v1",
                },
                "metricName": METRIC,
                "timestamp": now,
                "window": 60,
                "value": self.value,
                "selector": None,
            }
            for pod in pods
        ]
        return {"kind": "MetricValueList", "apiVersion": f"{_GROUP}/v1beta1", "metadata": {}, "items": items}

    def registration(self) -> tuple[Document, ...]:
        """Its Service, and v1beta1 of the custom metrics."""
        metadata = {"name": NAME, "namespace": NAMESPACE}
        ports = [{"name": "https", "port": self.port, "protocol": "TCP"}]
        service = {"clusterIP": HOST, "ports": [{**ports[0], "targetPort": self.port}]}
        labels = {"kubernetes.io/service-name": NAME}
        return (
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {**metadata, "labels": labels},
                "addressType": "IPv4",
                "endpoints": [{"addresses": ["192.0.2.2"], "conditions": {"ready": True}}],
                "ports": ports,
            },
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": f"v1beta1.{_GROUP}"},
                "spec": {
                    "group": _GROUP,
                    "version": "v1beta1",
                    "groupPriorityMinimum": 100,
                    "versionPriority": 100,
                    "service": {"name": NAME, "namespace": NAMESPACE, "port": self.port},
                    "caBundle": _base64(self.authority.pem),
                },
            },
        )


_RESOURCE = {"singularName": "", "namespaced": True, "kind": "MetricValueList", "verbs": ["get"]}
RESOURCES = {"resources": [{"name": f"pods/{METRIC}", **_RESOURCE}]}


def _base64(content: bytes) -> str:

    return base64.b64encode(content).decode()


def _json(document: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(dict(document)), status=status, content_type="application/json")


def _status(code: int, reason: str, message: str) -> web.Response:
    document = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return _json({**document, "message": message}, code)


@asynccontextmanager
async def second_adapter(plane: ControlPlane, folder: Path) -> AsyncGenerator[SecondAdapter]:
    """Run it, registered, until the block ends; its APIService is deleted then."""
    made = SecondAdapter(plane, Authority.made("second-adapter-ca", datetime.now(UTC)))
    async with registered(made, folder):
        yield made


@asynccontextmanager
async def registered(made: SecondAdapter, folder: Path) -> AsyncGenerator[None]:
    """Run an adapter that is made, as `second_adapter` does."""
    pair = made.authority.server(NAME, (f"{NAME}.{NAMESPACE}.svc",), datetime.now(UTC))
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    runner = web.ServerRunner(web.Server(made.answer, access_log=None), shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0, ssl_context=context).start()
        made.port = int(runner.addresses[0][1])
        await made.plane.apply(*made.registration())
        yield
        await made.plane.kubectl("delete", "apiservice", f"v1beta1.{_GROUP}", "--ignore-not-found")
    finally:
        await runner.cleanup()
