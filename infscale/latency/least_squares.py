"""Least squares with non-negative coefficients, for as few of them as a step model has."""

from typing import Final

_TINY: Final = 1e-11


def nonnegative(gram: list[list[float]], moment: list[float]) -> list[float]:
    """The x ≥ 0 that makes ``xᵀ·gram·x - 2·momentᵀ·x`` least; `gram` is symmetric and positive semi-definite.

    With ``gram = AᵀA`` and ``moment = Aᵀy`` it is the non-negative least-squares solution of ``A·x = y``. A column that
    is a combination of others gets 0. Lawson and Hanson's active set (Solving Least Squares Problems, 1974, chapter 23)
    on columns that are scaled to unit length.
    """
    size = len(moment)
    scales = [gram[i][i] ** -0.5 if gram[i][i] > 0.0 else 0.0 for i in range(size)]
    unit = [[gram[i][j] * scales[i] * scales[j] for j in range(size)] for i in range(size)]
    wanted = [moment[i] * scales[i] for i in range(size)]
    every = [i for i in range(size) if scales[i] > 0.0]
    # Mostly no bound binds.
    found = _solved(unit, wanted, every)
    if found is None or min(found, default=0.0) < 0.0:
        found = _bounded(unit, wanted, every)
    return [found[i] * scales[i] for i in range(size)]


def _bounded(gram: list[list[float]], moment: list[float], columns: list[int]) -> list[float]:
    size = len(moment)
    found = [0.0] * size
    free: list[int] = []
    tolerance = _TINY * max([abs(each) for each in moment], default=0.0)
    for _ in range(4 * size):
        steepest, best = tolerance, -1
        for i in columns:
            if i not in free:
                slope = moment[i] - sum([gram[i][j] * found[j] for j in free])
                if slope > steepest:
                    steepest, best = slope, i
        if best < 0:
            break
        free.append(best)
        found, free = _inside(gram, moment, found, free)
    return found


def _inside(
    gram: list[list[float]], moment: list[float], found: list[float], free: list[int]
) -> tuple[list[float], list[int]]:
    """From `found` towards the solution of the `free` columns, without those that would become negative."""
    while free:
        solved = _solved(gram, moment, free)
        if solved is None:
            # The column that came last depends on the others.
            return found, free[:-1]
        negative = [i for i in free if solved[i] <= 0.0]
        if not negative:
            return solved, free
        share = min([found[i] / (found[i] - solved[i]) if found[i] > solved[i] else 0.0 for i in negative])
        found = [here + share * (there - here) for here, there in zip(found, solved, strict=True)]
        left = [i for i in free if i not in negative or found[i] > _TINY]
        # At least one leaves, whatever rounding says.
        free = left if len(left) < len(free) else [i for i in free if i != negative[0]]
        found = [each if i in free else 0.0 for i, each in enumerate(found)]
    return found, free


def _solved(gram: list[list[float]], moment: list[float], columns: list[int]) -> list[float] | None:
    """The solution of some columns, 0 in the others; None where one of them depends on the ones before it.

    Cholesky's decomposition: what remains of a column of unit length is its part that the others do not have.
    """
    size = len(columns)
    lower = [[0.0] * size for _ in range(size)]
    half = [0.0] * size
    for i in range(size):
        row = lower[i]
        for j in range(i):
            other = lower[j]
            rest = gram[columns[i]][columns[j]]
            for k in range(j):
                rest -= row[k] * other[k]
            row[j] = rest / other[j]
        left = gram[columns[i]][columns[i]]
        rest = moment[columns[i]]
        for k in range(i):
            left -= row[k] * row[k]
            rest -= row[k] * half[k]
        if left <= _TINY:
            return None
        row[i] = left**0.5
        half[i] = rest / row[i]
    found = [0.0] * len(moment)
    for i in range(size - 1, -1, -1):
        rest = half[i]
        for k in range(i + 1, size):
            rest -= lower[k][i] * found[columns[k]]
        found[columns[i]] = rest / lower[i][i]
    return found
