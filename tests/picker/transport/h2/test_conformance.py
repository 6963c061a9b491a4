"""h2spec, the conformance suite of HTTP/2 and HPACK, against the running transport."""

import asyncio
import random
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lab.controlplane import TOOLS
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.transport.interface import TransportSettings
from picker.transport.server.http2 import Http2Transport
from tests.fakes.director import FakeDirector

pytestmark = [pytest.mark.h2spec, pytest.mark.timeout(120)]

OF_ITS_OWN_TABLE = {
    "generic/5/14: Sends a dynamic table size update",
    "generic/5/15: Sends multiple dynamic table size update",
    "http2/6.10/1: Sends multiple CONTINUATION frames preceded by a HEADERS frame",
}
"""h2spec acknowledges our header table of size 0 and goes on using a larger one, which RFC 9113, section 4.3.1, has us
take for an error of the connection."""


async def test_every_section_passes(tmp_path: Path) -> None:
    rng = random.Random(1)
    report = tmp_path / "report.xml"
    async with Http2Transport(
        TransportSettings(port=0),
        lambda: Exchange(ExchangeSettings(), FakeDirector(), rng),
        time.monotonic,
        lambda: True,
    ) as transport:
        command = (TOOLS / "h2spec", "-h", "127.0.0.1", "-p", str(transport.port), "-o", "1", "-j", report)
        process = await asyncio.create_subprocess_exec(
            *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
    failed, count = await asyncio.to_thread(failures, report)
    assert failed == OF_ITS_OWN_TABLE, said.decode()[-3000:]
    assert count == 145


def failures(report: Path) -> tuple[set[str], int]:
    found, count, numbers = set[str](), 0, dict[str, int]()
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        section = case.attrib["package"]
        numbers[section] = numbers.get(section, 0) + 1
        count += 1
        if case.find("failure") is not None or case.find("error") is not None:
            found.add(f"{section}/{numbers[section]}: {case.attrib['classname']}")
    return found, count
