"""One CA for all replicas, believed before it is used; successors come without a moment in which none is believed."""

import base64
import logging
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from adapter.registering.issuing import Authority, Subject, begun, renewal
from adapter.registering.registration import (
    API_SERVICES,
    CaState,
    NotOurs,
    Registrar,
    RegistrationSettings,
    advanced,
    bundle_patch,
    is_current,
    read_secret,
    secret_of,
)
from infscale.kube.api.errors import Conflict, KubeError, NotFound, Unreachable
from infscale.kube.api.verbs import PatchKind
from infscale.process.certificates import CertificatePair

NOW = datetime(2026, 8, 20, 10, tzinfo=UTC)
SUBJECT = Subject("infscale-adapter", "infscale-system")
SETTINGS = RegistrationSettings(
    ca_lifetime=timedelta(hours=30), lifetime=timedelta(hours=3), grace_seconds=5, overlap_seconds=600
)
SECRETS = "/api/v1/namespaces/infscale-system/secrets"
SECRET = f"{SECRETS}/infscale-adapter-ca"


def api_path(name: str) -> str:
    return f"/apis/apiregistration.k8s.io/v1/apiservices/{name}"


def api_service(service: str = SUBJECT.service, **spec: Any) -> dict[str, Any]:
    return {"spec": {"service": {"name": service, "namespace": SUBJECT.namespace}, **spec}}


@dataclass
class Cluster:
    """Objects by path, with versions that writers have to name; `before_write` lets another replica in first."""

    objects: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {api_path(name): api_service() for name in API_SERVICES}
    )
    version: int = 1
    fails: list[KubeError] = field(default_factory=list[KubeError])
    before_write: Callable[[], None] | None = None

    async def get(self, path: str, params: Mapping[str, str] = {}) -> dict[str, Any]:
        del params
        if self.fails:
            raise self.fails.pop(0)
        if path not in self.objects:
            raise NotFound(path)
        return deepcopy(self.objects[path])

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self._let_in_others()
        place = f"{path}/{body['metadata']['name']}"
        if place in self.objects:
            raise Conflict(place)
        return self._stored(place, body)

    async def update(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self._let_in_others()
        if self.objects[path]["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise Conflict(path)
        return self._stored(path, body)

    async def patch(self, path: str, body: dict[str, Any], *, kind: PatchKind = PatchKind.MERGE) -> dict[str, Any]:
        assert kind is PatchKind.MERGE
        spec = self.objects[path]["spec"]
        for key, value in body["spec"].items():
            spec.pop(key, None)
            if value is not None:
                spec[key] = value
        return self.objects[path]

    def bundle(self, name: str = API_SERVICES[0]) -> bytes:
        return base64.b64decode(self.objects[api_path(name)]["spec"]["caBundle"])

    def _stored(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.objects[path] = deepcopy(body)
        self.objects[path]["metadata"]["resourceVersion"] = str(self.version)
        return body

    def _let_in_others(self) -> None:
        if self.before_write is not None:
            before, self.before_write = self.before_write, None
            before()


@dataclass
class Replica:
    """A registrar with its own clock and what it serves with."""

    cluster: Cluster
    now: datetime = NOW
    bundle_file: Path | None = None
    served: list[CertificatePair] = field(default_factory=list[CertificatePair])

    def __post_init__(self) -> None:
        async def use(pair: CertificatePair) -> None:
            self.served.append(pair)

        self.registrar = Registrar(self.cluster, SUBJECT, use, lambda: self.now, SETTINGS, self.bundle_file)

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.served[-1].certificate)

    def is_believed(self) -> bool:
        """Whether a client that believes the APIService's bundle takes what is served, at this replica's time."""
        cas = x509.load_pem_x509_certificates(self.cluster.bundle())
        return any(
            self.certificate.issuer == ca.subject
            and _signed(self.certificate, ca)
            and ca.not_valid_before_utc <= self.now <= ca.not_valid_after_utc
            and self.certificate.not_valid_before_utc <= self.now <= self.certificate.not_valid_after_utc
            for ca in cas
        )


def _signed(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    key = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    return key == x509.SubjectKeyIdentifier.from_public_key(ca.public_key()).digest


async def test_the_first_replica_makes_the_ca_and_every_api_service_believes_it() -> None:
    replica = Replica(Cluster())
    await replica.registrar.round()
    ca = read_secret(replica.cluster.objects[SECRET]).authority
    assert {replica.cluster.bundle(name) for name in API_SERVICES} == {ca.pem}
    assert is_current(replica.certificate, ca, NOW)


async def test_replicas_agree_on_the_ca_of_whoever_wrote_first() -> None:
    """The slower one finds its write refused, reads again and takes the other's."""
    cluster = Cluster()
    other = Authority.made(NOW, SETTINGS.ca_lifetime)

    def written_by_another() -> None:
        cluster.objects[SECRET] = secret_of(CaState(other), "infscale-adapter-ca", SUBJECT.namespace, "7")

    cluster.before_write = written_by_another
    replica = Replica(cluster)
    await replica.registrar.round()
    assert cluster.bundle() == other.pem
    assert is_current(replica.certificate, other, NOW)


async def test_no_moment_of_a_rotation_leaves_a_replica_unbelieved() -> None:
    """Two replicas at different times over several lives of the CA: what each serves is believed after every round."""
    cluster = Cluster()
    replicas = Replica(cluster), Replica(cluster)
    serials: set[int] = set()
    issuers: set[bytes] = set()
    for minute in range(0, 48 * 60, 7):
        for late, replica in enumerate(replicas):
            replica.now = NOW + timedelta(minutes=minute, seconds=40 * late)
            await replica.registrar.round()
            assert all(each.is_believed() for each in replicas if each.served), minute
            serials.add(replica.certificate.serial_number)
        issuers.update(ca.pem for ca in [read_secret(cluster.objects[SECRET]).authority])
    assert len(issuers) == 3, "a CA of 30 hours has a successor after 20"
    assert len(serials) > 40, "a serving certificate of 3 hours has a successor after 2"


async def test_a_new_ca_serves_only_a_grace_after_it_is_believed() -> None:
    cluster = Cluster()
    replica = Replica(cluster)
    await replica.registrar.round()
    first = replica.certificate
    old = read_secret(cluster.objects[SECRET]).authority
    replica.now = renewal(old.certificate)
    # Just issued by the old CA, so that only the change of CA asks for a successor.
    await replica.registrar.round()
    assert cluster.bundle() == read_secret(cluster.objects[SECRET]).authority.pem + old.pem
    assert replica.certificate == first
    replica.now += timedelta(seconds=SETTINGS.grace_seconds - 1)
    await replica.registrar.round()
    assert replica.certificate == first
    replica.now += timedelta(seconds=1)
    await replica.registrar.round()
    assert is_current(replica.certificate, read_secret(cluster.objects[SECRET]).authority, replica.now)


@given(st.lists(st.floats(0.01, 30), max_size=60))
def test_what_the_secret_holds_always_works_and_advances_only_when_due(hours: list[float]) -> None:
    """Whenever it is looked at, the CA is valid, its predecessor is kept, and a second look changes nothing."""
    now, state = NOW, advanced(None, NOW, SETTINGS)
    for step in hours:
        now += timedelta(hours=step)
        after = advanced(state, now, SETTINGS)
        certificate = after.authority.certificate
        assert begun(certificate) <= now < renewal(certificate)
        if after.authority.pem != state.authority.pem:
            assert after.previous == state.authority.pem
        assert advanced(after, now, SETTINGS) is after
        state = after


def test_the_predecessor_leaves_after_the_overlap() -> None:
    old = Authority.made(NOW - timedelta(hours=25), SETTINGS.ca_lifetime)
    state = advanced(CaState(old), NOW, SETTINGS)
    assert state.previous == old.pem
    assert advanced(state, NOW + timedelta(seconds=599), SETTINGS) is state
    assert advanced(state, NOW + timedelta(seconds=600), SETTINGS).previous is None


def test_a_state_survives_its_secret() -> None:
    state = CaState(Authority.made(NOW, SETTINGS.ca_lifetime), Authority.made(NOW, SETTINGS.ca_lifetime).pem)
    read = read_secret(secret_of(state, "name", "namespace", None))
    assert (read.authority.pem, read.authority.key_pem, read.previous) == (
        state.authority.pem,
        state.authority.key_pem,
        state.previous,
    )


async def test_a_secret_of_somebody_else_is_left_alone_and_named() -> None:
    cluster = Cluster()
    cluster.objects[SECRET] = {"metadata": {"resourceVersion": "1"}, "data": {"password": "eA=="}}
    before = deepcopy(cluster.objects[SECRET])
    with pytest.raises(ValueError, match="infscale-system/infscale-adapter-ca is not infscale's"):
        await Replica(cluster).registrar.round()
    assert cluster.objects[SECRET] == before


async def test_a_secret_of_ours_that_was_damaged_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster()
    await Replica(cluster).registrar.round()
    cluster.objects[SECRET]["data"]["ca.key"] = "AAAA"
    replica = Replica(cluster)
    with caplog.at_level(logging.WARNING):
        await replica.registrar.round()
    assert replica.is_believed()
    assert "is replaced" in caplog.text


async def test_an_api_service_of_somebody_else_is_left_alone_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster()
    external = api_path("v1beta1.external.metrics.k8s.io")
    cluster.objects[external] = api_service("keda-metrics-apiserver")
    before = deepcopy(cluster.objects[external])
    replica = Replica(cluster)
    await replica.registrar.round()
    await replica.registrar.round()
    assert cluster.objects[external] == before
    said = [record.message for record in caplog.records if "keda-metrics-apiserver" in record.message]
    assert len(said) == 1


async def test_missing_api_services_are_said_and_the_rest_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster({api_path(API_SERVICES[0]): api_service()})
    replica = Replica(cluster)
    await replica.registrar.round()
    assert replica.is_believed()
    assert f"there is no APIService {API_SERVICES[1]}" in caplog.text


def test_blind_trust_is_switched_off() -> None:
    bundle = b"ca"
    wanted = base64.b64encode(bundle).decode()
    blind = api_service(caBundle=wanted, insecureSkipTLSVerify=True)
    assert bundle_patch(blind, SUBJECT, bundle) == {"spec": {"caBundle": wanted, "insecureSkipTLSVerify": None}}
    assert bundle_patch(api_service(caBundle=wanted), SUBJECT, bundle) is None
    with pytest.raises(NotOurs):
        bundle_patch(api_service("other"), SUBJECT, bundle)


async def test_a_changed_bundle_is_put_right() -> None:
    cluster = Cluster()
    replica = Replica(cluster)
    await replica.registrar.round()
    cluster.objects[api_path(API_SERVICES[0])]["spec"]["caBundle"] = "eA=="
    await replica.registrar.round()
    assert replica.is_believed()


async def test_a_cluster_that_does_not_answer_is_said_once_and_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    replica = Replica(Cluster(fails=[Unreachable("no route"), Unreachable("no route")]))
    assert not await replica.registrar.try_round()
    assert not await replica.registrar.try_round()
    assert await replica.registrar.try_round()
    assert replica.is_believed()
    assert caplog.text.count("no route") == 1


async def test_with_a_given_certificate_its_ca_is_registered_and_nothing_issued(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(b"given")
    replica = Replica(Cluster(), bundle_file=file)
    await replica.registrar.round()
    assert replica.cluster.bundle() == b"given"
    assert not replica.served
    assert SECRET not in replica.cluster.objects


def test_a_serving_certificate_ends_with_its_ca_at_the_latest() -> None:
    authority = Authority.made(NOW, timedelta(hours=1))
    pair = authority.issue(SUBJECT, NOW, timedelta(days=90))
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    assert certificate.not_valid_after_utc == authority.certificate.not_valid_after_utc


@pytest.mark.parametrize("damage", ["other key", "not PEM", "other name"])
def test_a_ca_that_is_not_ours_is_not_taken(damage: str) -> None:
    one, two = (Authority.made(NOW, timedelta(days=1)) for _ in range(2))
    leaf = one.issue(SUBJECT, NOW, timedelta(days=1))
    certificate, key = {
        "other key": (one.pem, two.key_pem),
        "not PEM": (b"nonsense", b"nonsense"),
        "other name": (leaf.certificate, leaf.key),
    }[damage]
    with pytest.raises(ValueError, match=r".+"):
        Authority.parse(certificate, key)


# Beside KEDA


KEDA = "keda-operator-metrics-apiserver"
EXTERNAL = "v1beta1.external.metrics.k8s.io"
MANAGED = [
    {"manager": "kubectl", "time": "2026-08-20T09:00:00Z", "fieldsV1": {"f:spec": {"f:service": {}}}},
    {"manager": "infscale", "time": "2026-08-20T09:30:00Z", "fieldsV1": {"f:spec": {"f:caBundle": {}}}},
    {"manager": "keda", "time": "2026-08-20T10:00:00Z", "fieldsV1": {"f:spec": {"f:caBundle": {}}}},
]


async def test_keda_s_api_service_is_left_alone_and_said_to_be_keda_s(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    cluster = Cluster()
    theirs = api_service(KEDA, caBundle="a2VkYQ==")
    cluster.objects[api_path(EXTERNAL)] = deepcopy(theirs)
    replica = Replica(cluster)
    for _ in range(3):
        await replica.registrar.round()
    assert cluster.objects[api_path(EXTERNAL)] == theirs
    said = [each for each in caplog.records if EXTERNAL in each.message]
    assert [(each.levelname, each.message.partition(":")[0]) for each in said] == [
        ("INFO", f"KEDA (infscale-system/{KEDA}) answers {EXTERNAL}")
    ]


async def test_a_ca_that_another_replaces_is_restored_and_never_fought_over(caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster()
    replica = Replica(cluster)
    await replica.registrar.round()
    place = cluster.objects[api_path(EXTERNAL)]
    ours, restored = place["spec"]["caBundle"], []
    for _ in range(120):
        # It watches the APIService and writes at once, as often as infscale looks.
        place["spec"]["caBundle"] = "a2VkYQ=="
        place["metadata"] = {"managedFields": MANAGED}
        replica.now += timedelta(seconds=5)
        await replica.registrar.round()
        restored.append(place["spec"]["caBundle"] == ours)
    assert restored == [True] * 3 + [False] * 117
    said = [(each.levelname, each.message) for each in caplog.records if "wrote its CA" in each.message]
    assert [level for level, _ in said] == ["WARNING", "ERROR"]
    assert "another (keda) wrote its CA into APIService v1beta1.external.metrics.k8s.io" in said[0][1]
    assert "--enable-apiservice-patching=false" in said[1][1]
    # Others were never touched, and once the other stops, infscale is believed again.
    assert cluster.bundle() == base64.b64decode(ours)
    replica.now += timedelta(minutes=10)
    await replica.registrar.round()
    assert place["spec"]["caBundle"] == ours


async def test_a_ca_of_infscale_s_own_that_changes_is_no_other_s(caplog: pytest.LogCaptureFixture) -> None:
    replica = Replica(Cluster())
    for _ in range(40):
        await replica.registrar.round()
        assert replica.is_believed()
        replica.now += timedelta(hours=2)
    assert "wrote its CA" not in caplog.text
