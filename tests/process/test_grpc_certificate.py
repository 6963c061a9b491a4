"""Certificate files are followed, and half-written ones are not served."""

from pathlib import Path

import pytest

from infscale.errors import StartError
from infscale.process.grpc_certificate import GrpcCertificate
from tests.picker.transport.test_transports import certificate


async def test_files_that_change_and_work_are_another_configuration(tmp_path: Path) -> None:
    files = GrpcCertificate("the picker", *certificate(tmp_path).paths)
    await files.load()
    first = files.current()
    certificate(tmp_path)
    assert await files.followed.refresh()
    second = files.current()
    assert second is not first
    for name in ("tls.crt", "tls.key"):
        good = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(good[:100])
        assert not await files.followed.refresh()
        assert files.current() is second
        (tmp_path / name).write_bytes(good)


async def test_files_that_never_worked_stop_the_start(tmp_path: Path) -> None:
    made = certificate(tmp_path)
    made.key.write_text("no key")
    with pytest.raises(StartError, match="no certificate with its key"):
        await GrpcCertificate("the picker", *made.paths).load()
