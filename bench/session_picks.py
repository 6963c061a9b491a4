"""What picks of sessions cost: ``python -m bench.session_picks``.

One director without sessions and one for each way to carry them decide about the same requests in turns, in one process
and within the same second. Requests are of 31 sessions, whose prompts share their first halves; each sends what it was
told last.
"""

import random
import statistics
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from bench.pick_records import WARMING_TURNS, Side, requests
from infscale.process.garbage import spare_collections
from picker.directing.director_books import DirectorSettings
from picker.epp_config.loader import PickerConfig, load_picker_config
from picker.request import Decision, Headers, InferenceRequest
from picker.sessions.session_tokens import TokenKeys

_SETTINGS: Final = DirectorSettings(wall=lambda: datetime.now(UTC).timestamp())
_SESSIONS: Final = 31
_HEADER: Final = "x-infscale-session"
_BASE: Final = """\
apiVersion: llm-d.ai/v1
kind: EndpointPickerConfig
plugins:
"""
_PLACED: Final = "- {type: marginal-cost-scorer}\n- {type: max-score-picker}\n"
_SIGNED: Final = f"""\
- type: session-affinity-filter
  parameters: {{strategy: signed_token, signedTokenConfig: {{keys: keys, header: {_HEADER}}}}}
"""
_BY_ID: Final = f"""\
- type: session-affinity-filter
  parameters: {{strategy: session_id, sessionIdConfig: {{sources: [{{header: {_HEADER}}}]}}}}
"""
_ENCODED: Final = f"""\
- type: session-affinity-filter
  parameters: {{encodedEndpointHeaderConfig: {{header: {_HEADER}}}}}
"""


class _Chats(Side):
    """Requests of sessions; with `answers` each sends what its last answer told it, else its own name."""

    def __init__(self, config: PickerConfig, endpoints: int, *, answers: bool) -> None:
        super().__init__(config, endpoints, _SETTINGS)
        self._answers = answers
        self._headers = {each: Headers(((_HEADER, f"session {each}".encode()),)) for each in range(_SESSIONS)}
        if answers:
            self._headers = dict.fromkeys(range(_SESSIONS), Headers(()))

    def asked(self, request: InferenceRequest) -> InferenceRequest:
        """`request` as one of its session."""
        return InferenceRequest(request.request_id, request.path, self._headers[_session(request)], request.body)

    def told(self, request: InferenceRequest, decision: Decision) -> None:
        """See `Side`."""
        if self._answers:
            self._headers[_session(request)] = Headers(decision.response_headers)


def _session(request: InferenceRequest) -> int:
    return int(request.request_id.rpartition("-")[2]) // 8 % _SESSIONS


def _sides(endpoints: int) -> dict[str, Side]:
    keys = {"keys": TokenKeys([random.Random(each).randbytes(32) for each in range(2)])}

    def config(sessions: str) -> PickerConfig:
        return replace(load_picker_config(_BASE + sessions + _PLACED, "bench"), session_keys=keys)

    return {
        "without sessions": Side(config(""), endpoints, _SETTINGS),
        "a session's id": _Chats(config(_BY_ID), endpoints, answers=False),
        "the endpoint in a header": _Chats(config(_ENCODED), endpoints, answers=True),
        "a token made": _Chats(config(_SIGNED), endpoints, answers=False),
        "a token read and made": _Chats(config(_SIGNED), endpoints, answers=True),
    }


def main() -> None:
    """Print a line per number of endpoints and way to carry sessions."""
    spare_collections()
    for endpoints in map(int, sys.argv[1:] or ("20", "100")):
        sides = _sides(endpoints)
        spent: dict[str, list[float]] = {name: [] for name in sides}
        for turn, asked in enumerate(requests()):
            for name, side in sides.items() if turn % 2 else reversed(sides.items()):
                seconds = side.decide(asked)
                if turn >= WARMING_TURNS:
                    spent[name].append(seconds)
        without = statistics.median(spent["without sessions"])
        for name, seconds in spent.items():
            microseconds = statistics.median(seconds) * 1e6
            print(f"{endpoints} endpoints, {name}: {microseconds:.1f} µs, {microseconds - without * 1e6:+.1f} µs")


if __name__ == "__main__":
    main()
