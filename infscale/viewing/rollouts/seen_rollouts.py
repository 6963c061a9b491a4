"""Rollouts as a document tells of them."""

from dataclasses import dataclass

from infscale.viewing.document_parts import Part
from infscale.viewing.rollouts.rollout_words import step_words


@dataclass(frozen=True, slots=True)
class RolloutSeen:
    """One rollout. `step` says how far its step is; `evidence_ratio` is at 1 where there is an alarm, None: no test."""

    name: str
    pool: str
    model: str
    phase: str
    reason: str
    weight_ratio: float | None
    step: str
    sent_old: int
    sent_new: int
    evidence_ratio: float | None


def rollout_seen(part: Part) -> RolloutSeen:
    """What a rollout's document says. Raises `DocumentError`."""
    sent = part.part("sent")
    return RolloutSeen(
        part.text("rollout"),
        part.text("pool"),
        part.text("model"),
        part.text("phase"),
        part.text("reason"),
        part.number("weight_ratio"),
        step_words(part),
        0 if sent is None else sent.count("old"),
        0 if sent is None else sent.count("new"),
        part.number("evidence_ratio"),
    )
