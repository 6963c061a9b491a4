"""One infscale for the tests of a module: what one input leaves behind, the next would find."""

from collections.abc import Generator

import pytest

from tests.hostile.harness import Installed, installed


@pytest.fixture(name="attacked", scope="module")
def _attacked(tmp_path_factory: pytest.TempPathFactory) -> Generator[Installed, None, None]:
    with installed(tmp_path_factory.mktemp("attacked")) as made:
        yield made
