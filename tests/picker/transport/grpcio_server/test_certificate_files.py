"""Certificate files are followed, and half-written ones are not served."""

import logging
from pathlib import Path

import pytest

from picker.transport.grpcio_server.certificate_files import CertificateFiles
from tests.picker.transport.test_transports import certificate


@pytest.fixture(name="files")
def _files(tmp_path: Path) -> CertificateFiles:
    made = certificate(tmp_path)
    return CertificateFiles(made.certificate, made.key)


def test_files_that_stay_are_one_configuration(files: CertificateFiles) -> None:
    assert files.current() is files.current()


def test_files_that_change_are_another(files: CertificateFiles, tmp_path: Path) -> None:
    before = files.current()
    certificate(tmp_path)
    assert files.current() is not before


@pytest.mark.parametrize("name", ["tls.crt", "tls.key"])
def test_what_cannot_be_served_is_said_once_and_the_old_one_stays(
    files: CertificateFiles, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = files.current()
    good = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(good[:100])
    with caplog.at_level(logging.WARNING):
        assert files.current() is before
        assert files.current() is before
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    (tmp_path / name).unlink()
    assert files.current() is before
    (tmp_path / name).write_bytes(good)
    assert files.current() is before


def test_files_that_never_worked_are_an_error(tmp_path: Path) -> None:
    made = certificate(tmp_path)
    made.key.write_text("no key")
    with pytest.raises(OSError, match="no certificate with its key"):
        CertificateFiles(made.certificate, made.key).current()
