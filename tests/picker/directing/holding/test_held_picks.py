"""Requests that waited are explained with their wait, and asking again and again about what waits is not kept."""

from datetime import UTC, datetime
from typing import Any

import pytest

from picker.directing.director_books import DirectorSettings
from picker.directing.holding.pool_flow import FlowSettings
from picker.epp_config.loader import load_picker_config
from picker.explaining.explanation import explanation
from picker.explaining.finding import explained
from picker.explaining.pick_inputs import PickInputs
from picker.explaining.replaying import replayed
from tests.picker.directing.holding.test_flow_director import Queue

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

    settings = DirectorSettings(holds=True, explained=10_000)

    def kept(self) -> list[PickInputs]:
        """All that is kept, in order."""
        ((log, _),) = self.directors.logs().values()
        assert log is not None
        return [sheet.inputs(place) for sheet in reversed(list(log.sheets())) for place in range(len(sheet))]


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


def test_refusals_that_another_moment_may_take_back_push_no_pick_out() -> None:
    queue = ExplainedQueue()
    first, second = queue.ask(), queue.ask()
    queue.directors.configure(load_picker_config(NOWHERE, "nowhere.yaml"))
    queue.passes(10.0)
    assert not second.verdicts
    assert [each.kept.record for each in queue.kept()] == [first.decision.record]


def test_a_request_that_waited_in_vain_is_explained_with_its_wait() -> None:
    queue = ExplainedQueue(flow=FlowSettings(max_wait_seconds=0.5))
    queue.ask()
    waited = queue.ask()
    queue.passes(0.6)
    assert waited.verdicts
    assert len(queue.kept()) == 1
    document: Any = explained(queue.directors.logs(), "id", lambda _: WALL)
    refused = document["picks"][0]
    assert refused["refused"] == {"reason": "waited", "status": 429}
    assert refused["waited_seconds"] == pytest.approx(0.5, abs=0.01)
    assert refused["winner"] is None
