"""An explanation of a pick, and what a replay says, as lines of text."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Final

from infscale.viewing.document_parts import Part
from infscale.viewing.words import OUTCOMES, UNKNOWN, Write, count, counted, number, percent, seconds, shown

_NUMBERS: Final[Sequence[tuple[str, str, Write]]] = (
    ("waiting", "waiting_requests", count),
    ("running", "running_requests", count),
    ("KV", "kv_cache_utilization_ratio", percent),
    ("in flight", "in_flight_requests", count),
    ("tokens", "in_flight_tokens", count),
    ("cached", "cached_tokens", count),
    ("age", "observed_age_seconds", seconds),
    ("TTFT", "time_to_first_token_seconds", seconds),
    ("TPOT", "time_per_output_token_seconds", seconds),
)
_MOVED_BY: Final = {
    "draining": "it drains",
    "gone": "it has left the pool",
    "not_ready": "it is not ready",
    "asleep": "it sleeps",
    "unknown_load": "its load is not known",
    "saturated": "it is saturated, and another is not",
    "filtered": "a filter, a screener or the gateway left it out",
    "outscored": "other scores counted more",
    "rerouted": "the gateway could not reach it",
}
_BEGINS_NUMBERS: Final = f"0123456789-{UNKNOWN}"


def explanation_lines(document: object) -> Iterator[str]:
    """The lines of what was found. Raises `DocumentError` where `document` is none."""
    for place, pick in enumerate(Part(document, "explanation").each("picks", _pick)):
        if place:
            yield ""
        yield from pick


def _pick(pick: Part) -> list[str]:
    model = shown(pick.text("model"))
    about = [f"model {model}" if model else "no model", *_tokens(pick)]
    lines = [
        f"request {shown(pick.text('request_id')) or 'without an id'} of pool {pick.text('pool')}, {', '.join(about)}",
        f"at {pick.text('time') or 'an unknown time'}, on revision {pick.text('pick')}"
        + (f", by configuration {digest}" if (digest := pick.text("configuration")) else ""),
    ]
    waited = pick.number("waited_seconds")
    if waited is not None:
        lines.append(f"waited {seconds(waited)} for {shown(pick.text('waited_for')) or 'its turn'}")
    if instead := shown(pick.text("fallback")):
        lines.append(f"came here {instead}")
    lines += [
        "",
        *_verdict(pick),
        *remote_lines(pick),
        *session_lines(pick),
        *_stages(pick),
        *_table(pick),
        *_outcome(pick),
    ]
    if pick.flag_or_none("reproduced") is False:
        lines += ["", "not made again: a stage reads what is not kept, so what it says here may not be what it said"]
    return lines


def _tokens(pick: Part) -> list[str]:
    prompt, output = pick.number("prompt_tokens"), pick.number("expected_output_tokens")
    tokens = [] if prompt is None else [f"{count(prompt)} prompt tokens"]
    if output:
        tokens.append(f"{count(output)} expected")
    return tokens


def _verdict(pick: Part) -> list[str]:
    refused, winner = pick.part("refused"), shown(pick.text("winner"))
    if refused is not None:
        return [f"refused with {refused.count('status')}: {refused.text('reason')}"]
    if not winner:
        return ["no endpoint was chosen"]
    lines = [f"went to {winner}" + _why(pick)]
    others = pick.texts("destinations")[1:]
    if others:
        lines.append(f"fallbacks for the gateway: {', '.join(map(shown, others))}")
    if pick.flag("load_unknown"):
        lines.append("the load of no endpoint was known: what was in flight decided")
    return lines


def remote_lines(pick: Part) -> list[str]:
    """Where stages of the request of `pick` are done elsewhere, a line each."""
    return list(pick.each("remote", _remote))


def _remote(stage: Part) -> str:
    places = stage.each("endpoints", lambda each: shown(each.text("endpoint") or each.text("authority")))
    return f"{shown(stage.text('stage'))} on {', '.join(places)}, chosen by profile {shown(stage.text('profile'))}"


def session_lines(pick: Part) -> list[str]:
    """What became of the sessions of the request of `pick`, a line each."""
    return list(pick.each("sessions", _session))


def _session(session: Part) -> str:
    was_at, outcome = shown(session.text("was_at")), session.text("outcome")
    since, reason = session.number("since_seconds"), session.text("reason") or ""
    there = (was_at or "an endpoint that is gone") + (f", there for {seconds(since)}" if since is not None else "")
    text = f"session by {shown(session.text('carried_by'))}: "
    if outcome == "kept":
        return f"{text}stayed on {there}"
    if outcome == "moved":
        return f"{text}moved from {there}: {_MOVED_BY.get(reason, shown(reason))}"
    if outcome == "new":
        return f"{text}a new one begins" + (f"; what was sent is worth nothing: {shown(reason)}" if reason else "")
    return f"{text}stays on {there}, while this request went elsewhere"


def _why(pick: Part) -> str:
    candidates = pick.each("candidates", lambda each: each.number("score"))
    behind, scores = pick.part("runner_up"), [each for each in candidates if each is not None]
    if not candidates:
        return f": any of {counted(pick.count('eligible'), 'endpoint')}, without scores"
    if behind is None:
        return ": the only candidate left"
    name, distance = shown(behind.text("endpoint")), behind.number("behind")
    if distance is None:
        return ""
    total = len(candidates) + pick.count("candidates_left_out")
    if distance > 0:
        return f": the best score of {total}, {number(scores[0])}; {name} is {number(distance)} behind"
    if distance == 0:
        return f": drawn among equals; {name} scores {number(scores[0])}, too"
    picker = shown(pick.text("picker"))
    return f": {picker} does not always take the best; {name} scores {number(-distance)} more"


def _stages(pick: Part) -> list[str]:
    endpoints = pick.count("endpoints")
    if not endpoints:
        return []
    lines = [f"{counted(endpoints, 'endpoint')}, {pick.count('eligible')} eligible"]
    rows = pick.each(
        "stages",
        lambda each: [
            each.text("kind"),
            shown(each.text("stage")),
            f"{each.count('before')} → {each.count('after')}",
            _dropped(each),
        ],
    )
    return ["", *lines, *_aligned(rows, "  ")]


def _dropped(stage: Part) -> str:
    names = stage.texts("dropped")
    if not names:
        return ""
    more = stage.count("before") - stage.count("after") - len(names)
    return f"without {', '.join(map(shown, names))}" + (f" and {more} more" if more > 0 else "")


def _table(pick: Part) -> list[str]:
    def row(each: Part) -> tuple[list[str], list[str]]:
        choice, score = each.count_or_none("choice"), each.number("score")
        scores = each.each("scores", lambda one: (_scorer(one), _score(one)))
        values = [(name, each.number(key), write) for name, key, write in _NUMBERS]
        cells = [
            "" if choice is None else str(choice),
            shown(each.text("endpoint")),
            UNKNOWN if score is None else number(score),
            *[score for _, score in scores],
            *[UNKNOWN if value is None else write(value) for _, value, write in values],
        ]
        return ["", "candidate", "score", *[name for name, _ in scores], *[name for name, _, _ in values]], cells

    rows = pick.each("candidates", row)
    if not rows:
        return []
    left_out = pick.count("candidates_left_out")
    more = [f"  and {counted(left_out, 'candidate')} with lower scores"] if left_out else []
    return ["", *_aligned([rows[0][0], *[cells for _, cells in rows]], "  "), *more]


def _scorer(score: Part) -> str:
    weight = score.number("weight")
    return f"{shown(score.text('scorer'))} × {UNKNOWN if weight is None else number(weight)}"


def _score(score: Part) -> str:
    raw = score.number("raw")
    return UNKNOWN if raw is None else number(raw)


def _outcome(pick: Part) -> list[str]:
    predicted, actual = pick.part("predicted"), pick.part("actual")
    lines = [""]
    if predicted is not None:
        first, each = (predicted.number(f"time_{name}_seconds") for name in ("to_first_token", "per_output_token"))
        lines.append(f"predicted: first token after {_seconds(first)}, {_seconds(each)} per token after it")
    if actual is None:
        return [*lines, *([] if pick.part("refused") else ["its answer has not ended, as far as is known"])]
    first, each = (actual.number(f"time_{name}_seconds") for name in ("to_first_byte", "per_output_token"))
    status, tokens = actual.count_or_none("status"), actual.count_or_none("completion_tokens")
    ended = OUTCOMES.get(actual.text("outcome"), "ended")
    if actual.text("evicted_for"):
        ended = f"evicted by {shown(actual.text('evicted_for'))}"
    words = [ended + ("" if status is None else f" with {status}")]
    if first is not None:
        words.append(f"first byte after {seconds(first)}")
    if each is not None:
        words.append(f"{seconds(each)} per token after it")
    if tokens is not None:
        words.append(counted(tokens, "token"))
    cached = actual.count_or_none("cached_tokens")
    if cached is not None:
        words.append(f"{cached} of the prompt cached")
    whole = actual.number("duration_seconds")
    if whole is not None:
        words.append(f"{seconds(whole)} in all")
    served = shown(actual.text("served"))
    return [*lines, f"actual: {', '.join(words)}" + (f"; answered by {served}" if served else "")]


def _seconds(value: float | None) -> str:
    return "an unknown time" if value is None else seconds(value)


def replay_lines(document: object) -> Iterator[str]:
    """The lines of what a replay came to. Raises `DocumentError` where `document` is none."""
    told = Part(document, "replay")
    decisions, same = told.count("decisions"), told.count("same_winner")
    other = decisions - same
    yield f"{counted(decisions, 'decision')} made again by configuration {told.text('configuration')}"
    if not decisions:
        return
    yield f"{counted(other, 'decision')} would have gone elsewhere ({percent(other / decisions)})"
    recorded = [each for each in told.texts("recorded_by") if each != told.text("configuration")]
    if recorded:
        yield f"recorded by configuration {', '.join(recorded)}"
    predicted = told.part("predicted_time_to_first_token_seconds")
    if predicted is not None and predicted.count("decisions"):
        before, after = (predicted.number(name) for name in ("before", "after"))
        yield f"predicted time to first token of what was chosen: {_seconds(before)} before, {_seconds(after)} after"
    refused = told.numbers_by_name("refused_after")
    if refused:
        yield f"refused: {', '.join(f'{times:.0f} as {shown(reason)}' for reason, times in refused.items())}"
    before_by, after_by = told.numbers_by_name("chosen_before"), told.numbers_by_name("chosen_after")
    rows = [
        [shown(name), count(before_by.get(name, 0.0)), count(after_by.get(name, 0.0))]
        for name in dict.fromkeys((*before_by, *after_by))
    ]
    yield ""
    yield from _aligned([["chosen", "before", "after"], *rows], "  ")
    examples = told.each(
        "examples",
        lambda each: [shown(each.text("request_id")), shown(each.text("before")), shown(each.text("after"))],
    )
    if examples:
        yield ""
        yield from _aligned([["request", "before", "after"], *examples], "  ")
    for note in told.texts("notes"):
        yield ""
        yield note


def _aligned(rows: Sequence[Sequence[str]], indent: str) -> list[str]:
    """Rows whose columns stand below each other: texts to the left, and columns of numbers to the right."""
    columns = list(zip_longest(*rows, fillvalue=""))
    lines = [""] * len(rows)
    for column in columns:
        width = max(map(len, column))
        to_right = all(not each or each[0] in _BEGINS_NUMBERS for each in column[1:])
        cells = [each.rjust(width) if to_right else each.ljust(width) for each in column]
        lines = [f"{line}  {cell}" for line, cell in zip(lines, cells, strict=True)]
    return [f"{indent}{line[2:]}".rstrip() for line in lines]
