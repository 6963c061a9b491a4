"""Requests that waited are explained with their wait, and asking again and again about what waits is not kept."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from picker.directing.director_books import DirectorSettings
from picker.directing.holding.pool_flow import FlowSettings
from picker.epp_config.loader import load_picker_config
from picker.explaining.explanation import explanation
from picker.explaining.finding import explained
from picker.explaining.input_sheet import InputSheet
from picker.explaining.pick_inputs import PickInputs
from picker.explaining.replaying import replayed
from picker.explaining.sheet_form import read_sheet, sheet_line
from tests.picker.directing.holding.held_queue import LONG, Queue, as_class

WALL = datetime(2026, 12, 1, tzinfo=UTC)
NOWHERE = """\
apiVersion: llm-d.ai/v1
kind: EndpointPickerConfig
plugins:
- {type: label-selector-filter, parameters: {matchLabels: {zone: moon}}}
- {type: marginal-cost-scorer}
- {type: max-score-picker}
"""


class ExplainedQueue(Queue):
    """A queue whose picks are kept."""

    settings = DirectorSettings(
        holds=True, explained=10_000, trusted_headers=frozenset({"x-llm-d-inference-objective"})
    )

    def sheets(self) -> list[InputSheet]:
        """What is kept, in order."""
        ((log, _),) = self.directors.logs().values()
        assert log is not None
        return list(log.sheets())[::-1]

    def kept(self) -> list[PickInputs]:
        """All picks of it."""
        return [sheet.inputs(place) for sheet in self.sheets() for place in range(len(sheet))]


def test_what_waited_is_kept_once_and_is_explained_with_its_wait() -> None:
    queue = ExplainedQueue(endpoints=2)
    asked = [queue.ask() for _ in range(6)]
    queue.passes(20.0)
    assert all(each.verdicts for each in asked)
    kept = queue.kept()
    assert [each.kept.record for each in kept] == [each.decision.record for each in asked]
    assert replayed(kept, queue.config).same == 6
    told: Any = explanation(kept[-1], queue.config, lambda _: WALL)
    assert told["reproduced"] is True
    assert told["waited_seconds"] == asked[-1].decision.record.waited_seconds > 1.0  # type: ignore[union-attr]
    assert told["waited_for"] == "an endpoint with room for it"
    (stage,) = told["stages"]
    assert (stage["kind"], stage["before"]) == ("room", 2)
    assert 1 <= stage["after"] <= 2


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_waits_beside_others_and_is_kept_apart_is_placed_the_same_again(seed: int) -> None:
    queue, rng = ExplainedQueue(endpoints=4), random.Random(seed)
    asked = []
    for _ in range(60):
        name = rng.choice(["interactive", "interactive", "batch"])
        asked.append(queue.ask(rng.choice([200, LONG]), as_class(name)))
        queue.passes(rng.choice([0.0, 0.05, 0.5]))
        over = [each for each in asked if each.verdicts and rng.random() < 0.1]
        for each in over:
            asked.remove(each)
            queue.ends(each)
    queue.passes(60.0)
    kept = queue.kept()
    assert len(kept) == 60
    assert any(each.kept.protected.prefill_share for each in kept)
    assert replayed(kept, queue.config).same == 60
    read = [read_sheet(sheet_line(each, lambda _: WALL), "x:1", queue.config).sheet for each in queue.sheets()]
    again = replayed([each.inputs(place) for each in read for place in range(len(each))], queue.config)
    assert again.same == 60


def test_refusals_that_another_moment_may_take_back_push_no_pick_out() -> None:
    queue = ExplainedQueue()
    first, second = queue.ask(), queue.ask()
    queue.directors.configure(load_picker_config(NOWHERE, "nowhere.yaml"))
    queue.passes(10.0)
    assert not second.verdicts
    assert [each.kept.record for each in queue.kept()] == [first.decision.record]


def test_a_request_that_waited_in_vain_is_explained_with_its_wait() -> None:
    queue = ExplainedQueue(flow=FlowSettings(max_wait_seconds=1.5))
    queue.ask()
    queue.ask()
    waited = queue.ask()
    queue.passes(1.6)
    assert waited.verdicts
    assert len(queue.kept()) == 2, "it was never decided on"
    document: Any = explained(queue.directors.logs(), "id", lambda _: WALL)
    refused = document["picks"][0]
    assert refused["refused"] == {"reason": "waited", "status": 429}
    assert refused["waited_seconds"] == pytest.approx(1.5, abs=0.01)
    assert refused["winner"] is None
