"""Sessions through a whole director: they stay, move once and for a reason, and survive the picker that placed them."""

import random
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Phase
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorSettings, DirectorStats
from picker.directing.session_books import MAX_MOVED, PoolSessions
from picker.epp_config.loader import PickerConfig, load_picker_config
from picker.request import Decision, Headers
from picker.sessions.cookies import cookie_name
from picker.sessions.session_settings import Cookie, SessionSettings, Strategy
from picker.sessions.session_tokens import TokenKeys
from tests.fakes.pools import POOL, FakePool, endpoint
from tests.picker.directing.test_director import Bench, ask, done

HEADER = "x-infscale-session"
OLD, NEW = (random.Random(seed).randbytes(32) for seed in range(2))
HEAD = "apiVersion: llm-d.ai/v1\nkind: EndpointPickerConfig\n"
SIGNED = """
plugins:
- {type: session-affinity-filter, parameters: {strategy: signed_token, signedTokenConfig: {keys: keys, header: %s}}}
- {type: active-request-scorer}
"""
COOKIE = SIGNED.replace("header: %s", "cookie: {}")
SOFT = SIGNED.replace("filter", "scorer")
BY_ID = (
    "plugins: [{type: session-affinity-filter, parameters: {strategy: session_id}}, {type: active-request-scorer}]\n"
)
ENCODED = "plugins: [{type: session-affinity-filter}, {type: active-request-scorer}]\n"


def scheduling(plugins: str = SIGNED, *secrets: bytes) -> PickerConfig:
    config = load_picker_config(HEAD + plugins.replace("%s", HEADER), "epp.yaml")
    return replace(config, session_keys={"keys": TokenKeys(secrets or (NEW,))})


class Sessions(Bench):
    """A bench whose director knows sessions; Unix time is that of its requests, from a second after 1970."""

    def __init__(self, plugins: str = SIGNED, size: int = 4, secrets: tuple[bytes, ...] = (NEW,)) -> None:
        super().__init__(size, HEAD + plugins.replace("%s", HEADER))
        self.now = 1.0
        self.pickers = 0
        self.kv: dict[EndpointKey, float] = {}
        self.silent: set[EndpointKey] = set()
        self.restart(scheduling(plugins, *secrets))

    def restart(self, config: PickerConfig) -> None:
        """Another picker in place of the one before."""
        directing = DirectorSettings(wall=lambda: self.now)
        self.pickers += 1
        self.director = PoolDirector(POOL, config, self.store, random.Random(self.pickers), directing)
        self.director.sync(self.state)

    def asked(self, token: str = "", *, header: str = HEADER, answered: str | None = None) -> Decision:
        """A request with a token, after a second, and its answer from where it was sent or from `answered`."""
        self.now += 1.0
        for each in self.state.endpoints:
            if each.phase is Phase.READY and each.key not in self.silent:
                self.scrape(each, at=self.now, kv=self.kv.get(each.key, 0.0))
        given = Headers([(header, token.encode())] if token else [])
        request = ask(given=given)
        decision = self.routed(request, self.now)
        decision = self.director.response_started(decision, 200, answered, self.now)
        self.director.finished(request, decision, done(served=answered), self.now)
        return decision

    def row(self, decision: Decision) -> int:
        return [each.authority for each in self.state.endpoints].index(decision.destinations[0])

    def change(self, row: int, phase: Phase | None) -> None:
        """Another phase for one endpoint; None: it leaves."""
        endpoints = list(self.state.endpoints)
        endpoints[row : row + 1] = [] if phase is None else [replace(endpoints[row], phase=phase)]
        self.sync(DiscoveryState(tuple(endpoints), self.state.pools))

    @property
    def stats(self) -> DirectorStats:
        return self.director.stats


def token_of(decision: Decision, header: str = HEADER) -> str:
    return dict(decision.response_headers).get(header, b"").decode()


def test_a_session_stays_and_its_client_is_told_each_time() -> None:
    bench = Sessions()
    first = bench.asked()
    token = token_of(first)
    for _ in range(20):
        decision = bench.asked(token)
        assert bench.row(decision) == bench.row(first)
        token = token_of(decision)
    assert len({bench.row(bench.asked()) for _ in range(40)}) == 4
    assert bench.stats.session_requests == {"new": 41, "kept": 20}
    assert bench.stats.session_moves == {}


def test_nothing_that_a_client_gets_names_an_endpoint() -> None:
    bench = Sessions()
    told = b" ".join(text for _, text in bench.asked().response_headers)
    assert told
    for each in bench.state.endpoints:
        for secret in (each.authority, str(each.key), each.address):
            assert secret.encode() not in told
            assert b64encode(secret.encode()) not in told


def test_another_picker_and_one_that_was_restarted_know_the_session() -> None:
    bench = Sessions()
    first = bench.asked()
    bench.restart(scheduling())
    assert bench.row(bench.asked(token_of(first))) == bench.row(first)
    assert bench.stats.session_requests == {"kept": 1}


def test_scaling_moves_no_session() -> None:
    bench = Sessions(size=3)
    firsts = [bench.asked() for _ in range(12)]
    rows = [bench.row(each) for each in firsts]
    more = tuple(endpoint(row) for row in range(9))
    bench.sync(DiscoveryState(more, bench.state.pools))
    assert [bench.row(bench.asked(token_of(each))) for each in firsts] == rows
    assert bench.stats.session_moves == {}


LEAVES: Mapping[str, Callable[[Sessions, int], object]] = {
    "draining": lambda bench, row: bench.change(row, Phase.DRAINING),
    "not_ready": lambda bench, row: bench.change(row, Phase.STARTING),
    "gone": lambda bench, row: bench.change(row, None),
    "saturated": lambda bench, row: bench.kv.update({bench.state.endpoints[row].key: 1.0}),
    "unknown_load": lambda bench, row: bench.silent.add(bench.state.endpoints[row].key),
}


@pytest.mark.parametrize("reason", LEAVES)
def test_a_session_moves_once_and_for_a_reason(reason: str) -> None:
    """Also a client that never takes the new token, and requests that were sent before it came, find it there."""
    bench = Sessions()
    first = bench.asked()
    old, row = token_of(first), bench.row(first)
    assert bench.row(bench.asked(old)) == row
    bench.now += 100.0
    LEAVES[reason](bench, row)
    moved = bench.asked(old)
    home = moved.destinations[0]
    assert home != first.destinations[0]
    for token in (old, token_of(moved)) * 5:
        assert bench.asked(token).destinations[0] == home
    assert bench.stats.session_moves == {reason: 1}


def test_requests_that_leave_at_once_meet_again_whatever_picker_they_ask() -> None:
    """Two pickers that know nothing of each other send one session to one place."""
    homes = set[str]()
    bench = Sessions(size=8)
    token = token_of(bench.asked())
    row = bench.row(bench.asked(token))
    bench.change(row, None)
    for _ in range(4):
        bench.restart(scheduling())
        homes |= {bench.asked(token).destinations[0] for _ in range(3)}
    assert len(homes) == 1


def test_the_gateway_has_a_fallback_and_the_session_goes_on_where_it_was_served() -> None:
    bench = Sessions()
    token = token_of(bench.asked())
    decision = bench.asked(token)
    chosen, fallback = decision.destinations
    rerouted = bench.asked(token, answered=fallback)
    assert rerouted.destinations[0] == chosen
    for again in (token, token_of(rerouted)):
        assert bench.asked(again).destinations[0] == fallback
    assert bench.stats.session_moves == {"rerouted": 1}


def test_a_session_that_began_at_a_fallback_did_not_move() -> None:
    bench = Sessions()
    began = bench.asked(answered=bench.authority(2))
    assert bench.row(bench.asked(token_of(began))) == 2
    assert bench.stats.session_moves == {}


def _changed(token: str) -> str:
    return token[:-1] + ("A" if token[-1] != "A" else "B")


SPOILT: Mapping[str, Callable[[str], str]] = {
    "forged": _changed,
    "unknown_key": lambda _: "x" * 64,
    "malformed": lambda token: token * 2,
    "": lambda _: "",
}


@pytest.mark.parametrize("reason", SPOILT, ids=["changed", "invented", "too long", "empty"])
def test_a_token_that_is_worth_nothing_begins_a_session_and_is_no_error(reason: str) -> None:
    bench = Sessions()
    token = token_of(bench.asked())
    assert token_of(bench.asked(SPOILT[reason](token)))
    assert bench.stats.session_tokens_refused == ({reason: 1} if reason else {})
    assert bench.stats.session_requests["new"] == 2


def test_a_token_of_another_pool_or_time_begins_a_session() -> None:
    bench = Sessions()
    token = token_of(bench.asked())
    other = PoolSessions(ObjectKey("ns", "other"), DirectorStats(), random.Random(1), lambda: bench.now)
    other.configure(scheduling().sessions, scheduling().session_keys)
    assert other.of(Headers([(HEADER, token.encode())]), FakePool(4).snapshot(), bench.now) == {}
    bench.now += 3_601.0
    bench.asked(token)
    assert bench.stats.session_tokens_refused == {"expired": 1}


def test_keys_change_one_after_the_other_without_a_session_lost() -> None:
    bench = Sessions(secrets=(OLD,))
    first = bench.asked()
    token = token_of(first)
    for secrets in ((OLD, NEW), (NEW, OLD), (NEW,)):
        bench.director.configure(scheduling(SIGNED, *secrets))
        decision = bench.asked(token)
        assert bench.row(decision) == bench.row(first)
        token = token_of(decision)
    bench.director.configure(scheduling(SIGNED, OLD))
    bench.asked(token)
    assert bench.stats.session_tokens_refused == {"unknown_key": 1}


def test_without_keys_there_are_no_tokens_and_requests_are_served() -> None:
    bench = Sessions()
    bench.director.configure(replace(scheduling(), session_keys={}))
    assert bench.asked().response_headers == ()


# Cookies


def test_a_cookie_is_set_where_there_is_something_new_to_say() -> None:
    bench = Sessions(COOKIE)
    name = cookie_name(Cookie(), POOL)
    first = bench.asked()
    ((header, value),) = first.response_headers
    assert header == "set-cookie"
    text = value.decode().partition(";")[0]
    assert text.startswith(f"{name}=")
    decision = bench.asked(f"theme=dark; {text}; {name}=junk", header="cookie")
    assert bench.row(decision) == bench.row(first)
    assert decision.response_headers == ()
    bench.now += 1_900.0
    ((_, renewed),) = bench.asked(text, header="cookie").response_headers
    assert renewed != value


# The other strategies, and the scorer


def test_a_scorer_s_session_may_be_outweighed_and_is_then_where_it_went() -> None:
    stages = "[{pluginRef: session-affinity-scorer, weight: %g}, {pluginRef: active-request-scorer}]"
    weighs = f"schedulingProfiles: [{{name: p, plugins: {stages}}}]\n"
    for weight, moves in ((10.0, 0), (0.5, 1)):
        bench = Sessions(SOFT + weighs % weight)
        first = bench.asked()
        busy = [bench.store.charge(POOL, bench.row(first), "m", 1.0, bench.now) for _ in range(3)]
        assert busy
        moved = bench.asked(token_of(first))
        assert (bench.row(moved) != bench.row(first)) is bool(moves)
        assert bench.stats.session_moves == ({"outscored": 1} if moves else {})


def test_a_session_with_an_id_stays_until_its_endpoint_leaves() -> None:
    bench = Sessions(BY_ID)
    first = bench.asked("mine", header="x-session-id")
    assert first.response_headers == ()
    for _ in range(5):
        assert bench.row(bench.asked("mine", header="x-session-id")) == bench.row(first)
    bench.change(bench.row(first), None)
    home = bench.asked("mine", header="x-session-id").destinations[0]
    assert {bench.asked("mine", header="x-session-id").destinations[0] for _ in range(5)} == {home}
    assert bench.stats.session_moves == {"gone": 1}
    assert bench.stats.session_bindings == 1
    bench.asked("x" * 1_025, header="x-session-id")
    assert bench.stats.session_bindings == 1


def test_a_configuration_that_changes_elsewhere_keeps_the_sessions() -> None:
    bench = Sessions(BY_ID)
    first = bench.asked("mine", header="x-session-id")
    bench.director.configure(scheduling(BY_ID + "featureGates: [dataLayer]\n"))
    assert bench.row(bench.asked("mine", header="x-session-id")) == bench.row(first)


def test_the_reference_s_token_is_the_name_of_the_endpoint() -> None:
    bench = Sessions(ENCODED)
    first = bench.asked()
    name = str(bench.state.endpoints[bench.row(first)].key)
    assert token_of(first, "x-session-token") == b64encode(name.encode()).decode()
    for row, each in enumerate(bench.state.endpoints):
        token = b64encode(str(each.key).encode()).decode()
        assert bench.row(bench.asked(token, header="x-session-token")) == row
    for junk in ("%%%", b64encode(b"ns/never-there").decode(), "é"):
        assert bench.asked(junk, header="x-session-token").response_headers
    assert bench.stats.session_tokens_refused == {"malformed": 2, "unknown_endpoint": 1}


PROFILES = """
plugins:
- {type: header-profile-handler}
- {type: active-request-scorer}
- {type: session-affinity-filter, name: decoding}
- type: session-affinity-filter
  name: prefilling
  parameters: {profileName: prefill, encodedEndpointHeaderConfig: {header: x-session-token-prefill}}
schedulingProfiles:
- {name: decode, plugins: [{pluginRef: decoding}, {pluginRef: active-request-scorer}]}
- {name: prefill, plugins: [{pluginRef: prefilling}, {pluginRef: active-request-scorer}]}
"""


def test_a_profile_s_session_is_told_where_that_profile_chose() -> None:
    bench = Sessions(PROFILES)
    assert [name for name, _ in bench.asked().response_headers] == ["x-session-token"]
    prefill = bench.asked("prefill", header="epp-profile")
    assert [name for name, _ in prefill.response_headers] == ["x-session-token", "x-session-token-prefill"]


# Whatever happens to the pool


class Chat:
    """A client that takes every token it is given, and where it was."""

    def __init__(self) -> None:
        self.token = ""
        self.home: EndpointKey | None = None


PHASES = st.sampled_from([Phase.READY, Phase.READY, Phase.DRAINING, Phase.STARTING])
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("phase"), st.integers(0, 3), PHASES),
        st.tuples(st.just("full"), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("ask"), st.integers(0, 2), st.none()),
        st.tuples(st.just("restart"), st.just(0), st.none()),
    ),
    max_size=40,
)


@given(EVENTS)
@settings(max_examples=60, deadline=None)
def test_a_session_leaves_only_what_it_cannot_stay_at_and_every_move_is_counted(
    events: list[tuple[str, int, object]],
) -> None:
    bench, chats, moves, counted = Sessions(), [Chat(), Chat(), Chat()], 0, 0
    for kind, number, what in events:
        if isinstance(what, Phase):
            bench.change(number, what)
        elif kind == "full":
            bench.kv[bench.state.endpoints[number].key] = 1.0 if what else 0.0
        elif kind == "restart":
            counted += sum(bench.stats.session_moves.values())
            bench.restart(scheduling())
        elif any(each.phase is Phase.READY for each in bench.state.endpoints):
            chat = chats[number]
            bench.now += 61.0
            decision = bench.asked(chat.token)
            phases = {each.key: each.phase for each in bench.state.endpoints}
            home = bench.state.endpoints[bench.row(decision)].key
            if chat.home not in (None, home):
                moves += 1
                assert phases[chat.home] is not Phase.READY or bench.kv.get(chat.home) == 1.0
            ready = [key for key, phase in phases.items() if phase is Phase.READY]
            if chat.home is not None and bench.kv.get(home) == 1.0:
                assert all(bench.kv.get(key) == 1.0 for key in ready)
            chat.token, chat.home = token_of(decision), home
    assert counted + sum(bench.stats.session_moves.values()) == moves


# What is remembered is bounded


def test_sessions_that_moved_are_remembered_within_bounds() -> None:
    stats = DirectorStats()
    sessions = PoolSessions(POOL, stats, random.Random(1), lambda: 1_000.0)
    kind = SessionSettings(Strategy.SIGNED, HEADER, keys="keys")
    sessions.configure((kind,), {"keys": TokenKeys([NEW])})
    target: Mapping[int, Endpoint] = {row: endpoint(row) for row in range(2)}
    bench = Sessions()
    claim = bench.asked().sessions[0]
    for number in range(MAX_MOVED + 100):
        sessions.rerouted((replace(claim, settings=kind, name=number.to_bytes(8, "big")),), target[1], 0.0)
    assert len(sessions._moved) == MAX_MOVED  # pyright: ignore[reportPrivateUsage] # its memory is what is asked about
