"""Keeps the cluster able to verify the adapter: one CA for all replicas in a Secret, believed by the APIServices.

The order never fails a probe. A new CA goes into the Secret beside the old one, both go into the APIServices, and only
then, and a moment later, are serving certificates of the new CA used. The old CA leaves last.
"""

import asyncio
import base64
import binascii
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from adapter.registering.issuing import Authority, Subject, begun, renewal
from adapter.registering.overwriting import Overwriting, told
from adapter.registering.ownership import API_GROUP, API_SERVICES, API_SERVICES_PATH, answered_by, is_keda
from infscale.kube.api.errors import Conflict, KubeError, NotFound
from infscale.kube.api.verbs import Creates, Gets, JsonObject, Patches, Updates
from infscale.kube.rights import Right, rights
from infscale.process.certificates import CertificatePair
from infscale.process.log import where

_CERTIFICATE, _KEY, _PREVIOUS = "ca.crt", "ca.key", "previous-ca.crt"
_OWNER = {"app.kubernetes.io/managed-by": "infscale"}
_ATTEMPTS = 5

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RegistrationSettings:
    """How long certificates live, and how they change.

    A CA and a serving certificate have a successor after two thirds of their lives. Everything is looked at every
    `poll_seconds`. `grace_seconds` pass between a CA's arrival in the APIServices and its first serving certificate;
    `overlap_seconds` after its birth a CA's predecessor leaves: by then every replica serves with the successor.
    """

    ca_lifetime: timedelta = timedelta(days=5 * 365)
    lifetime: timedelta = timedelta(days=90)
    poll_seconds: float = 5.0
    grace_seconds: float = 5.0
    overlap_seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class CaState:
    """The CA that signs, and its predecessor's certificate (PEM) while that is still believed."""

    authority: Authority
    previous: bytes | None = None

    @property
    def bundle(self) -> bytes:
        """What clients must believe, PEM."""
        return self.authority.pem + (self.previous or b"")


def advanced(state: CaState | None, now: datetime, settings: RegistrationSettings) -> CaState:
    """What the Secret should hold at `now`; the very `state` where it is right."""
    if state is None:
        return CaState(Authority.made(now, settings.ca_lifetime))
    certificate = state.authority.certificate
    if now >= renewal(certificate):
        return CaState(Authority.made(now, settings.ca_lifetime), state.authority.pem)
    if state.previous is not None and now >= begun(certificate) + timedelta(seconds=settings.overlap_seconds):
        return CaState(state.authority)
    return state


def is_current(certificate: x509.Certificate | None, authority: Authority, now: datetime) -> bool:
    """Whether a serving certificate is of this CA and not yet due for a successor."""
    if certificate is None or now >= renewal(certificate):
        return False
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def read_secret(secret: JsonObject) -> CaState:
    """The CA in a Secret. Raises `ValueError` where there is none of ours."""
    data = secret.get("data") or {}
    try:
        found = {key: base64.b64decode(data[key], validate=True) for key in (_CERTIFICATE, _KEY)}
        previous = base64.b64decode(data[_PREVIOUS], validate=True) if _PREVIOUS in data else None
    except (KeyError, TypeError, binascii.Error):
        raise ValueError("it holds no CA") from None
    return CaState(Authority.parse(found[_CERTIFICATE], found[_KEY]), previous)


def secret_of(state: CaState, name: str, namespace: str, version: str | None) -> JsonObject:
    """The Secret that holds `state`; `version` is the one it replaces, None for a new Secret."""
    contents = {_CERTIFICATE: state.authority.pem, _KEY: state.authority.key_pem}
    if state.previous is not None:
        contents[_PREVIOUS] = state.previous
    metadata: JsonObject = {"name": name, "namespace": namespace, "labels": _OWNER}
    if version is not None:
        metadata["resourceVersion"] = version
    data = {key: base64.b64encode(value).decode() for key, value in contents.items()}
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": data}


def bundle_patch(api_service: JsonObject, subject: Subject, bundle: bytes) -> JsonObject | None:
    """The merge patch that makes an APIService of `subject` believe `bundle`; None where it does.

    Raises `NotOurs` for an APIService that leads to another Service.
    """
    spec = api_service.get("spec") or {}
    service = spec.get("service") or {}
    if (service.get("namespace"), service.get("name")) != (subject.namespace, subject.service):
        raise NotOurs(f"{service.get('namespace')}/{service.get('name')}")
    wanted = base64.b64encode(bundle).decode()
    if spec.get("caBundle") == wanted and not spec.get("insecureSkipTLSVerify"):
        return None
    return {"spec": {"caBundle": wanted, "insecureSkipTLSVerify": None}}


class NotOurs(Exception):
    """An APIService leads to another Service; its text names that."""


class Cluster(Gets, Creates, Updates, Patches, Protocol):
    """The part of the API server's client that registering takes."""


def registration_needs(subject: Subject, *, issues: bool) -> frozenset[Right]:
    """What keeping the APIServices takes, and where the adapter `issues` certificates, its CA in a Secret, too."""
    found = rights(("get", "patch"), API_GROUP, "apiservices", API_SERVICES)
    if not issues:
        return found
    place = subject.namespace
    secret = rights(("get", "update"), "", "secrets", [ca_secret(subject)], place)
    return found | secret | rights(("create",), "", "secrets", namespace=place)


def ca_secret(subject: Subject) -> str:
    """The name of the Secret with the CA that all replicas agree on."""
    return f"{subject.service}-ca"


@dataclass(slots=True, eq=False)
class Registrar:
    """Registers one replica of the adapter; guards which certificate it serves with and since when it is believed.

    `use` is given each new serving certificate. With a `bundle_file` (the CA of a given certificate) only the
    APIServices are kept, and nothing is issued.
    """

    client: Cluster
    subject: Subject
    use: Callable[[CertificatePair], Awaitable[None]]
    now: Callable[[], datetime]
    settings: RegistrationSettings = RegistrationSettings()
    bundle_file: Path | None = None
    _serving: x509.Certificate | None = field(default=None, init=False)
    _believed: dict[bytes, datetime] = field(default_factory=dict[bytes, datetime], init=False)
    _overwriting: Overwriting = field(default_factory=Overwriting, init=False)
    _said: dict[str, str] = field(default_factory=dict[str, str], init=False)

    @property
    def _secret(self) -> str:
        return f"Secret {self.subject.namespace}/{ca_secret(self.subject)}"

    async def run(self) -> None:
        """Keep everything as it should be, until cancelled."""
        while True:
            await asyncio.sleep(self.settings.poll_seconds)
            await self.try_round()

    async def try_round(self) -> bool:
        """One round; what goes wrong is logged, once per cause. Says whether it went well."""
        try:
            await self.round()
        except (KubeError, OSError, ValueError) as error:
            self._say("round", f"the adapter cannot register itself: {error}")
            return False
        except Exception as error:
            # The top of the loop: what is served now goes on being served.
            self._say("round", f"the adapter failed to register itself: {where(error)}")
            return False
        self._said.pop("round", None)
        return True

    async def round(self) -> None:
        """Bring Secret, APIServices and serving certificate one step further. Raises `KubeError`."""
        if self.bundle_file is not None:
            await self._register(await asyncio.to_thread(self.bundle_file.read_bytes))
            return
        state = await self._agreed()
        registered = await self._register(state.bundle)
        now = self.now()
        since = self._believed.setdefault(state.authority.pem, now)
        self._believed = {state.authority.pem: since}
        if is_current(self._serving, state.authority, now):
            return
        waited = (now - since).total_seconds()
        first = self._serving is None
        if first or not registered or waited >= self.settings.grace_seconds:
            pair = await asyncio.to_thread(state.authority.issue, self.subject, now, self.settings.lifetime)
            await self.use(pair)
            self._serving = x509.load_pem_x509_certificate(pair.certificate)
            _log.info("serving with a certificate of the CA in %s", self._secret)

    async def _agreed(self) -> CaState:
        """The CA that all replicas agree on: that of the first write."""
        name, namespace = ca_secret(self.subject), self.subject.namespace
        secrets = f"/api/v1/namespaces/{namespace}/secrets"
        path = f"{secrets}/{name}"
        for _ in range(_ATTEMPTS):
            try:
                secret: JsonObject | None = await self.client.get(path)
            except NotFound:
                secret = None
            found = self._read(secret)
            wanted = await asyncio.to_thread(advanced, found, self.now(), self.settings)
            if wanted is found:
                return wanted
            version = None if secret is None else str(secret["metadata"]["resourceVersion"])
            body = secret_of(wanted, name, namespace, version)
            try:
                await (self.client.create(secrets, body) if secret is None else self.client.update(path, body))
            except Conflict:
                continue
            _log.info("%s holds a new state of the adapter's CA", self._secret)
            return wanted
        raise Conflict(f"{self._secret} is changed by others all the time")

    def _read(self, secret: JsonObject | None) -> CaState | None:
        if secret is None:
            return None
        try:
            return read_secret(secret)
        except ValueError as error:
            labels: Mapping[str, str] = secret["metadata"].get("labels") or {}
            if any(labels.get(key) != value for key, value in _OWNER.items()):
                raise ValueError(f"{self._secret} is not infscale's ({error}); remove or rename it") from None
            _log.warning("the CA in %s is replaced: %s", self._secret, error)
            return None

    async def _register(self, bundle: bytes) -> bool:
        """Have every APIService of ours believe `bundle`; says whether there is any."""
        any_ours = False
        for name in API_SERVICES:
            path = f"{API_SERVICES_PATH}/{name}"
            try:
                found = await self.client.get(path)
                patch = bundle_patch(found, self.subject, bundle)
            except NotFound:
                self._say(name, f"there is no APIService {name}: its metrics are not answered through the cluster")
                continue
            except NotOurs as other:
                level = logging.INFO if is_keda(str(other)) else logging.WARNING
                self._say(name, answered_by(name, str(other)), level)
                continue
            any_ours = True
            if patch is None:
                self._said.pop(name, None)
            elif self._may_write(name, found):
                await self.client.patch(path, patch)
                _log.info("APIService %s believes the adapter's CA", name)
            else:
                continue
            self._overwriting.is_right(name, base64.b64encode(bundle).decode())
        return any_ours

    def _may_write(self, name: str, found: JsonObject) -> bool:
        """Whether infscale's CA may be written over the one that an APIService has."""
        if not self._overwriting.is_another_s(name, found["spec"].get("caBundle")):
            return True
        may = self._overwriting.may_restore(name, self.now())
        self._say(name, told(name, found, restored=may), logging.WARNING if may else logging.ERROR)
        return may

    def _say(self, about: str, words: str, level: int = logging.WARNING) -> None:
        if self._said.get(about) != words:
            self._said[about] = words
            _log.log(level, "%s", words)
