"""A short soak; `make soak` goes on for half an hour and watches memory, too."""

from pathlib import Path

import pytest

from tests.soak.__main__ import soak

SECONDS = 20


@pytest.mark.envoy
@pytest.mark.hostile
@pytest.mark.timeout(120)
async def test_nothing_healthy_fails_while_everything_comes_and_goes(tmp_path: Path) -> None:
    totals, wrong = await soak(SECONDS, tmp_path)
    assert not wrong
    assert totals.changes > 5
    assert totals.answers["200"] > SECONDS * 5
    assert totals.picks["served"] > SECONDS
