"""A profile filters, sums weighted scores and picks."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray
from picker.scheduling.pickers import MaxScorePicker
from picker.scheduling.plugin import SchedulingContext
from picker.scheduling.profile import Profile, WeightedScorer
from picker.scheduling.scheduler import Scheduler, SingleProfileHandler
from tests.fakes.pools import FakePool, context


@dataclass
class Fixed:
    """Scores by row."""

    values: list[float]

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        return np.array(self.values)[rows]


@dataclass
class Only:
    """Keeps the rows named, and remembers what it was asked."""

    rows: list[int]
    asked: list[list[int]]

    def keep(self, context: SchedulingContext, rows: IntArray) -> IntArray:
        self.asked.append(rows.tolist())
        return rows[np.isin(rows, self.rows)]


def test_filters_run_in_sequence_then_weighted_scores_are_summed() -> None:
    asked: list[list[int]] = []
    filters = (Only([0, 1, 3], asked), Only([1, 2, 3], asked))
    scorers = (WeightedScorer(Fixed([9, 0.5, 9, 1.0]), 2.0), WeightedScorer(Fixed([0, 1.0, 0, 5.0]), 3.0))
    pool = FakePool(4)
    selection = Profile("p", filters, scorers, MaxScorePicker(2)).run(context(pool), pool.rows)
    assert asked == [[0, 1, 2, 3], [0, 1, 3]]
    assert selection is not None
    assert selection.rows.tolist() == [1, 3]
    assert selection.scores.tolist() == [4.0, 5.0]
    assert selection.chosen == (3, 1)
    assert selection.score_of(1) == 4.0


def test_no_candidate_left_is_no_selection_and_later_filters_are_not_asked() -> None:
    asked: list[list[int]] = []
    profile = Profile("p", (Only([], asked), Only([0], asked)), (), MaxScorePicker())
    pool = FakePool(2)
    assert Scheduler({"p": profile}, SingleProfileHandler()).schedule(context(pool), pool.rows) is None
    assert len(asked) == 1


@dataclass
class OfState(Fixed):
    """Reads the state alone, and counts how often it is asked."""

    asked: int = 0
    of_state: ClassVar[bool] = True

    def score(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        self.asked += 1
        return super().score(context, rows)


def test_a_scorer_of_the_state_is_asked_once_per_state_and_rows() -> None:
    scorer = OfState([0.5, 0.25])
    profile = Profile("p", (), (WeightedScorer(scorer, 2.0), WeightedScorer(Fixed([0.0, 1.0]))), MaxScorePicker())
    of_one_state, pool = context(FakePool(2)), FakePool(2)
    rows = pool.rows
    for expected, (asked, candidates) in enumerate(
        [(of_one_state, rows), (of_one_state, pool.rows), (context(pool), rows)]
    ):
        for _ in range(2):
            selection = profile.run(asked, candidates)
            assert selection is not None
            assert selection.scores.tolist() == [1.0, 1.5]
            assert selection.chosen == (1,)
        assert scorer.asked == expected + 1
