"""A real control plane: etcd, kube-apiserver, kube-controller-manager and kube-scheduler, all on loopback."""

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from yarl import URL

from infscale.demo.child_processes import free_ports
from infscale.errors import StartError
from infscale.kube.api.client import Credentials, KubeClient
from infscale.kube.api.errors import KubeError, NotFound, Unreachable
from infscale.kube.api.verbs import PatchKind
from lab.certificates import Authority, KeyPair, signing_keys
from lab.processes import Running, running

TOOLS = Path(__file__).parent.parent / ".cluster"
"""Where `make cluster-tools` puts what it builds."""

SERVICE_NETWORK = "127.96.0.0/16"
"""Cluster addresses of Services: loopback, so that a process of this machine can be behind one."""

_READY_SECONDS = 60.0
_HOST = "127.0.0.1"
_PAUSE_SECONDS = 0.1
_ANSWER_SECONDS = 15.0

Document = dict[str, Any]


def tools_problem() -> str | None:
    """What is missing to run a cluster; None when nothing is."""
    missing = [name for name in ("controlplane", "kwok") if not os.access(TOOLS / name, os.X_OK)]
    return f"{' and '.join(missing)} missing: `make cluster-tools` builds what a cluster needs" if missing else None


@dataclass(frozen=True, slots=True)
class Certificates:
    """The authorities that sign in the cluster, and the folder with the files that the API server follows.

    ``client-ca.crt`` is the authority that it and the adapters believe, ``front-proxy-ca.crt`` the one that vouches for
    the API server as a proxy, ``front-proxy.crt`` and ``.key`` what it proves itself with.
    """

    folder: Path
    cluster: Authority
    front_proxy: Authority

    def write(self, name: str, pair: KeyPair) -> None:
        """Put a pair where the parts look for it; each file is replaced at once."""
        self.replace(f"{name}.key", pair.key)
        self.replace(f"{name}.crt", pair.certificate)

    def replace(self, name: str, content: bytes) -> None:
        """Replace a file as a whole, so that no reader sees half of it."""
        fresh = self.folder / f".{name}"
        fresh.write_bytes(content)
        fresh.chmod(0o600)
        fresh.rename(self.folder / name)


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A running control plane, and the administrator's ways into it."""

    folder: Path
    url: str
    certificates: Certificates
    client: KubeClient
    parts: Mapping[str, Running]

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder / "admin.kubeconfig"

    def kubeconfig_of(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig of `user`, made now."""
        return _kubeconfig(self.certificates, self.url, user.replace(":", "-"), user, groups)

    async def kubectl(self, *arguments: str) -> str:
        """What kubectl prints; raises `StartError` with what it says when it fails."""
        process = await asyncio.create_subprocess_exec(
            *(TOOLS / "controlplane", "kubectl", "--kubeconfig", self.kubeconfig, *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, errors = await process.communicate()
        if process.returncode:
            raise StartError(f"kubectl {arguments[0]}: {errors.decode().strip()}")
        return said.decode()

    async def apply(self, *documents: Document) -> None:
        """Apply `documents` in order, server-side."""
        for document in documents:
            params = {"fieldManager": "lab", "force": "true"}
            await self.client.patch(path_of(document), document, kind=PatchKind.APPLY, params=params)


_PLURALS = {
    "NetworkPolicy": "networkpolicies",
    "EndpointSlice": "endpointslices",
    "BackendTLSPolicy": "backendtlspolicies",
    "GatewayClass": "gatewayclasses",
}
_CLUSTER_WIDE = frozenset(
    {"Namespace", "Node", "CustomResourceDefinition", "APIService", "ClusterRole", "ClusterRoleBinding", "GatewayClass"}
)


def path_of(document: Document, subresource: str = "") -> str:
    """The API path of the object that `document` writes."""
    version, kind, metadata = document["apiVersion"], document["kind"], document["metadata"]
    plural = _PLURALS.get(kind, f"{kind.lower()}s")
    parts = [f"/{'apis' if '/' in version else 'api'}/{version}"]
    if kind not in _CLUSTER_WIDE:
        parts.append(f"namespaces/{metadata.get('namespace', 'default')}")
    parts += [plural, metadata["name"], *([subresource] if subresource else [])]
    return "/".join(parts)


@contextlib.asynccontextmanager
async def control_plane(folder: Path, sync_seconds: int = 2) -> AsyncGenerator[ControlPlane, None]:
    """Run a control plane with its files in `folder`; HPAs are looked at every `sync_seconds`.

    Raises `StartError` where a part is missing or does not start.
    """
    problem = tools_problem()
    if problem is not None:
        raise StartError(problem)
    api, etcd, peers = free_ports(3)
    url = f"https://{_HOST}:{api}"
    certificates = await asyncio.to_thread(_certificates, folder, url)
    async with contextlib.AsyncExitStack() as stack:
        parts: dict[str, Running] = {}

        async def start(name: str, arguments: Sequence[str]) -> None:
            command = [TOOLS / "controlplane", name, *arguments]
            parts[name] = await stack.enter_async_context(running(name, command, folder))

        tls = await asyncio.to_thread(_admin_context, folder)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        client = KubeClient(session, URL(url), _Admin(Credentials(tls=tls)))
        made = ControlPlane(folder, url, certificates, client, parts)
        await start("etcd", _etcd(folder, etcd, peers))
        await start("kube-apiserver", _api_server(folder, api, etcd))
        await _until_ready(made)
        await start("kube-controller-manager", _controllers(folder, sync_seconds))
        await start("kube-scheduler", _scheduler(folder))
        await _until_service_accounts(made)
        yield made


@dataclass(frozen=True, slots=True)
class _Admin:
    found: Credentials

    async def credentials(self, refused: Credentials | None = None) -> Credentials:
        """The same always."""
        del refused
        return self.found


def _certificates(folder: Path, url: str) -> Certificates:
    now = datetime.now(UTC)
    made = Certificates(folder, Authority.made("kubernetes", now), Authority.made("front-proxy-ca", now))
    made.replace("client-ca.crt", made.cluster.pem)
    made.replace("ca.crt", made.cluster.pem)
    made.replace("front-proxy-ca.crt", made.front_proxy.pem)
    made.write("apiserver", made.cluster.server("kube-apiserver", ("kubernetes.default.svc", "localhost", _HOST), now))
    made.write("front-proxy", made.front_proxy.client("front-proxy-client", (), now))
    made.write("service-account", signing_keys())
    _kubeconfig(made, url, "admin", "kubernetes-admin", ("system:masters",))
    for part in ("kube-controller-manager", "kube-scheduler"):
        _kubeconfig(made, url, part, f"system:{part}", ())
    return made


def _kubeconfig(made: Certificates, url: str, name: str, user: str, groups: Sequence[str]) -> Path:
    made.write(name, made.cluster.client(user, groups, datetime.now(UTC)))
    certificate, key = (str(made.folder / f"{name}.{suffix}") for suffix in ("crt", "key"))
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
        "clusters": [{"name": "lab", "cluster": {"server": url, "certificate-authority": str(made.folder / "ca.crt")}}],
        "users": [{"name": name, "user": {"client-certificate": certificate, "client-key": key}}],
    }
    made.replace(f"{name}.kubeconfig", yaml.safe_dump(document).encode())
    return made.folder / f"{name}.kubeconfig"


def _admin_context(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=folder / "ca.crt")
    context.load_cert_chain(folder / "admin.crt", folder / "admin.key")
    return context


def _etcd(folder: Path, port: int, peers: int) -> list[str]:
    own = f"http://{_HOST}:{port}"
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={own}",
        f"--advertise-client-urls={own}",
        f"--listen-peer-urls=http://{_HOST}:{peers}",
        "--unsafe-no-fsync",
    ]


def _api_server(folder: Path, port: int, etcd: int) -> list[str]:
    return [
        f"--etcd-servers=http://{_HOST}:{etcd}",
        f"--bind-address={_HOST}",
        f"--secure-port={port}",
        f"--tls-cert-file={folder / 'apiserver.crt'}",
        f"--tls-private-key-file={folder / 'apiserver.key'}",
        f"--client-ca-file={folder / 'client-ca.crt'}",
        f"--requestheader-client-ca-file={folder / 'front-proxy-ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={folder / 'front-proxy.crt'}",
        f"--proxy-client-key-file={folder / 'front-proxy.key'}",
        f"--service-account-key-file={folder / 'service-account.crt'}",
        f"--service-account-signing-key-file={folder / 'service-account.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        # Services are dialled at their cluster address, where the adapter listens: loopback cannot be in a slice.
        "--enable-aggregator-routing=false",
        "--endpoint-reconciler-type=none",
        "--authorization-mode=RBAC",
        "--profiling=false",
    ]


def _controllers(folder: Path, sync_seconds: int) -> list[str]:
    own = folder / "kube-controller-manager.kubeconfig"
    return [
        f"--kubeconfig={own}",
        f"--service-account-private-key-file={folder / 'service-account.key'}",
        f"--root-ca-file={folder / 'ca.crt'}",
        # Each controller acts as a ServiceAccount of its own, as in clusters made by kubeadm.
        "--use-service-account-credentials=true",
        f"--horizontal-pod-autoscaler-sync-period={sync_seconds}s",
        "--leader-elect=false",
        f"--bind-address={_HOST}",
        "--secure-port=0",
        "--kube-api-qps=300",
        "--kube-api-burst=600",
    ]


def _scheduler(folder: Path) -> list[str]:
    own = folder / "kube-scheduler.kubeconfig"
    return [
        f"--kubeconfig={own}",
        "--leader-elect=false",
        f"--bind-address={_HOST}",
        "--secure-port=0",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]


async def _until_ready(plane: ControlPlane) -> None:
    async with asyncio.timeout(_READY_SECONDS):
        while True:
            await asyncio.gather(*(part.check() for part in plane.parts.values()))
            with contextlib.suppress(KubeError):
                # Ready once its own objects are there; roles of system users come last.
                await plane.client.get("/apis/rbac.authorization.k8s.io/v1/clusterroles/system:auth-delegator")
                return
            await asyncio.sleep(_PAUSE_SECONDS)


async def _until_service_accounts(plane: ControlPlane) -> None:
    """Wait until pods can be made: they need the default ServiceAccount, which a controller makes."""
    async with asyncio.timeout(_READY_SECONDS):
        while True:
            await asyncio.gather(*(part.check() for part in plane.parts.values()))
            with contextlib.suppress(NotFound, Unreachable):
                await plane.client.get("/api/v1/namespaces/default/serviceaccounts/default")
                return
            await asyncio.sleep(_PAUSE_SECONDS)
