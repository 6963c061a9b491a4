"""How the replicas of a run with an HPA went, in words."""

from collections.abc import Sequence
from itertools import pairwise

from infscale.simulate.run_result import ScalingStep


def replicas_of(steps: Sequence[ScalingStep]) -> str:
    """``4 replicas at first, 2 to 9, 5 changes, 1 of them back, the most at 61 s``; the first step is the beginning."""
    counts = [each.after for each in steps]
    changed = [each for each in steps if each.after != each.before]
    if not changed:
        return f"{counts[0]} replicas throughout"
    peak = max(steps, key=lambda each: each.after)
    directions = [each.after > each.before for each in changed]
    back = sum(one != other for one, other in pairwise(directions))
    words = [
        f"{counts[0]} replicas at first",
        f"{min(counts)} to {max(counts)}",
        f"{len(changed)} change{'s' * (len(changed) > 1)}",
        *([f"{back} of them back"] if back else []),
        f"the most at {peak.at_seconds:.0f} s",
    ]
    return ", ".join(words)
