"""How long a decision took is counted, also of refusals, and stays with the record of a pick."""

import itertools

import pytest

from picker.directing.watching.observed_director import DECISION_BOUNDS, ObservedDirector
from picker.pick_record import PickRecord
from picker.request import Decision, Headers, InferenceRequest, Outcome, PromptDirector, Reason, Rejection, Verdict
from tests.fakes.director import FakeDirector

REQUEST = InferenceRequest("id", "/v1/models", Headers(()), None)


class Deciding(FakeDirector):
    """Decides at once, with a record."""

    def direct(self, request: InferenceRequest, now: float) -> Verdict:
        if self.rejection is not None:
            return self.rejection
        record = PickRecord("id", "", "store.1", now, ("10.0.0.1:8000",), 1)
        decision = Decision(("10.0.0.1:8000",), "", "store.1", record=record)
        self.decisions.append(decision)
        return decision


def observed(behind: PromptDirector, seconds: float) -> ObservedDirector:
    """One whose clock advances by so many seconds during each decision."""
    times = itertools.count()
    return ObservedDirector(behind, lambda: next(times) * seconds)


def test_a_decision_s_duration_is_counted_and_recorded() -> None:
    behind = Deciding()
    director = observed(behind, 0.0003)
    decision = director.direct(REQUEST, 1.0)
    assert isinstance(decision, Decision)
    assert decision.record is not None
    assert decision.record.seconds == pytest.approx(0.0003)
    assert director.durations.total == pytest.approx(0.0003)
    assert list(DECISION_BOUNDS) == sorted(DECISION_BOUNDS)


def test_a_refusal_s_duration_is_counted_and_what_follows_is_passed_on() -> None:
    refusal = Rejection("ServiceUnavailable", "none", Reason.NO_ENDPOINTS)
    behind = Deciding(rejection=refusal)
    director = observed(behind, 0.001)
    assert director.direct(REQUEST, 1.0) is refusal
    director.refused(REQUEST.headers, None, refusal)
    behind.rejection = None
    decision = director.direct(REQUEST, 2.0)
    assert isinstance(decision, Decision)
    assert director.response_started(decision, 200, None, 2.1) is decision
    director.finished(REQUEST, decision, Outcome("completed", 200), 2.2)
    director.overheard(Outcome("completed"))
    assert behind.refusals == [refusal]
    assert (behind.started, behind.open, len(behind.heard)) == ([200], 0, 1)
    assert director.durations.total == pytest.approx(0.002)
