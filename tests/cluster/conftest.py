"""One cluster for all tests that need a real one; each module runs its own infscale on it."""

import random
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from lab.controlplane import ControlPlane
from lab.pods import PodServers
from lab.stack import cluster

_MEASURED = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def measured(request: pytest.FixtureRequest) -> list[str]:
    """Lines that are printed after the tests: what was measured on the way."""
    return request.config.stash.setdefault(_MEASURED, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    lines = terminalreporter.config.stash.get(_MEASURED, [])
    if lines:
        terminalreporter.section("measured on the cluster")
        for line in lines:
            terminalreporter.line(line)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[ControlPlane, None]:
    """A control plane with kwok's node and the inference kinds."""
    async with cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def servers(plane: ControlPlane) -> AsyncGenerator[PodServers, None]:
    """Simulated model servers on the addresses of pods, in this process."""
    async with PodServers(plane.client, None, random.Random(1)) as running:
        yield running
