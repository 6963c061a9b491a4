"""Session affinity as documents say it: the reference's parameters, ours, and what is wrong with them in words."""

import pytest

from infscale.errors import ConfigError
from picker.epp_config.loader import PickerConfig, load_picker_config
from picker.flow.reference.identities import AGENT_HEADERS
from picker.sessions.session_settings import Cookie, SessionSettings, Source, Strategy

HEAD = "apiVersion: llm-d.ai/v1\nkind: EndpointPickerConfig\nplugins:\n"
TYPES = ("session-affinity-filter", "session-affinity-scorer", "multicluster-session-affinity-filter")
BY_ID = Strategy.SESSION_ID


def loaded(parameters: str, kind: str = TYPES[0], more: str = "") -> PickerConfig:
    given = f", parameters: {parameters}" if parameters else ""
    return load_picker_config(f"{HEAD}- {{type: {kind}{given}}}\n- {{type: queue-scorer}}\n{more}", "epp.yaml")


AGENT = tuple(map(Source, AGENT_HEADERS))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    ("parameters", "more", "expected"),
    [
        ("", "", SessionSettings(Strategy.ENCODED, "x-session-token")),
        (
            "{profileName: prefill, encodedEndpointHeaderConfig: {header: ' X-Session-Token-Prefill '}}",
            "",
            SessionSettings(Strategy.ENCODED, "x-session-token-prefill", profile="prefill"),
        ),
        (
            '{strategy: encoded_endpoint_header, encodedEndpointHeaderConfig: {header: ""}}',
            "",
            SessionSettings(Strategy.ENCODED, "x-session-token"),
        ),
        ("{strategy: session_id}", "", SessionSettings(BY_ID, sources=(Source("x-session-id"),), ttl_seconds=300.0)),
        (
            "{strategy: session_id, sessionIdConfig: {sources: [], evictionTtlSeconds: 0, evictionSweepSeconds: 0}}",
            "",
            SessionSettings(BY_ID, sources=(Source("x-session-id"),), ttl_seconds=300.0),
        ),
        (
            "{strategy: session_id, sessionIdConfig: {sources: [{header: X-Mine}, {attribute: agent-identity}], "
            "evictionTtlSeconds: 7.5, evictionSweepSeconds: 1}}",
            "- {type: agent-identity, parameters: {additionalSessionHeaders: [X-Agent]}}\n",
            SessionSettings(BY_ID, sources=(Source("x-mine"), Source("x-agent"), *AGENT), ttl_seconds=7.5),
        ),
        (
            "{strategy: session_id, sessionIdConfig: {sources: [{attribute: SessionIDDataKey, producer: mine}]}}",
            "- {type: session-id-producer, name: mine, parameters: {cookieName: chat, ttl: 1h}}\n",
            SessionSettings(BY_ID, sources=(Source("chat", cookie=True),), ttl_seconds=300.0),
        ),
        (
            "{strategy: session_id, sessionIdConfig: {sources: [{attribute: SessionIDDataKey}]}}",
            "",
            SessionSettings(BY_ID, sources=(Source("x-session-id"),), ttl_seconds=300.0),
        ),
        (
            "{strategy: signed_token, "
            "signedTokenConfig: {keys: /keys, header: X-S, ttlSeconds: 60, minStaySeconds: 0}}",
            "",
            SessionSettings(Strategy.SIGNED, "x-s", None, "/keys", ttl_seconds=60.0, min_stay_seconds=0.0),
        ),
        (
            "{strategy: signed_token, signedTokenConfig: {keys: k, cookie: {path: /v1, secure: false, name: s}}}",
            "",
            SessionSettings(Strategy.SIGNED, "", Cookie("s", "/v1", secure=False), "k"),
        ),
    ],
)
def test_parameters_arrive(kind: str, parameters: str, more: str, expected: SessionSettings) -> None:
    assert loaded(parameters, kind, more).sessions == (expected,)


def test_stages_that_mean_one_kind_of_session_share_it() -> None:
    both = loaded(
        "{strategy: session_id}", more="- {type: session-affinity-scorer, parameters: {strategy: session_id}}\n"
    )
    assert len(both.sessions) == 1


SIGNED = "{strategy: signed_token, signedTokenConfig: %s}"
IDS = "{strategy: session_id, sessionIdConfig: {sources: [%s]}}"


@pytest.mark.parametrize(
    ("parameters", "more", "said"),
    [
        ("{strategy: cookie}", "", "strategy: expected one of signed_token, encoded_endpoint_header, session_id"),
        ("{strategy: signed_token}", "", "parameter 'signedTokenConfig' is missing"),
        (SIGNED % "{header: x}", "", "signedTokenConfig: keys is missing: the file or folder of the keys"),
        (SIGNED % "{keys: k}", "", "signedTokenConfig: expected header, cookie or both: what carries the token"),
        (SIGNED % "{keys: k, header: 'a b'}", "", "signedTokenConfig.header: expected the name of a header"),
        (SIGNED % "{keys: k, cookie: {name: 'a;b'}}", "", "cookie.name: expected the name of a cookie"),
        (SIGNED % "{keys: k, cookie: {path: 'v1'}}", "", "cookie.path: expected a path that begins with /"),
        (SIGNED % "{keys: k, cookie: {path: '/;x'}}", "", "cookie.path: expected a path that begins with /"),
        (SIGNED % "{keys: k, cookie: {sameSite: lax}}", "", "cookie.sameSite: expected one of Lax, Strict, None"),
        (SIGNED % "{keys: k, cookie: {sameSite: None, secure: false}}", "", "only where it is secure"),
        (SIGNED % "{keys: k, header: x, ttlSeconds: 0}", "", "ttlSeconds: expected a number above 0"),
        (SIGNED % "{keys: k, header: x, ttl: 5}", "", "unknown key"),
        (IDS % "{header: a, attribute: b}", "", "sources[0]: expected exactly one of header and attribute"),
        (IDS % "{}", "", "sources[0]: expected exactly one of header and attribute"),
        (IDS % "{attribute: agent-identity}", "", "declare a plugin of type agent-identity"),
        (IDS % "{attribute: SessionID}", "", "no plugin publishes it; there are SessionIDDataKey"),
        ("{strategy: session_id, sessionIdConfig: {evictionTtlSeconds: -1}}", "", "evictionTtlSeconds: expected"),
        ("{headerName: x}", "", "unknown key"),
        ("", "- {type: session-id-producer, parameters: {ttl: 1h}}\n", "exactly one of headerName and cookieName"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(parameters: str, more: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(parameters, more=more)
    assert said in str(caught.value)
    assert str(caught.value).startswith("epp.yaml:")


def notes(parameters: str) -> list[str]:
    return [each for each in loaded(parameters).notes if "session" in each or "strategy" in each]


def test_parameters_of_another_strategy_are_said_to_have_no_effect() -> None:
    """The reference passes over them, and then no session stays."""
    found, clear = notes("{sessionIdConfig: {sources: [{header: x-session-id}]}}")
    assert found.endswith(
        "sessionIdConfig: has no effect with strategy encoded_endpoint_header; it belongs to strategy: session_id"
    )
    assert "clients read in x-session-token where they are, and can name any endpoint" in clear
    assert "unless picker.trusted_headers names it" in clear


def test_a_signed_token_needs_no_warning() -> None:
    assert notes(SIGNED % "{keys: k, header: x-s}") == []
    assert notes("{strategy: session_id}") == []
