"""A director that sends everything to fixed destinations and remembers what it was told."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from picker.recall import Recall
from picker.request import Decision, Headers, Held, InferenceRequest, Outcome, ParsedBody, Rejection, Verdict


@dataclass
class FakeDirector:
    """Routes to `destinations` (as `target_model` if given) unless `rejection` is set; fails where it is told to.

    With `hold` requests wait until `let_go`; where they are `sheddable`, they can be taken back.
    """

    destinations: tuple[str, ...] = ("10.0.0.1:8000", "10.0.0.2:8000")
    target_model: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    rejection: Rejection | None = None
    crash_on: str | None = None
    hold: bool = False
    sheddable: bool = False
    held: list[tuple[InferenceRequest, Held]] = field(default_factory=list[tuple[InferenceRequest, Held]])
    given_up: int = 0
    requests: list[InferenceRequest] = field(default_factory=list[InferenceRequest])
    decisions: list[Decision] = field(default_factory=list[Decision])
    heard: list[Outcome] = field(default_factory=list[Outcome])
    refusals: list[Rejection] = field(default_factory=list[Rejection])
    started: list[int | None] = field(default_factory=list[int | None])
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    finished_decisions: list[Decision] = field(default_factory=list[Decision])

    def direct(self, request: InferenceRequest, now: float) -> Verdict | Held:
        self._maybe_crash("direct")
        self.requests.append(request)
        if self.hold:
            held = Held(self._given_up)
            self.held.append((request, held))
            return held
        return self._verdict(request)

    def let_go(self) -> bool:
        """Decide the request that waited longest; whether there was one."""
        while self.held:
            request, held = self.held.pop(0)
            if held.waiting:
                held.resolve(self._verdict(request))
                return True
        return False

    def evict(self, rejection: Rejection) -> bool:
        """Take the last request back, if it is under way; whether it was."""
        recall = self.decisions[-1].recall if self.decisions else None
        return recall is not None and recall.revoke(rejection, "another")

    def _given_up(self) -> None:
        self.given_up += 1

    def _verdict(self, request: InferenceRequest) -> Verdict:
        if self.rejection is not None:
            return self.rejection
        model = request.body.model if request.body else ""
        recall = Recall() if self.sheddable else None
        decision = Decision(self.destinations, self.target_model or model, "store.1", scores=self.scores, recall=recall)
        self.decisions.append(decision)
        return decision

    def refused(self, headers: Headers, body: ParsedBody | None, rejection: Rejection) -> None:
        self.refusals.append(rejection)

    def response_started(self, decision: Decision, status: int | None, served: str | None, now: float) -> Decision:
        self._maybe_crash("response_started")
        self.started.append(status)
        return decision

    def finished(self, request: InferenceRequest, decision: Decision, outcome: Outcome, now: float) -> None:
        self.outcomes.append(outcome)
        self.finished_decisions.append(decision)

    def overheard(self, outcome: Outcome) -> None:
        self.heard.append(outcome)

    @property
    def open(self) -> int:
        """Decisions whose end it was not told."""
        return len(self.decisions) - len(self.outcomes)

    @property
    def outcome(self) -> Outcome:
        """The one outcome there is."""
        assert len(self.outcomes) == 1, self.outcomes
        return self.outcomes[0]

    def _maybe_crash(self, call: str) -> None:
        if call == self.crash_on:
            raise KeyError("a secret prompt")
