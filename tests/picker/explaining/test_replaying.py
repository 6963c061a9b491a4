"""Recorded decisions made again: by the same configuration nothing differs, by another what differs is said."""

import random
from typing import Any

from picker.epp_config.loader import load_picker_config, preset
from picker.explaining.replaying import EXAMPLES, replayed
from tests.picker.directing.test_director import Bench, ask
from tests.picker.explaining.test_pick_log import EXPLAINED, kept, traffic

NONE_LEFT = """\
apiVersion: llm-d.ai/v1
kind: EndpointPickerConfig
plugins:
- {type: label-selector-filter, parameters: {matchLabels: {nobody: has}}}
- {type: random-picker}
"""


def recorded(count: int = 60) -> Bench:
    bench = Bench(4, settings=EXPLAINED)
    traffic(bench, random.Random(11), count)
    return bench


def test_the_same_configuration_chooses_the_same() -> None:
    bench = recorded()
    counts = replayed((inputs for inputs, _ in kept(bench)), preset("infscale"))
    assert counts.decisions == counts.same == counts.same_winner == 60
    assert counts.before == counts.after
    assert counts.examples == []
    assert counts.seconds_before == counts.seconds_after > 0


def test_another_one_is_told_apart_by_choices_and_predictions() -> None:
    bench = recorded()
    counts = replayed((inputs for inputs, _ in kept(bench)), preset("lmetric"))
    told: Any = counts.document()
    assert 0 < told["same_winner"] < told["decisions"] == 60
    assert len(told["examples"]) == min(EXAMPLES, 60 - counts.same_winner)
    assert all(each["before"] != each["after"] for each in told["examples"])
    assert sum(told["chosen_after"].values()) == 60
    predicted = told["predicted_time_to_first_token_seconds"]
    assert predicted["before"] != predicted["after"]


def test_what_would_be_refused_is_counted_by_its_reason() -> None:
    bench = Bench(2, settings=EXPLAINED)
    bench.routed(ask())
    counts = replayed((inputs for inputs, _ in kept(bench)), load_picker_config(NONE_LEFT, "none.yaml"))
    assert counts.document()["refused_after"] == {"filtered_out": 1}
    assert counts.after == {"refused": 1}
