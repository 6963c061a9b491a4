"""How replicas went is said in a line."""

import pytest

from infscale.simulate.findings.replica_text import replicas_of
from infscale.simulate.run_result import ScalingStep


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([4], "4 replicas throughout"),
        ([4, 6], "4 replicas at first, 4 to 6, 1 change, the most at 10 s"),
        ([4, 6, 9, 5], "4 replicas at first, 4 to 9, 3 changes, 1 of them back, the most at 20 s"),
        ([3, 1, 2, 1], "3 replicas at first, 1 to 3, 3 changes, 2 of them back, the most at 0 s"),
    ],
)
def test_replicas_in_words(counts: list[int], said: str) -> None:
    steps = [ScalingStep(0.0, counts[0], counts[0], "at the beginning")]
    steps += [ScalingStep(10.0 * place, counts[place - 1], counts[place], "load") for place in range(1, len(counts))]
    assert replicas_of(steps) == said
