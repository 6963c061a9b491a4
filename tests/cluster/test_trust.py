"""Who may ask, decided with a real API server; every certificate and the ConfigMap change and no probe fails."""

import asyncio
import base64
import contextlib
import json
import random
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from cryptography import x509

from adapter.access.authentication import Caller
from adapter.access.request_access import Access, Admission, cluster_access
from adapter.access.request_attributes import Asked
from adapter.access.trust import Trust
from adapter.api.documents import Clock
from adapter.registering.registration import Registrar, RegistrationSettings
from adapter.registering.serving_tls import TlsSettings
from adapter.server.adapter_server import AdapterServer, AdapterSettings, Membership
from infscale.kube.api.client import KubeClient
from infscale.kube.api.cluster_access import cluster
from infscale.kube.api.errors import Forbidden, KubeError
from infscale.process.certificates import CertificatePair
from lab import documents
from lab.certificates import Authority, KeyPair
from lab.controlplane import ControlPlane
from lab.system import ACCOUNT, ACCOUNT_GROUPS
from tests.adapter.support import World
from tests.cluster.watching import until

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

NAMESPACE = "llm"
GROUP_PATH = "/apis/custom.metrics.k8s.io/v1beta2"
PODS = f"{GROUP_PATH}/namespaces/{NAMESPACE}/pods/*/waiting_requests"
SERVER_NAME = f"{documents.SERVICE}.{documents.SYSTEM}.svc"
API_SERVICE = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta2.custom.metrics.k8s.io"
CONFIG_MAP = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
QUICK = RegistrationSettings(
    ca_lifetime=timedelta(seconds=24),
    lifetime=timedelta(seconds=12),
    poll_seconds=0.5,
    grace_seconds=1,
    overlap_seconds=5,
)
HPA = {
    "X-Remote-User": "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
    "X-Remote-Group": "system:serviceaccounts",
}
QUIET_SECONDS = 5
NO_HEADERS: Mapping[str, str] = {}


@dataclass
class Adapter:
    """An adapter of this process in the cluster, and ways to ask it without the API server between."""

    plane: ControlPlane
    port: int
    served: list[x509.Certificate]
    seen: dict[bytes, float]
    """When each client certificate was last seen, by its DER form."""
    folder: Path

    async def ask(
        self, path: str, by: KeyPair | None = None, headers: Mapping[str, str] = NO_HEADERS
    ) -> tuple[int, dict[str, Any]]:
        """Ask on a connection of its own, verifying the adapter as the API server does."""
        bundle = await self.bundle()
        context = await asyncio.to_thread(self._context, bundle, by)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
            session.get(
                f"https://{documents.ADAPTER_HOST}:{self.port}{path}", headers=headers, server_hostname=SERVER_NAME
            ) as response,
        ):
            text = await response.text()
            is_json = response.content_type == "application/json"
            return response.status, json.loads(text) if is_json else {"text": text}

    async def bundle(self) -> str:
        """Whom the cluster believes the adapter by."""
        found = await self.plane.client.get(API_SERVICE)
        return base64.b64decode(found["spec"]["caBundle"]).decode()

    def _context(self, bundle: str, by: KeyPair | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=bundle)
        if by is not None:
            file = self.folder / "asks.pem"
            file.write_bytes(by.key + by.certificate)
            context.load_cert_chain(file)
        return context


@dataclass
class Noting:
    """An access that notes by which certificate each request came, and when."""

    access: Access
    seen: dict[bytes, float]

    async def admit(self, caller: Caller, asked: Asked) -> Admission:
        if caller.peer is not None:
            self.seen[caller.peer.certificate] = time.monotonic()
        return await self.access.admit(caller, asked)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def adapter(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Adapter, None]:
    """It has the rights of infscale's ServiceAccount and no others; its certificates live for seconds."""
    # Another test's CA lives for years.
    secret = ("secret", f"{documents.SERVICE}-ca", "-n", documents.SYSTEM)
    await plane.kubectl("delete", *secret, "--ignore-not-found")
    world = World(a=2)
    served: list[x509.Certificate] = []
    seen: dict[bytes, float] = {}
    kubeconfig = await asyncio.to_thread(plane.kubeconfig_of, ACCOUNT, ACCOUNT_GROUPS)
    tls = TlsSettings(service=documents.SERVICE, namespace=documents.SYSTEM)
    async with cluster(kubeconfig) as client:
        server = AdapterServer(
            AdapterSettings(documents.ADAPTER_HOST, 0, tls),
            world.provider,
            membership=_membership(client, tls, served, seen),
        )
        # The registration names the port, and is there before the server looks for it.
        async with server, asyncio.TaskGroup() as tasks:
            await plane.apply(documents.new_namespace(NAMESPACE), *documents.registration(server.port))

            async def report() -> None:
                while True:
                    world.report_all(time.monotonic())
                    await asyncio.sleep(0.2)

            reporting = tasks.create_task(report())
            made = Adapter(plane, server.port, served, seen, tmp_path_factory.mktemp("trust"))

            async def available() -> bool:
                with contextlib.suppress(KubeError):
                    await plane.client.get(PODS)
                    return True
                return False

            await until(available, 60, "the API server takes the adapter's metrics")
            yield made
            reporting.cancel()


def _membership(
    client: KubeClient, tls: TlsSettings, served: list[x509.Certificate], seen: dict[bytes, float]
) -> Membership:
    @contextlib.asynccontextmanager
    async def grants(use: Callable[[Trust], None], clock: Callable[[], Clock]) -> AsyncGenerator[Access]:
        async with cluster_access(client, use, clock, random.Random(1)) as access:
            yield Noting(access, seen)

    def registers(use: Callable[[CertificatePair], Awaitable[None]]) -> Registrar:
        async def noted(pair: CertificatePair) -> None:
            served.append(x509.load_pem_x509_certificate(pair.certificate))
            await use(pair)

        return Registrar(client, tls.subject, noted, lambda: datetime.now(UTC), QUICK)

    return Membership(grants, registers)


def pair(plane: ControlPlane, name: str) -> KeyPair:
    folder = plane.certificates.folder
    return KeyPair((folder / f"{name}.crt").read_bytes(), (folder / f"{name}.key").read_bytes())


async def test_the_proxy_speaks_for_the_hpa_by_a_certificate_without_alternative_names(adapter: Adapter) -> None:
    proxy = await asyncio.to_thread(pair, adapter.plane, "front-proxy")
    names = x509.load_pem_x509_certificate(proxy.certificate).extensions
    assert not [each for each in names if isinstance(each.value, x509.SubjectAlternativeName)]
    code, body = await adapter.ask(PODS, proxy, HPA)
    assert (code, len(body["items"])) == (200, 2)


@pytest.mark.parametrize("user", ["admin", "front-proxy-client"])
async def test_a_forged_identity_is_refused_whoever_the_cluster_s_ca_vouches_for(adapter: Adapter, user: str) -> None:
    """A certificate of the clients' CA proves its own name and never speaks for another."""
    forger = adapter.plane.certificates.cluster.client(user, ("system:masters",), datetime.now(UTC))
    code, body = await adapter.ask(PODS, forger, {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"})
    assert (code, body["kind"], body["reason"]) == (401, "Status", "Unauthorized")
    assert (await adapter.ask(PODS, forger))[0] == 200, "as itself it is an administrator"


async def test_who_has_no_right_is_told_so_in_a_status(adapter: Adapter) -> None:
    """Once by itself and once by way of the API server, in the API server's own words."""
    nobody = adapter.plane.certificates.cluster.client("nobody", (), datetime.now(UTC))
    code, body = await adapter.ask(PODS, nobody)
    assert (code, body["kind"], body["reason"], body["code"]) == (403, "Status", "Forbidden", 403)
    assert body["message"] == (
        'pods.custom.metrics.k8s.io "*" is forbidden: User "nobody" cannot get resource "pods/waiting_requests" '
        f'in API group "custom.metrics.k8s.io" in the namespace "{NAMESPACE}"'
    )
    kubeconfig = await asyncio.to_thread(adapter.plane.kubeconfig_of, "nobody")
    async with cluster(kubeconfig) as client:
        with pytest.raises(Forbidden, match="pods/waiting_requests"):
            await client.get(PODS)


async def test_a_service_account_s_token_is_reviewed_and_its_roles_hold(adapter: Adapter) -> None:
    plane = adapter.plane
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": NAMESPACE}}
    await plane.apply(account)
    token = (await plane.kubectl("create", "token", "reader", "-n", NAMESPACE)).strip()
    by_token = {"Authorization": f"Bearer {token}"}
    assert (await adapter.ask(PODS, headers=by_token))[0] == 403
    subject = {"kind": "ServiceAccount", "name": "reader", "namespace": NAMESPACE}
    await plane.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "reader", "namespace": NAMESPACE},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [subject],
        }
    )

    async def allowed() -> bool:
        return (await adapter.ask(PODS, headers=by_token))[0] == 200

    await until(allowed, 30, "who may view the namespace may read its metrics")
    assert (await adapter.ask(PODS, headers={"Authorization": f"Bearer {token[:-4]}AAAA"}))[0] == 401


async def test_anybody_may_probe_and_nobody_unknown_may_more(adapter: Adapter) -> None:
    for path in ("/livez", "/readyz", "/healthz"):
        assert (await adapter.ask(path))[0] == 200
    assert (await adapter.ask(PODS))[0] == 403
    assert (await adapter.ask(PODS, headers=HPA))[0] == 403, "identity headers without a certificate mean nothing"


@dataclass
class Probes:
    """Asks as the API server's probes do, all the time, by the API server and directly; notes what failed."""

    adapter: Adapter
    failures: list[str] = field(default_factory=list[str])
    count: int = 0

    async def run(self) -> None:
        while True:
            for name, probe in {"through the API server": self._through, "directly": self._directly}.items():
                try:
                    await probe()
                except (KubeError, aiohttp.ClientError, AssertionError) as error:
                    self.failures.append(f"{datetime.now(UTC):%X} {name}: {type(error).__name__} {error}")
                self.count += 1
            await asyncio.sleep(0.05)

    async def more(self, count: int) -> None:
        """Wait for so many more probes."""
        before = self.count

        async def there() -> bool:
            return self.count >= before + count

        await until(there, 30, f"{count} more probes")

    async def _through(self) -> None:
        assert (await self.adapter.plane.client.get(GROUP_PATH))["resources"]
        assert (await self.adapter.plane.client.get(PODS))["items"]

    async def _directly(self) -> None:
        code, body = await self.adapter.ask("/readyz")
        assert code == 200, body


@contextlib.asynccontextmanager
async def probed(adapter: Adapter) -> AsyncGenerator[Probes]:
    """Probe until the block ends; no probe fails, and the API stays available throughout."""
    before = await _availability(adapter.plane)
    probes = Probes(adapter)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(probes.run())
        yield probes
        running.cancel()
    assert probes.failures == []
    assert probes.count > 20
    assert await _availability(adapter.plane) == before


async def _availability(plane: ControlPlane) -> tuple[str, str]:
    conditions = (await plane.client.get(API_SERVICE))["status"]["conditions"]
    [found] = [each for each in conditions if each["type"] == "Available"]
    assert found["status"] == "True"
    return found["status"], found["lastTransitionTime"]


async def trust_only(plane: ControlPlane, file: str, key: str, authority: Authority) -> None:
    """Take the others out of a bundle. API servers only ever add to the ConfigMap, so whoever rotates edits it."""
    plane.certificates.replace(file, authority.pem)

    async def stays() -> bool:
        """An API server that has not read its file yet puts the old one back."""
        await plane.client.patch(CONFIG_MAP, {"data": {key: authority.pem.decode()}})
        await asyncio.sleep(3)
        return str((await plane.client.get(CONFIG_MAP))["data"][key]) == authority.pem.decode()

    await until(stays, 90, f"only one authority in {key}")


async def test_its_own_certificates_change_under_probes_and_none_fails(adapter: Adapter) -> None:
    """Two lives of the CA, which come with several serving certificates each."""
    async with probed(adapter):

        async def rotated() -> bool:
            return len({each.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier) for each in served}) > 2

        served = adapter.served
        await until(rotated, 60, "three CAs have signed")
    assert len({each.serial_number for each in served}) > 3


async def test_the_clients_ca_changes_under_probes_and_none_fails(adapter: Adapter) -> None:
    certificates, now = adapter.plane.certificates, datetime.now(UTC)
    successor = Authority.made("kubernetes-next", now)
    user = successor.client("kubernetes-admin", ("system:masters",), now)
    # A certificate of an unknown CA ends the handshake.
    with pytest.raises(aiohttp.ClientError):
        await adapter.ask(PODS, user)
    async with probed(adapter):
        certificates.replace("client-ca.crt", certificates.cluster.pem + successor.pem)

        async def believed() -> bool:
            with contextlib.suppress(aiohttp.ClientError):
                return (await adapter.ask(PODS, user))[0] == 200
            return False

        await until(believed, 90, "the new CA's users are believed")
        await trust_only(adapter.plane, "client-ca.crt", "client-ca-file", certificates.cluster)

        async def forgotten() -> bool:
            return (await adapter.ask(PODS, user))[0] == 401

        await until(forgotten, 90, "and no longer when it leaves the bundle")


async def test_the_front_proxy_s_ca_and_certificate_change_under_probes_and_none_fails(adapter: Adapter) -> None:
    certificates, now = adapter.plane.certificates, datetime.now(UTC)
    successor = Authority.made("front-proxy-next", now)
    old, new = pair(adapter.plane, "front-proxy"), successor.client("front-proxy-client", (), now)
    old_form, new_form = (ssl.PEM_cert_to_DER_cert(each.certificate.decode()) for each in (old, new))
    async with probed(adapter) as probes:
        certificates.replace("front-proxy-ca.crt", certificates.front_proxy.pem + successor.pem)

        async def believed() -> bool:
            with contextlib.suppress(aiohttp.ClientError):
                return (await adapter.ask(PODS, new, HPA))[0] == 200
            return False

        await until(believed, 90, "the new proxy is believed")
        certificates.write("front-proxy", new)
        direct = time.monotonic()

        async def replaced() -> bool:
            """The API server comes with the new one, and for a while not with the old one."""
            seen = adapter.seen
            return seen[new_form] > direct and seen[new_form] - seen[old_form] > QUIET_SECONDS

        await until(replaced, 120, "the API server proves itself by its new certificate")
        await trust_only(adapter.plane, "front-proxy-ca.crt", "requestheader-client-ca-file", successor)

        async def forgotten() -> bool:
            return (await adapter.ask(PODS, old, HPA))[0] == 401

        await until(forgotten, 90, "the old proxy is not believed any more")
        await probes.more(20)
