"""The difference between policies in words, and tables that fit a terminal."""

from collections.abc import Sequence

import pytest

from infscale.demo.report import Quantiles
from infscale.simulate.findings.comparison import Findings, spoken, verdict
from infscale.simulate.findings.estimates import Change
from infscale.simulate.findings.findings_text import WIDTH, lines
from infscale.simulate.findings.measures import MEASURES
from infscale.simulate.findings.summaries import ALL, ClassSummary, RunSummary

TTFT = next(each for each in MEASURES if each.key == "ttft_p90_seconds")
HITS = next(each for each in MEASURES if each.key == "prefix_hit_ratio")


def run(policy: str, seed: int, ttft: float, hits: float | None = 0.5, failed: int = 0) -> RunSummary:
    """A run of which all but these is the same."""
    times = Quantiles(ttft / 2, ttft, ttft * 2)
    of_all = ClassSummary(
        100, 100 - failed, 0, failed, 90, 10.0, 9.0, 500.0, hits, times, Quantiles(0.03, 0.04, 0.05), times
    )
    failures = {"stream cut": failed} if failed else {}
    return RunSummary(policy, seed, 10.0, {ALL: of_all}, failures, 0.7, 80.0, 0, None)


def findings(ours: Sequence[float], theirs: Sequence[float], hits: float | None = 0.5, failed: int = 0) -> Findings:
    """Two policies whose runs have these times."""
    usual = tuple(run("infscale", seed, ttft) for seed, ttft in enumerate(theirs))
    mine = tuple(run("mine.yaml", seed, ttft, hits, failed) for seed, ttft in enumerate(ours))
    return Findings({"infscale": usual, "mine.yaml": mine})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Change(0.77, 0.72, 0.82, 5), "23 % shorter (18 to 28 %)"),
        (Change(1.05, 1.01, 1.09, 5), "5.0 % longer (1 to 9 %)"),
        (Change(3.0, 2.5, 3.6, 5), "3.0 × longer (2.5 to 3.6 ×)"),
        (Change(1.05, 0.9, 1.2, 5), "no certain difference (-10 to +20 %)"),
        (Change(1.001, 0.995, 1.005, 5), "the same"),
        (Change(0.5, None, None, 1), "50 % shorter"),
        (Change(1.0, None, None, 1), "the same"),
    ],
)
def test_a_change_in_words(change: Change, words: str) -> None:
    assert spoken(change, TTFT) == words


def test_what_is_certain_is_said_first_and_what_is_chance_is_not() -> None:
    better = findings([0.50, 0.61, 0.70], [1.0, 1.2, 1.4])
    assert (
        verdict(better, "mine.yaml", "infscale") == "mine.yaml against infscale is better: first token p90 50 % shorter"
    )
    chance = findings([0.5, 2.0, 1.4], [1.0, 1.2, 1.4])
    assert "do not differ beyond chance" in verdict(chance, "mine.yaml", "infscale")
    worse = findings([2.1, 2.4, 2.8], [1.0, 1.2, 1.4], hits=0.6, failed=4)
    assert verdict(worse, "mine.yaml", "infscale") == (
        "mine.yaml against infscale is better: prefix hits 20 % more; "
        "worse: first token p90 2.0 × longer, 4 more requests failed"
    )


@pytest.mark.parametrize("policies", [1, 2, 3, 5, 9])
def test_lines_fit_a_terminal(policies: int) -> None:
    names = [f"a-policy-with-a-long-name-{number}" for number in range(policies)]
    runs = {
        name: tuple(run(name, seed, 123.4 * (place + seed + 1)) for seed in range(3))
        for place, name in enumerate(names)
    }
    written = list(lines(Findings(runs, goal_is_set=True)))
    assert max(map(len, written)) <= WIDTH
    assert sum(line.startswith(TTFT.name) for line in written) == -(-policies // 4)
    assert "3 seeds; ± is the 95 % interval of the mean over seeds" in written


def test_one_seed_says_that_it_knows_nothing_of_chance() -> None:
    written = list(lines(findings([1.0], [2.0], failed=3)))
    assert "1 seed; one seed: nothing is known of chance" in written
    assert "not answered by mine.yaml, all seeds: 3 × stream cut" in written


def test_a_measure_that_is_nowhere_known_has_no_row() -> None:
    runs = {"infscale": tuple(run("infscale", seed, 1.0, hits=None) for seed in range(2))}
    assert HITS not in Findings(runs).measures()
