"""Certificates: one is made when none is given, given ones are followed, bad ones refused."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from adapter.registering.issuing import Authority, Subject
from adapter.registering.serving_tls import ServingCertificate, TlsSettings
from adapter.server.adapter_server import AdapterServer, AdapterSettings
from infscale.errors import StartError
from infscale.process.certificates import CertificatePair
from tests.adapter.support import vector_world

NOW = datetime(2026, 8, 20, tzinfo=UTC)


def fresh_pair() -> CertificatePair:
    return made(datetime.now(UTC))


def made(now: datetime) -> CertificatePair:
    lifetime = timedelta(days=1)
    return Authority.made(now, lifetime).issue(Subject("svc", "ns"), now, lifetime)


def write(folder: Path, pair: CertificatePair) -> TlsSettings:
    """The pair in files."""
    settings = TlsSettings(folder / "tls.crt", folder / "tls.key")
    for name, content in (("tls.crt", pair.certificate), ("tls.key", pair.key)):
        (folder / name).write_bytes(content)
    return settings


async def served(server: AdapterServer) -> bytes:
    """The certificate a new connection gets, as DER."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return certificate


def der(pair: CertificatePair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.certificate.decode())


def test_a_made_certificate_names_loopback_and_the_service() -> None:
    leaf = x509.load_pem_x509_certificate(made(NOW).certificate)
    names = leaf.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    assert isinstance(names, x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "svc.ns.svc", "svc.ns.svc.cluster.local"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert leaf.not_valid_before_utc < NOW < leaf.not_valid_after_utc


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "svc.ns.svc"])
async def test_clients_verify_the_made_certificate_with_its_ca(host: str) -> None:
    settings = AdapterSettings(port=0, tls=TlsSettings(service="svc", namespace="ns"))
    async with AdapterServer(settings, vector_world()) as server:
        assert server.ca_pem is not None
        context = ssl.create_default_context(cadata=server.ca_pem.decode())
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context, server_hostname=host)
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.close()
        await writer.wait_closed()


async def test_a_long_service_name_is_no_obstacle() -> None:
    certificate = ServingCertificate(TlsSettings(service="s" * 63, namespace="n" * 63))
    await certificate.load()


async def test_changed_files_are_served_to_new_connections(tmp_path: Path) -> None:
    first, second = fresh_pair(), fresh_pair()
    settings = write(tmp_path, first)
    certificate = TlsSettings(settings.cert_file, settings.key_file, poll_seconds=0.01)
    async with AdapterServer(AdapterSettings(port=0, tls=certificate), vector_world()) as server:
        assert server.ca_pem is None
        assert await served(server) == der(first)
        write(tmp_path, second)
        async with asyncio.timeout(10):
            while await served(server) != der(second):
                await asyncio.sleep(0.01)


async def test_a_bad_new_pair_is_refused_and_a_good_one_is_used(tmp_path: Path) -> None:
    first, second = fresh_pair(), fresh_pair()
    certificate = ServingCertificate(write(tmp_path, first))
    await certificate.load()
    assert certificate.followed is not None
    for bad in (CertificatePair(second.certificate, first.key), CertificatePair(b"nonsense", second.key)):
        write(tmp_path, bad)
        assert not await certificate.followed.refresh()
    write(tmp_path, second)
    assert await certificate.followed.refresh()


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"nonsense", "no certificate with its key")],
    ids=["absent", "no PEM"],
)
async def test_a_first_pair_that_does_not_work_stops_the_start(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    settings = TlsSettings(tmp_path / "tls.crt", tmp_path / "tls.key")
    if content is not None:
        write(tmp_path, CertificatePair(content, content))
    with pytest.raises(StartError, match=said):
        await ServingCertificate(settings).load()


def test_a_certificate_without_its_key_is_no_setting() -> None:
    with pytest.raises(ValueError, match="come together"):
        TlsSettings(cert_file=Path("tls.crt"))
