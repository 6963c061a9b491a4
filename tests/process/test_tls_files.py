"""Files of a certificate are followed; those that do not work are refused, and said once."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from infscale.errors import StartError
from infscale.process.tls_files import FollowedFiles


class Served:
    """What is served with; contents that say ``bad`` do not work."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.contents: list[bytes] = []
        self.files = FollowedFiles("it", (self.certificate, self.key), self._use)

    def write(self, certificate: bytes, key: bytes) -> None:
        self.certificate.write_bytes(certificate)
        self.key.write_bytes(key)

    async def _use(self, contents: Sequence[bytes]) -> None:
        if b"bad" in contents:
            raise ValueError("they do not fit")
        self.contents = list(contents)


@pytest.fixture(name="served")
def _served(tmp_path: Path) -> Served:
    served = Served(tmp_path)
    served.write(b"c1", b"k1")
    return served


async def test_files_that_change_are_used(served: Served) -> None:
    await served.files.load()
    assert served.contents == [b"c1", b"k1"]
    assert not await served.files.refresh(), "nothing has changed"
    served.write(b"c2", b"k2")
    assert await served.files.refresh()
    assert served.contents == [b"c2", b"k2"]


async def test_what_cannot_be_served_is_said_once_and_what_was_served_stays(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    await served.files.load()
    with caplog.at_level(logging.WARNING):
        served.write(b"c2", b"bad")
        assert not await served.files.refresh()
        assert not await served.files.refresh()
        served.key.unlink()
        assert not await served.files.refresh()
        assert not await served.files.refresh()
    refused = "the changed certificate is refused, the old one stays: "
    assert [record.getMessage() for record in caplog.records] == [
        f"{refused}{served.certificate}: they do not fit",
        f"{refused}{served.key}: cannot be read: No such file or directory",
    ]
    assert served.contents == [b"c1", b"k1"]
    served.write(b"c2", b"k2")
    assert await served.files.refresh()


async def test_files_that_do_not_work_at_first_stop_the_start(served: Served) -> None:
    served.write(b"bad", b"k1")
    with pytest.raises(StartError, match=r"^it cannot serve with .*tls\.crt: they do not fit; give a PEM certificate"):
        await served.files.load()
