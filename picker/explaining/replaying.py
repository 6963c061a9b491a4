"""Recorded decisions made again by another configuration, and what would differ."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from picker.epp_config.loader import PickerConfig
from picker.explaining.explanation import Document
from picker.explaining.pick_inputs import PickInputs
from picker.request import Reason
from picker.scheduling.plugin import USUAL_PREDICTIONS
from picker.scheduling.prediction import predict

EXAMPLES: Final = 10
_REFUSED: Final = "refused"


@dataclass(slots=True)
class ReplayCounts:
    """What came of the decisions so far.

    `same`: the very same choices in the same order, of all stages of a request; `same_winner`: the first of them is.
    `before` and `after` count what endpoints were chosen, under `refused` what none was. Seconds are sums over
    decisions of which both sides are predicted, `predicted` how many these are. `drawn` counts those that drew at
    random.
    """

    decisions: int = 0
    same: int = 0
    same_winner: int = 0
    drawn: int = 0
    before: Counter[str] = field(default_factory=Counter[str])
    after: Counter[str] = field(default_factory=Counter[str])
    reasons: Counter[str] = field(default_factory=Counter[str])
    predicted: int = 0
    seconds_before: float = 0.0
    seconds_after: float = 0.0
    examples: list[Document] = field(default_factory=list[Document])

    def add(self, inputs: PickInputs, config: PickerConfig) -> None:
        """Decide again by `config`."""
        answer = inputs.decided(config)
        chosen = () if isinstance(answer, Reason) else answer.chosen
        first, other = inputs.kept.chosen[:1], chosen[:1]
        names = [str(each.key) for each in inputs.state.endpoints]
        before, after = (names[rows[0]] if rows else _REFUSED for rows in (first, other))
        self.decisions += 1
        self.same += inputs.repeated(answer)
        self.same_winner += first == other
        self.drawn += bool(inputs.kept.drawn)
        self.before[before] += 1
        self.after[after] += 1
        if isinstance(answer, Reason):
            self.reasons[answer.value] += 1
        if first and other:
            self._predict(inputs, config, first[0], other[0])
        if first != other and len(self.examples) < EXAMPLES:
            record = inputs.kept.record
            self.examples.append(
                {"request_id": record.request_id, "pick": record.revision, "before": before, "after": after}
            )

    def _predict(self, inputs: PickInputs, config: PickerConfig, before: int, after: int) -> None:
        usual = inputs.context(config, USUAL_PREDICTIONS)
        known = predict(usual, np.array((before, after), dtype=np.intp))
        if known is not None and np.isfinite(known.ttft).all():
            self.predicted += 1
            self.seconds_before += float(known.ttft[0])
            self.seconds_after += float(known.ttft[1])

    def document(self) -> Document:
        """The counts as JSON has them."""
        means: Mapping[str, float | None] = {
            name: seconds / self.predicted if self.predicted else None
            for name, seconds in (("before", self.seconds_before), ("after", self.seconds_after))
        }
        return {
            "decisions": self.decisions,
            "same_choices": self.same,
            "same_winner": self.same_winner,
            "drew_at_random": self.drawn,
            "chosen_before": dict(self.before.most_common()),
            "chosen_after": dict(self.after.most_common()),
            "refused_after": dict(self.reasons.most_common()),
            "predicted_time_to_first_token_seconds": {**means, "decisions": self.predicted},
            "examples": self.examples,
        }


def replayed(recorded: Iterable[PickInputs], config: PickerConfig) -> ReplayCounts:
    """Every decision of `recorded` made again by `config`, each on the load that the recorded choices had made."""
    counts = ReplayCounts()
    for inputs in recorded:
        counts.add(inputs, config)
    return counts
