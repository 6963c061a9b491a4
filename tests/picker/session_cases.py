"""The reference's cases of session affinity, step by step: requests whose headers say what answers before them did."""

from collections.abc import Generator, Iterable
from typing import Any

from picker.proto import ext_proc_pb2 as pb
from tests.picker.vector_pool import CASES, Case

Told = dict[str, str]
"""The headers that answers to one request set, as "request NAME" and "response NAME"."""

_BY_NAME = {each["name"]: each for each in CASES if each["source"] == "session_affinity"}
_FILTER = _BY_NAME["session-affinity-filter request flow"]
_DECODE_ONLY = _BY_NAME["P/D session affinity: decode-only emits no prefill token"]


def _as_scorer(case: Case) -> Case:
    """The same flow with the scorer in place of the filter."""
    plugins = [{"type": "openai-parser"}, {"type": "queue-scorer"}, {"type": "session-affinity-scorer"}]
    profile = [{"pluginRef": "queue-scorer"}, {"pluginRef": "session-affinity-scorer", "weight": 10}]
    config = {**case["config"], "plugins": plugins, "schedulingProfiles": [{"name": "default", "plugins": profile}]}
    return {**case, "name": "session-affinity-scorer request flow", "config": config}


def _disaggregated(case: Case) -> Case:
    """The same pool with the prefill of every request elsewhere: two tokens, and both choices stay."""
    plugins = [
        {**each, "parameters": {"deciders": {"prefill": "always-disagg-pd-decider"}}}
        if each["type"] == "disagg-profile-handler"
        else each
        for each in case["config"]["plugins"]
    ]
    destinations = {
        "decoding": "request x-gateway-destination-endpoint",
        "prefilling": "request x-prefiller-host-port",
    }
    tokens = {"decode": "response x-session-token", "prefill": "response x-session-token-prefill"}
    again = {
        "times": 10,
        "headers": {"x-session-token": "$decode", "x-session-token-prefill": "$prefill"},
        "same": {where: name for name, where in {**destinations, **tokens}.items()},
    }
    request = {**case["request"], "steps": [{"save": {**destinations, **tokens}}, again]}
    config = {**case["config"], "plugins": plugins}
    return {**case, "name": "P/D session affinity: two tokens", "config": config, "request": request}


SESSIONS: dict[int, Case] = {
    33: _FILTER,
    34: _as_scorer(_FILTER),
    35: _BY_NAME["session_id strategy (header then agent-identity attribute)"],
    36: _disaggregated(_DECODE_ONLY),
    37: _DECODE_ONLY,
}
"""By their numbers in the reference's list; 34 and 36 are made of what is said of them."""


def told(answers: Iterable[pb.ProcessingResponse]) -> Told:
    """What `answers` to one request set."""
    found: Told = {}
    for answer in answers:
        for side in ("request", "response"):
            if answer.HasField(f"{side}_headers"):
                mutation = getattr(answer, f"{side}_headers").response.header_mutation
                found |= {f"{side} {each.header.key}": each.header.raw_value.decode() for each in mutation.set_headers}
    return found


def steps(case: Case) -> Generator[dict[str, Any], Told, None]:
    """Each request of `case` in turn; to be sent what answers to it told. Fails where they should have told more."""
    saved: dict[str, str] = {}
    base, number = case["request"]["base"], 0
    for step in case["request"]["steps"]:
        for _ in range(step.get("times", 1)):
            number += 1
            own = {name: value.replace("$n", str(number)) for name, value in base["headers"].items()}
            for name, value in step.get("headers", {}).items():
                own[name] = saved[value[1:]] if value.startswith("$") else value
            heard = yield {**base, "headers": own}
            saved |= {name: heard[where] for name, where in step.get("save", {}).items()}
            for where, name in step.get("same", {}).items():
                assert heard[where] == saved[name], step
            assert not set(step.get("absent", ())) & set(heard)
