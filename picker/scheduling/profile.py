"""A profile: filters, weighted scorers and one picker plugin, run as a unit on one snapshot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from infscale.endpoint import Endpoint
from infscale.memo import MemoKey
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import IntArray, frozen
from picker.remote_work import RemoteStage, Stage
from picker.scheduling.plugin import SchedulingContext
from picker.scheduling.stages import Filter, Picker, Scorer

_NEUTRAL: Final = 0.5


@dataclass(frozen=True, slots=True)
class WeightedScorer:
    """A scorer and what its score counts in the sum."""

    scorer: Scorer
    weight: float = 1.0


@dataclass(slots=True, eq=False, init=False)
class Selection:
    """What the profile of that name decided: candidates that survived, their summed scores, the chosen rows in order.

    What is chosen after the first may be no candidate: a fallback for the gateway. `remote` is what other profiles
    chose for parts of the same request; None: its profile handler knows of no such parts.
    """

    rows: Final[IntArray]
    scores: Final[FloatArray]
    chosen: Final[tuple[int, ...]]
    profile: Final[str]
    remote: Final["RemoteSelections | None"]

    def __init__(
        self,
        rows: IntArray,
        scores: FloatArray,
        chosen: tuple[int, ...],
        profile: str = "",
        remote: "RemoteSelections | None" = None,
    ) -> None:
        self.rows = rows
        self.scores = scores
        self.chosen = chosen
        self.profile = profile
        self.remote = remote

    def or_else(self, row: int) -> "Selection":
        """The same choice with `row` as a fallback behind it."""
        return Selection(self.rows, self.scores, (*self.chosen, row), self.profile, self.remote)

    def beside(self, remote: "RemoteSelections") -> "Selection":
        """The same choice, beside what was chosen for other parts of the request."""
        return Selection(self.rows, self.scores, self.chosen, self.profile, remote)

    def of_profile(self, profile: str) -> "Selection | None":
        """The choice of the profile of that name, this one or one beside it; "" is this one. None: it did not run."""
        if profile in ("", self.profile):
            return self
        others = () if self.remote is None else self.remote.selections
        return next((each.selection for each in others if each.selection.profile == profile), None)

    def score_of(self, row: int) -> float:
        """The summed score of a candidate."""
        # Mostly every endpoint is one, and then it has its own place.
        own = row < len(self.rows) and self.rows[row] == row
        return float(self.scores[row if own else self.rows.searchsorted(row)])


@dataclass(slots=True, eq=False, init=False)
class RemoteSelection:
    """What a profile chose for one stage of a request that is done elsewhere than at its destination."""

    stage: Final[Stage]
    selection: Final[Selection]

    def __init__(self, stage: Stage, selection: Selection) -> None:
        self.stage = stage
        self.selection = selection


@dataclass(slots=True, eq=False, init=False)
class RemoteSelections:
    """The stages of a request that are done elsewhere, by the profile handler of this name and type; perhaps none."""

    plugin_name: Final[str]
    plugin_type: Final[str]
    selections: Final[tuple[RemoteSelection, ...]]

    def __init__(self, plugin_name: str, plugin_type: str, selections: tuple[RemoteSelection, ...]) -> None:
        self.plugin_name = plugin_name
        self.plugin_type = plugin_type
        self.selections = selections

    def stages(self, endpoints: Sequence[Endpoint]) -> tuple[RemoteStage, ...]:
        """The same in words, of a pool with these endpoints."""
        return tuple(
            [
                RemoteStage(
                    each.stage,
                    each.selection.profile,
                    tuple([endpoints[row].authority for row in each.selection.chosen]),
                )
                for each in self.selections
            ]
        )


def bounded(scores: FloatArray) -> FloatArray:
    """Scores clamped to [0, 1], unknown ones made neutral.

    An unknown (NaN) score becomes the mean of the known ones, so that it neither attracts nor repels; where no
    candidate is known, all get 0.5 and the scorer has no say.
    """
    clamped: FloatArray = np.minimum(np.maximum(scores, 0.0), 1.0)
    # Clamping keeps NaN, and a sum of squares is NaN only if a score is: the common case costs one pass.
    squares = clamped.dot(clamped)
    if squares == squares:
        return clamped
    unknown = np.isnan(clamped)
    known = clamped[~unknown]
    return np.where(unknown, known.mean() if known.size else _NEUTRAL, clamped)


class Profile:
    """Filters in sequence, then the weighted sum of the scorers, then one picker."""

    def __init__(self, name: str, filters: Sequence[Filter], scorers: Sequence[WeightedScorer], picker: Picker) -> None:
        self.name = name
        self.filters = tuple(filters)
        self.scorers = tuple(scorers)
        self.picker = picker
        self._of_state = tuple(each for each in scorers if getattr(each.scorer, "of_state", False))
        self._of_request = tuple(each for each in scorers if each not in self._of_state)
        self._known: MemoKey[tuple[IntArray, FloatArray]] = MemoKey(f"scores of the state in profile {name}")

    def run(self, context: SchedulingContext, rows: IntArray) -> Selection | None:
        """Choose among `rows` (ascending, at least one); None when the filters leave none."""
        for each in self.filters:
            rows = each.keep(context, rows)
            if not len(rows):
                return None
        scores = self._state_scores(context, rows)
        for weighted in self._of_request:
            scores = scores + weighted.weight * bounded(weighted.scorer.score(context, rows))
        # Pickers of other packages may give rows as numpy gives them; further on they are plain numbers.
        return Selection(rows, scores, tuple(map(int, self.picker.pick(context, rows, scores))), self.name)

    def _state_scores(self, context: SchedulingContext, rows: IntArray) -> FloatArray:
        """The weighted sum of the scorers that read the state alone; kept for the next request with the same rows."""
        derived = context.snapshot.state.derived
        known = derived.get(self._known)
        if known is not None and known[0] is rows:
            return known[1]
        scores: FloatArray = np.zeros(len(rows))
        for weighted in self._of_state:
            scores += weighted.weight * bounded(weighted.scorer.score(context, rows))
        return derived.keep(self._known, (rows, frozen(scores)))[1]
