"""The comparison of presets that `make simulate-gate` holds: ratios, limits and the table, of figures made up."""

import math

import pytest

from bench.oracle import NAME
from bench.routing import (
    GATED,
    LIMITS,
    LOADS,
    OTHERS,
    OURS,
    REFERENCE,
    WRONG,
    Comparison,
    Figures,
    beside_oracle,
    beside_wrong,
    broken,
    markdown,
)


def table(ours: float, reference: float, others: float, tpot: float = 0.04) -> dict[str, dict[str, Figures]]:
    """The same TTFT p90 on every load that the gate plays."""
    of = {
        OURS: Figures(ours, tpot, 0.5),
        REFERENCE: Figures(reference, 0.04, 0.25),
        **{each: Figures(others, 0.04, 0.0) for each in OTHERS},
    }
    return {each.name: dict(of) for each in GATED}


def test_ratios_are_below_one_where_ours_is_shorter() -> None:
    found = Comparison.of(table(0.2, 0.8, 0.25, 0.03), GATED)
    assert found.ttft_reference == pytest.approx(0.25)
    assert found.ttft_best == pytest.approx(0.8)
    assert found.tpot_reference == found.tpot_unequal == pytest.approx(0.75)


def test_loads_count_by_their_ratios_and_the_worst_is_told() -> None:
    """Half on one load and twice on another are none in the mean; the reference may be the best of all."""
    made = table(0.2, 0.2, 0.2)
    made[GATED[0].name][OURS] = Figures(0.1, 0.04, 0.0)
    made[GATED[1].name][OURS] = Figures(0.4, 0.04, 0.0)
    made[GATED[2].name][REFERENCE] = Figures(0.1, 0.04, 0.0)
    found = Comparison.of(made, GATED)
    assert found.ttft_best == pytest.approx(1.0)
    assert found.ttft_worst == pytest.approx(2.0)


def test_the_gate_names_each_limit_that_does_not_hold() -> None:
    assert broken(Comparison.of(table(0.2, 0.8, 0.25, 0.035), GATED)) == []
    names = [each.split()[0] for each in broken(Comparison.of(table(0.3, 0.3, 0.25, 0.05), GATED))]
    assert names == ["ttft_reference", "ttft_best", "ttft_worst", "tpot_reference", "tpot_unequal"]
    unknown = Comparison(math.nan, 0.5, 0.5, 0.5, 0.5)
    assert len(broken(unknown, LIMITS)) == 1


def test_the_table_has_a_row_for_each_load_and_marks_the_best() -> None:
    lines = markdown(table(0.2, 0.8, 0.25)).splitlines()
    assert len(lines) == 2 + len(GATED)
    assert f"| {GATED[0].name} | **0.2 s** / 40 ms / 50% | 0.8 s / 40 ms / 25% | 0.25 s / 40 ms" in lines[2]


def test_half_of_the_loads_that_are_gated_or_more_have_equal_servers() -> None:
    assert [each.unequal for each in LOADS] == [False, True, False, False, True]


def test_ours_is_told_beside_the_oracle_load_by_load() -> None:
    made = table(0.22, 0.8, 0.25, 0.03)
    for of in made.values():
        of[NAME] = Figures(0.2, 0.04, 0.0)
    lines = beside_oracle(made).splitlines()
    assert len(lines) == 2 + len(GATED)
    assert lines[2] == f"| {GATED[0].name} | 1.100 | 0.750 |"


def test_wrong_models_are_told_beside_the_best_of_all_others() -> None:
    made = table(0.1, 0.2, 0.25)
    for of in made.values():
        of |= dict(zip(WRONG, (Figures(0.22, 0.04, 0.0), Figures(0.19, 0.04, 0.0)), strict=True))
    lines = beside_wrong(made).splitlines()
    assert lines[2] == f"| {GATED[0].name} | 1.100 | 0.950 | {REFERENCE} |"
