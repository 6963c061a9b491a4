"""Why things are as they are: causes of unknown values, the last picks and why they were made, refusals."""

from typing import Final

from infscale.viewing.explained.stage_sections import stage_facts, stage_sections
from infscale.viewing.grid import (
    Cell,
    Column,
    Page,
    Row,
    Section,
    View,
    ViewKind,
    path_to,
    text_cell,
    unknown_cells,
    value_cell,
)
from infscale.viewing.seen_documents import PickSeen, RefusalSeen, Seen
from infscale.viewing.words import OUTCOMES, count, counted, number, seconds

PICKS_SHOWN: Final = 50
"""Of a view; the newest first."""
_WITHOUT_BODY: Final = "its request has no body that is read"


def explanation_page(seen: Seen, view: View, page: Page) -> Page:
    """Why `page`, which is that of `view`, says what it says."""
    picks = _picks(seen, view)
    sections = (
        Section("unknown values", _CAUSE_COLUMNS, _causes(page), "every value is known and fresh"),
        Section("last picks", _PICK_COLUMNS, tuple(map(_pick_row, picks[:PICKS_SHOWN])), _no_picks(seen)),
        Section("refused requests", _REFUSAL_COLUMNS, _refusals(seen, view), "none since the start"),
    )
    return Page((*page.path, ("why", view)), page.facts, sections)


_CAUSE_COLUMNS: Final = (
    Column("of", right=False),
    Column("values", right=False, wraps=True),
    Column("why", right=False, wraps=True),
)


def _causes(page: Page) -> tuple[Row, ...]:
    """A row for each cause and the values that lack for it; of many rows of `page` the first is named."""
    lacking: dict[tuple[str, str], list[str]] = {}
    for (section, row, column), cause in unknown_cells(page).items():
        of, value = (row, column) if column != "now" else (section, row)
        values = lacking.setdefault((of, cause), [])
        if value not in values:
            values.append(value)
    alike: dict[tuple[str, str], list[str]] = {}
    for (of, cause), values in lacking.items():
        alike.setdefault((", ".join(values), cause), []).append(of)
    return tuple(
        Row(f"{values} {cause}", (text_cell(_first_of(names)), text_cell(values), text_cell(cause)))
        for (values, cause), names in alike.items()
    )


def _first_of(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


_PICK_COLUMNS: Final = (
    Column("time", right=False),
    Column("model", right=False, spare=1),
    Column("endpoint", right=False),
    Column("score"),
    Column("of", spare=2),
    Column("values"),
    Column("took", spare=3),
)


def _picks(seen: Seen, view: View) -> list[PickSeen]:
    """Those that `view` is about."""
    picks = [each for each in seen.picks or () if view.pool in ("", each.pool)]
    match view.kind:
        case ViewKind.ENDPOINT:
            return [each for each in picks if any(name == view.name for name, _ in each.destinations)]
        case ViewKind.MODEL:
            return [each for each in picks if each.model == view.name]
        case ViewKind.AUTOSCALER | ViewKind.TRIGGER:
            return []
        case _:
            return picks


def _no_picks(seen: Seen) -> str:
    if not seen.picks_asked:
        return "asking …"
    return "this process has no picker" if seen.picks is None else "there is none of it among the last picks"


def _pick_row(pick: PickSeen) -> Row:
    key = _key(pick)
    age = "nothing that was observed was used"
    cells = (
        text_cell(_time(pick)),
        text_cell(pick.model),
        text_cell(_chosen(pick)),
        value_cell(pick.score, number, _WITHOUT_BODY),
        Cell(str(pick.candidates), pick.candidates),
        value_cell(pick.observed_age_seconds, lambda value: f"{seconds(value)} old", age),
        value_cell(pick.decision_seconds, _microseconds, "it was not measured"),
    )
    return Row(key, cells, View(ViewKind.PICK, pick.pool, key))


def _time(pick: PickSeen) -> str:
    """That of the day, of a time as ISO 8601 writes it."""
    return pick.time[11:23] or pick.time


def _microseconds(value: float) -> str:
    return f"{value * 1e6:.0f} µs" if value < 0.001 else seconds(value)


def _key(pick: PickSeen) -> str:
    return f"{pick.revision} {pick.request_id}"


def _chosen(pick: PickSeen) -> str:
    if not pick.destinations:
        return ""
    name, authority = pick.destinations[0]
    return name or authority


_REFUSAL_COLUMNS: Final = (
    Column("pool", right=False),
    Column("reason", right=False),
    Column("status"),
    Column("requests"),
)


def _refusals(seen: Seen, view: View) -> tuple[Row, ...]:
    return tuple(_refusal_row(each) for each in seen.refusals if view.pool in ("", each.pool))


def _refusal_row(refusal: RefusalSeen) -> Row:
    cells = (
        text_cell(refusal.pool or "no pool found"),
        text_cell(refusal.reason),
        Cell(str(refusal.status), refusal.status),
        Cell(count(refusal.requests), refusal.requests),
    )
    return Row(f"{refusal.pool} {refusal.reason} {refusal.status}", cells)


# One pick


def pick_page(seen: Seen, view: View) -> Page | None:
    """The page of one decision; None where it is not among the last ones any more."""
    pick = next((each for each in seen.picks or () if _key(each) == view.name and each.pool == view.pool), None)
    if pick is None:
        return None
    names = _names(seen, pick)
    of_pick = (each for each in seen.explained if (each.pick, each.request_id) == (pick.revision, pick.request_id))
    stages = next(of_pick, None)
    facts = [
        f"request {pick.request_id or 'without an id'}, model {pick.model or 'not read'}, at {pick.time}",
        f"it went to {_chosen(pick)}: {why_chosen(pick, names)}",
        f"decided on revision {pick.revision}"
        + ("" if pick.decision_seconds is None else f" in {_microseconds(pick.decision_seconds)}")
        + ("" if pick.charged_tokens is None else f", charged {count(pick.charged_tokens)} tokens"),
        *how_it_went(pick),
        *([] if stages is None else stage_facts(stages)),
        f"the same in a terminal: infscale explain {pick.revision}",
    ]
    destinations = tuple(
        Row(str(place), (Cell(str(place + 1), -place), text_cell(name or "has left its pool"), text_cell(authority)))
        for place, (name, authority) in enumerate(pick.destinations)
    )
    sections = (
        Section("destinations", _DESTINATION_COLUMNS, destinations),
        *((_scores_alone(pick, names),) if stages is None else stage_sections(stages)),
    )
    path = (*path_to(view)[:-1], (f"pick at {_time(pick)}", view))
    return Page(path, tuple(facts), sections)


def _scores_alone(pick: PickSeen, names: dict[str, str]) -> Section:
    """What is known of scores where the stages are not."""
    rows = tuple(
        Row(authority, (text_cell(names.get(authority, authority)), Cell(number(score), score)))
        for authority, score in sorted(pick.scores.items(), key=lambda item: -item[1])
    )
    return Section("scores", _SCORE_COLUMNS, rows, "not kept: picker.emit_endpoint_scores keeps those of candidates")


def how_it_went(pick: PickSeen) -> list[str]:
    """What came before and after a decision, as far as it is known: a wait in a queue, and the answer."""
    lines: list[str] = []
    if pick.waited_seconds is not None:
        lines.append(f"before that it waited {seconds(pick.waited_seconds)} for {pick.waited_for or 'its turn'}")
    if pick.fallback:
        lines.append(f"it came here {pick.fallback}")
    end = pick.end
    if end is None:
        return lines
    words = [f"it {OUTCOMES.get(end.outcome, 'ended')}" + ("" if end.status is None else f" with {end.status}")]
    if end.first_byte_seconds is not None:
        words.append(f"the first byte came after {seconds(end.first_byte_seconds)}")
    if end.seconds_per_output_token is not None:
        words.append(f"{seconds(end.seconds_per_output_token)} per token after it")
    if end.duration_seconds is not None:
        words.append(f"{seconds(end.duration_seconds)} in all")
    return [*lines, ", ".join(words)]


_DESTINATION_COLUMNS: Final = (
    Column("choice", right=False),
    Column("endpoint", right=False),
    Column("address", right=False),
)
_SCORE_COLUMNS: Final = (Column("endpoint", right=False), Column("score"))


def _names(seen: Seen, pick: PickSeen) -> dict[str, str]:
    """Endpoints by their addresses: of the pool as it is, and of the pick."""
    pool = seen.pool(pick.pool)
    names = {} if pool is None else {each.authority: each.name for each in pool.endpoints}
    return names | {authority: name for name, authority in pick.destinations if name}


def why_chosen(pick: PickSeen, names: dict[str, str]) -> str:
    """Why a pick's first choice is that, as far as it was kept."""
    words = [_by_score(pick, names)]
    if pick.observed_age_seconds is not None:
        words.append(f"its values were {seconds(pick.observed_age_seconds)} old")
    elif pick.score is not None:
        words.append("its load was not known: what is in flight decided")
    return "; ".join(words)


def _by_score(pick: PickSeen, names: dict[str, str]) -> str:
    if pick.candidates == 1:
        return "it was the only candidate"
    among = f"of {counted(pick.candidates, 'candidate')}"
    if pick.score is None:
        return f"one {among}, without scores, because {_WITHOUT_BODY}"
    chosen = pick.destinations[0][1] if pick.destinations else ""
    others = {each: score for each, score in pick.scores.items() if each != chosen}
    if not others:
        return f"it scored {number(pick.score)} {among}"
    best = max(others, key=lambda each: others[each])
    name, score = names.get(best, best), number(others[best])
    if pick.score > others[best]:
        return f"it had the best score {among}, {number(pick.score)}; {name} comes next with {score}"
    if pick.score == others[best]:
        return f"it had the best score {among}, {number(pick.score)}, as {name} had: one of them is drawn"
    return (
        f"it scored {number(pick.score)} {among}, {name} {score}: the configured picker does not always take the best"
    )
