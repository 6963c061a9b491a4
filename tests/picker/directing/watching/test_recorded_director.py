"""Each request with a prompt is told of once, when it is over, without what it says."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import ObjectKey
from infscale.recording.recorded_request import RecordedRequest
from picker.directing.watching import recorded_director
from picker.directing.watching.recorded_director import RecordedDirector
from picker.pick_record import PickRecord
from picker.request import Decision, Headers, InferenceRequest, Outcome, ParsedBody, Reason, Rejection, Verdict
from tests.fakes.director import FakeDirector

POOL = ObjectKey("llm", "chat")
SECRET = b"a secret prompt"
BODY = ParsedBody("completions", "client-name", SECRET, 4, 100, "salt")


class Notes:
    """Keeps what it is told of, and the prompts that it was to tell apart."""

    def __init__(self) -> None:
        self.kept: list[RecordedRequest] = []
        self.told_apart: list[tuple[str, bytes]] = []

    def prefixes(self, root: str, prompt: bytes) -> tuple[int, ...]:
        self.told_apart.append((root, prompt))
        return (len(self.told_apart),)

    def keep(self, request: RecordedRequest) -> None:
        self.kept.append(request)


class Named:
    """Adapters of one pool, by name."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    def is_lora(self, pool: ObjectKey, model: str) -> bool:
        return pool == POOL and model in self.names


class Deciding(FakeDirector):
    """Decides with a record, for a model of another name."""

    def direct(self, request: InferenceRequest, now: float) -> Verdict:
        if self.rejection is not None:
            return self.rejection
        record = PickRecord(request.request_id, "", "store.1", now, ("10.0.0.1:8000",), 1)
        decision = Decision(("10.0.0.1:8000",), "served-name", "store.1", priority=-2, pool=POOL, record=record)
        self.decisions.append(decision)
        return decision


def asking(body: ParsedBody | None = BODY, name: str = "id") -> InferenceRequest:
    return InferenceRequest(name, "/v1/completions", Headers(()), body)


def decided(director: RecordedDirector, request: InferenceRequest, now: float) -> Decision:
    verdict = director.direct(request, now)
    assert isinstance(verdict, Decision)
    return verdict


def test_a_request_is_kept_when_it_ends_with_what_is_known_by_then() -> None:
    notes, behind = Notes(), Deciding()
    director = RecordedDirector(behind, notes, Named())
    decision = decided(director, asking(), 5.0)
    assert director.response_started(decision, 200, None, 5.5) is decision
    assert notes.kept == []
    # The gateway went on to another endpoint: a new decision with the same record.
    director.finished(
        asking(), replace(decision, destinations=("10.0.0.2:8000",)), Outcome("completed", 200, 6, 30), 9.0
    )
    assert notes.kept == [RecordedRequest(5.0, "served-name", -2, 6, 30, 100, (1,), "completed", 200)]
    assert notes.told_apart == [("11:served-namesalt", SECRET)]
    assert (behind.started, behind.open) == ([200], 0)


def test_without_response_bodies_the_prompt_s_length_is_the_parser_s_and_the_answer_s_unknown() -> None:
    notes = Notes()
    director = RecordedDirector(Deciding(), notes, Named())
    director.finished(asking(), decided(director, asking(), 1.0), Outcome("aborted"), 2.0)
    (kept,) = notes.kept
    assert (kept.prompt_tokens, kept.output_tokens, kept.end, kept.status) == (4, None, "aborted", None)


def test_a_refused_request_is_kept_at_once() -> None:
    notes, refusal = Notes(), Rejection("ResourceExhausted", "full", Reason.SATURATED)
    behind = Deciding(rejection=refusal)
    director = RecordedDirector(behind, notes, Named())
    assert director.direct(asking(), 3.0) is refusal
    director.refused(Headers(()), BODY, refusal)
    assert notes.kept == [RecordedRequest(3.0, "client-name", 0, 4, None, 100, (1,), "refused", 429)]
    assert behind.refusals == [refusal]


def test_a_lora_adapter_is_told_from_a_base_model_by_what_is_known_at_the_end() -> None:
    """It may have been loaded for this very request; a client's name of what is not served is never one."""
    notes, known = Notes(), Named()
    director = RecordedDirector(Deciding(), notes, known)
    decision = decided(director, asking(), 1.0)
    known.names.add("served-name")
    director.finished(asking(), decision, Outcome("completed", 200), 2.0)
    known.names = {"client-name"}
    director.finished(asking(), decided(director, asking(), 3.0), Outcome("completed", 200), 4.0)
    assert [(kept.model, kept.lora) for kept in notes.kept] == [("served-name", True), ("served-name", False)]


@pytest.mark.parametrize(
    "body", [None, ParsedBody("opaque", "", b"", 0), ParsedBody("embeddings", "m", b"text", 1, generates=False)]
)
def test_what_generates_nothing_is_not_kept(body: ParsedBody | None) -> None:
    notes = Notes()
    director = RecordedDirector(Deciding(), notes, Named())
    director.finished(asking(body), decided(director, asking(body), 1.0), Outcome("completed", 200), 2.0)
    assert (notes.kept, notes.told_apart) == ([], [])


def test_of_too_many_at_a_time_the_rest_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded_director, "_MOST_OPEN", 2)
    notes = Notes()
    director = RecordedDirector(Deciding(), notes, Named())
    decisions = [decided(director, asking(name=str(number)), float(number)) for number in range(3)]
    for decision in decisions:
        director.finished(asking(), decision, Outcome("completed", 200), 9.0)
    assert [kept.at_seconds for kept in notes.kept] == [0.0, 1.0]
    director.finished(asking(), decided(director, asking(), 10.0), Outcome("completed", 200), 11.0)
    assert len(notes.kept) == 3


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40))
def test_every_request_is_kept_exactly_once_in_whatever_order_they_end(steps: list[tuple[int, bool]]) -> None:
    notes = Notes()
    director = RecordedDirector(Deciding(), notes, Named())
    under_way: dict[int, Decision] = {}
    arrived: list[float] = []
    for number, (slot, ends) in enumerate(steps):
        if ends and slot in under_way:
            director.finished(asking(), under_way.pop(slot), Outcome("completed", 200), float(number))
        elif slot not in under_way:
            under_way[slot] = decided(director, asking(), float(number))
            arrived.append(float(number))
    for decision in under_way.values():
        director.finished(asking(), decision, Outcome("aborted"), 1000.0)
    assert sorted(kept.at_seconds for kept in notes.kept) == arrived


def test_what_is_kept_has_no_place_for_content() -> None:
    assert {each.name for each in fields(RecordedRequest)} == {
        *(
            "at_seconds",
            "model",
            "priority",
            "prompt_tokens",
            "output_tokens",
            "limit",
            "prefixes",
            "end",
            "status",
            "lora",
        ),
    }
