"""Requests as the file of explained picks has them (`picker.explaining.sheet_form`), to be played again in simulation.

Of a pick is used when its request came, for which model and with which priority, how long prompt and answer were, and
how it ended. What it was decided from is for making the decision again. Of prompts a pick has lengths alone, so that
requests share nothing.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from infscale.errors import ConfigError
from infscale.recording.recorded_request import RecordedRequest

PICKS_KEY: Final = "infscale_picks"
PICKS_VERSION: Final = 3

# Places in the list that a pick is.
_RECORD, _REQUEST, _NOW, _ADAPTERS = 0, 1, 4, 15
_MODEL, _END, _REFUSED, _STATUS, _WAITED = 1, 9, 10, 11, 12
_PROMPT_TOKENS, _PRIORITY = 2, 4
_OUTCOME, _OUTCOME_STATUS, _SAID_PROMPT, _SAID_OUTPUT = 0, 1, 5, 6


def recorded_picks(row: dict[str, Any], place: str) -> Iterator[RecordedRequest]:
    """The requests of one line, at Unix seconds. Raises `ConfigError` that names `place` where it is no such line."""
    if row.get(PICKS_KEY) != PICKS_VERSION:
        raise ConfigError(place, PICKS_KEY, f"expected {PICKS_VERSION}, which this program reads")
    try:
        last, at = row["last"]
        wall = 0.0 if at is None else datetime.fromisoformat(at).timestamp() - float(last)
        found = [_request(each, wall) for each in row["picks"]]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ConfigError(place, "", "the line is incomplete, or was changed") from error
    yield from found


def _request(pick: list[Any], wall: float) -> RecordedRequest:
    record, request, end = pick[_RECORD], pick[_REQUEST], pick[_RECORD][_END]
    outcome, status, prompt, output = "completed", None, None, None
    if end is not None:
        outcome, status, prompt, output = (
            end[each] for each in (_OUTCOME, _OUTCOME_STATUS, _SAID_PROMPT, _SAID_OUTPUT)
        )
    elif record[_REFUSED] is not None:
        outcome, status = "refused", record[_STATUS]
    return RecordedRequest(
        wall + float(pick[_NOW]) - float(record[_WAITED] or 0.0),
        str(record[_MODEL]),
        int(request[_PRIORITY]),
        int(prompt or request[_PROMPT_TOKENS]),
        None if output is None else int(output),
        None,
        (),
        str(outcome),
        None if status is None else int(status),
        lora=bool(pick[_ADAPTERS]),
    )
