"""The stand-in for NVIDIA's library, compiled once."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.node_agent.nvml_stand_in import StandIn


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    folder: Path = tmp_path_factory.mktemp("nvml")
    return StandIn(folder)


@pytest.fixture
def nvml(compiled: StandIn) -> Generator[StandIn, None, None]:
    """In this process, with eight GPUs."""
    compiled.show("count 8")
    with compiled.loaded():
        yield compiled
    compiled.show("count 8")
