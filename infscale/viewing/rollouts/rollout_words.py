"""A rollout as lines of text."""

from collections.abc import Iterator
from typing import Final

from infscale.viewing.document_parts import Part
from infscale.viewing.words import UNKNOWN, count, percent, seconds, shown

_METRICS: Final = ("errors", "time_to_first_token", "time_per_output_token", "duration")


def rollout_lines(document: object) -> Iterator[str]:
    """The lines of one rollout's document. Raises `DocumentError` where it is none."""
    rollout = Part(document, "rollout")
    revision = shown(rollout.text("revision"))
    yield f"{shown(rollout.text('rollout'))}{f' (revision {revision})' if revision else ''}: {phase_words(rollout)}"
    model = shown(rollout.text("model"))
    yield f"  requests      {f'for {model}' if model else 'all'} of pool {shown(rollout.text('pool'))}"
    yield f"  old to new    {_version(rollout.part('old'))} to {_version(rollout.part('new'))}"
    yield f"  weight        {percent(rollout.number('weight_ratio') or 0.0)} to the new version, {step_words(rollout)}"
    sent = rollout.part("sent")
    if sent is not None:
        fallbacks = rollout.count("fallbacks")
        fell = f"; {count(fallbacks)} had the other version for want of endpoints" if fallbacks else ""
        yield f"  sent          {count(sent.count('old'))} old, {count(sent.count('new'))} new{fell}"
    yield f"  test          {test_words(rollout)}"


def phase_words(rollout: Part) -> str:
    """Its phase, and why."""
    reason = shown(rollout.text("reason"))
    return rollout.text("phase") + (f", {reason}" if reason else "")


def step_words(rollout: Part) -> str:
    """How far its step is."""
    words = [f"step {rollout.count('step')} of {rollout.count('steps')}"]
    wanted = rollout.number("step_wants_seconds")
    if wanted:
        words.append(f"{seconds(rollout.number('step_seconds') or 0.0)} of {seconds(wanted)}")
    requests = rollout.count("step_wants_requests")
    if requests:
        words.append(f"{count(rollout.count('step_requests'))} of {count(requests)} requests")
    return ", ".join(words)


def test_words(rollout: Part) -> str:
    """What its test says."""
    ratio = rollout.number("evidence_ratio")
    if ratio is None:
        return "none"
    alarm = shown(rollout.text("alarm"))
    words = [f"alarm, {alarm}" if alarm else f"evidence {ratio:.2g} of 1"]
    tested, failed = rollout.part("tested"), rollout.part("failed")
    if tested is not None and failed is not None:
        words += [
            f"{side} {count(failed.count(side))} of {count(tested.count(side))} failed" for side in ("old", "new")
        ]
    evidence = rollout.part("evidence")
    if evidence is not None:
        found = [(name.replace("_", " "), evidence.number(name)) for name in _METRICS]
        told = [f"{name} {value:.2g}" for name, value in found if value is not None]
        words.append(f"by metric: {', '.join(told)}")
    return "; ".join(words)


def _version(version: Part | None) -> str:
    if version is None:
        return UNKNOWN
    model, pool, labels = shown(version.text("model")), shown(version.text("pool")), version.texts_by_name("labels")
    words = [f"model {model}"] if model else []
    words += [f"pool {pool}"] if pool else []
    words += [f"pods {shown(key)}={shown(value)}" for key, value in labels.items()]
    return ", ".join(words) or "what is there"
