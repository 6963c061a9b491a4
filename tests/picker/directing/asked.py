"""A request to a director that may have it wait, and all that was said to it."""

from dataclasses import dataclass, field

from picker.request import Decision, Held, InferenceRequest, Rejection, Verdict


@dataclass
class Asked:
    request: InferenceRequest
    held: Held | None = None
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    evicted: list[Rejection] = field(default_factory=list[Rejection])

    @property
    def waits(self) -> bool:
        return not self.verdicts

    @property
    def decision(self) -> Decision:
        (verdict,) = self.verdicts
        assert isinstance(verdict, Decision)
        return verdict

    @property
    def rejection(self) -> Rejection:
        (verdict,) = self.verdicts
        assert isinstance(verdict, Rejection)
        return verdict
