"""Picks of requests with sessions: where each session was is kept, told, and decides the same again."""

import random
from base64 import b64encode
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.endpoint import Phase
from infscale.errors import ConfigError
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorSettings
from picker.epp_config.loader import PickerConfig, preset
from picker.explaining.explained_sessions import PASSED_BY
from picker.explaining.explanation import bare_explanation, explanation
from picker.explaining.input_sheet import InputSheet
from picker.explaining.replaying import replayed
from picker.explaining.session_form import KINDS, PLACES
from picker.explaining.sheet_form import read_sheet, sheet_line
from picker.request import Headers
from tests.fakes.pools import POOL, headers
from tests.picker.directing.test_director import ask
from tests.picker.directing.test_session_books import (
    BY_ID,
    COOKIE,
    ENCODED,
    HEADER,
    SIGNED,
    SOFT,
    Sessions,
    scheduling,
    token_of,
)
from tests.picker.explaining.test_pick_log import EXPLAINED, decided_again, kept
from tests.picker.scheduling.test_disaggregation import ALWAYS, PREFILLING, PROFILES, DisaggregatedBench, text

WALL = datetime(2026, 12, 1, tzinfo=UTC)
PREFERRED_BY_ID = """
plugins:
- {type: session-affinity-scorer, parameters: {strategy: session_id}}
- {type: active-request-scorer}
schedulingProfiles:
- {name: default, plugins: [{pluginRef: session-affinity-scorer}, {pluginRef: active-request-scorer, weight: 3}]}
"""


class Explained(Sessions):
    """Sessions whose picks are kept."""

    def restart(self, config: PickerConfig) -> None:
        self.pickers += 1
        directing = DirectorSettings(wall=lambda: self.now, explained=10_000)
        self.director = PoolDirector(POOL, config, self.store, random.Random(self.pickers), directing)
        self.director.sync(self.state)

    @property
    def sheets(self) -> list[InputSheet]:
        assert self.director.log is not None
        return list(self.director.log.sheets())

    def explained(self) -> dict[str, Any]:
        """The session in the explanation of the last pick."""
        sheet = self.sheets[0]
        document: Any = explanation(sheet.inputs(len(sheet) - 1), sheet.config, lambda _: WALL)
        assert document["reproduced"] is True
        (session,) = document["sessions"]
        return dict(session)


def happens(bench: Explained, rng: random.Random) -> None:
    """Something after which sessions may have to leave."""
    row = rng.randrange(len(bench.state.endpoints))
    match rng.randrange(8):
        case 0:
            bench.change(row, rng.choice([Phase.DRAINING, Phase.READY]))
        case 1:
            bench.kv[bench.state.endpoints[row].key] = rng.choice([0.0, 0.5, 1.0])
        case 2:
            bench.now += rng.choice([1.0, 30.0, 120.0])
        case _:
            pass


def talk(bench: Explained, rng: random.Random, count: int, header: str = HEADER, *, named: bool = False) -> list[str]:
    """Requests of six sessions, of which some send what is worth nothing; all that they sent."""
    last = {each: f"chat {each}" if named else "" for each in range(6)}
    sent: list[str] = []
    for _ in range(count):
        happens(bench, rng)
        if not any(each.phase is Phase.READY for each in bench.state.endpoints):
            bench.change(0, Phase.READY)
        number = rng.randrange(6)
        sent.append("nonsense" if rng.random() < 0.1 else last[number])
        told = dict(bench.asked(sent[-1], header=header).response_headers)
        last[number] = told[header].decode() if header in told else last[number]
    return [each for each in sent if each]


CARRIED = [
    pytest.param(SIGNED, HEADER, False, id="signed"),
    pytest.param(SOFT, HEADER, False, id="preferred"),
    pytest.param(BY_ID, "x-session-id", True, id="by id"),
    pytest.param(ENCODED, "x-session-token", False, id="encoded"),
]


@pytest.mark.parametrize(("plugins", "header", "named"), CARRIED)
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_picks_of_sessions_are_made_again_bit_for_bit_also_from_a_file(
    plugins: str, header: str, named: bool, seed: int
) -> None:
    bench = Explained(plugins)
    sent = talk(bench, random.Random(seed), 60, header, named=named)
    found = kept(bench)
    assert len(found) == 60
    assert any(inputs.kept.sessions for inputs, _ in found)
    for inputs, by in found:
        assert decided_again(inputs, by) == (inputs.kept.chosen, inputs.kept.record.score)
    for sheet in bench.sheets:
        line = sheet_line(sheet, lambda _: WALL)
        for each in sent:
            digest = blake2b(each.encode(), digest_size=16).digest()
            assert not any(secret in line for secret in (each.encode(), b64encode(digest), digest.hex().encode()))
        read = read_sheet(line, "picks.jsonl:1", sheet.config).sheet
        for place in range(len(sheet)):
            inputs = read.inputs(place)
            assert decided_again(inputs, sheet.config) == (inputs.kept.chosen, inputs.kept.record.score)
            told = explanation(inputs, sheet.config, lambda _: WALL)
            assert told == explanation(sheet.inputs(place), sheet.config, lambda _: WALL)


def test_an_explanation_says_where_a_session_was_and_why_it_is_elsewhere() -> None:
    bench = Explained()
    first = bench.asked()
    assert bench.explained() == {
        "carried_by": f"header {HEADER}",
        "strategy": "signed_token",
        "was_at": None,
        "since_seconds": None,
        "outcome": "new",
        "reason": None,
    }
    bench.now += 10.0
    row = bench.row(first)
    name = str(bench.state.endpoints[row].key)
    stayed = bench.asked(token_of(first))
    told = bench.explained()
    assert (told["was_at"], told["outcome"], told["reason"]) == (name, "kept", None)
    assert told["since_seconds"] == pytest.approx(11.0)
    bench.change(row, Phase.DRAINING)
    moved = bench.asked(token_of(stayed))
    told = bench.explained()
    assert (told["was_at"], told["outcome"], told["reason"]) == (name, "moved", "draining")
    bench.now += 10_000.0
    bench.asked(token_of(moved))
    assert (bench.explained()["outcome"], bench.explained()["reason"]) == ("new", "expired")


def test_a_session_of_an_endpoint_that_is_gone_was_nowhere() -> None:
    bench = Explained()
    first = bench.asked()
    bench.change(bench.row(first), None)
    bench.asked(token_of(first))
    assert (bench.explained()["was_at"], bench.explained()["reason"]) == (None, "gone")


def test_where_the_gateway_went_on_the_session_is_said_to_have_moved() -> None:
    bench = Explained()
    first = bench.asked()
    other = bench.authority((bench.row(first) + 1) % 4)
    bench.asked(token_of(first), answered=other)
    assert (bench.explained()["outcome"], bench.explained()["reason"]) == ("moved", "rerouted")
    record: Any = bare_explanation(bench.director.records[-1], "llm/chat", lambda _: WALL)
    assert [each["reason"] for each in record["sessions"]] == ["rerouted"]


def test_a_session_by_id_that_others_outweigh_stays_where_it_is() -> None:
    bench = Explained(PREFERRED_BY_ID)
    first = bench.asked("chat", header="x-session-id")
    bench.director.direct(ask(given=Headers((("x-session-id", b"chat"),))), bench.now)
    bench.asked("chat", header="x-session-id")
    told = bench.explained()
    assert (told["was_at"], told["outcome"]) == (str(bench.state.endpoints[bench.row(first)].key), PASSED_BY)


def test_another_configuration_has_the_sessions_that_are_carried_as_its_own_are() -> None:
    bench = Explained()
    first = bench.asked()
    bench.kv[bench.state.endpoints[bench.row(first)].key] = 1.0
    bench.asked(token_of(first))
    inputs, by = kept(bench)[0]
    assert replayed([inputs], by).same == 1
    impatient = scheduling(SIGNED.replace("keys: keys", "keys: keys, minStaySeconds: 0"))
    assert replayed([inputs], impatient).same_winner == 0
    elsewhere = inputs.context(scheduling(COOKIE))
    assert elsewhere.sessions == {}


@pytest.mark.parametrize("part", [KINDS, PLACES])
def test_a_line_whose_sessions_do_not_fit_is_refused(part: str) -> None:
    bench = Explained()
    bench.asked(token_of(bench.asked()))
    document = orjson.loads(sheet_line(bench.sheets[0], lambda _: None))
    document[part] = []
    with pytest.raises(ConfigError, match="incomplete, or was changed"):
        read_sheet(orjson.dumps(document), "picks.jsonl:7", preset("infscale"))


def test_sessions_of_one_name_at_two_stages_are_two() -> None:
    """A client names its session once, and each profile remembers where its own part of it is."""
    stay = "".join(
        f"- {{type: session-affinity-filter, name: stay-{stage},\n"
        f"   parameters: {{strategy: session_id, profileName: {stage}}}}}\n"
        for stage in ("prefill", "decode")
    )
    rest = PROFILES
    for stage in ("prefill", "decode"):
        found = f"{{pluginRef: {stage}-filter}}"
        rest = rest.replace(found, f"{found}, {{pluginRef: stay-{stage}}}")
    bench = DisaggregatedBench(text(PREFILLING, ALWAYS + stay, rest), settings=EXPLAINED)
    rows = [
        bench.rows(bench.routed(ask(given=headers(x_session_id=f"s{number % 3}")), 0.1 + number))
        for number in range(30)
    ]
    assert all(each == rows[number % 3] for number, each in enumerate(rows))
    assert bench.director.log is not None
    (sheet,) = bench.director.log.sheets()
    read = read_sheet(sheet_line(sheet, lambda _: None), "picks.jsonl:1", sheet.config).sheet
    for each in (sheet, read):
        for place in range(len(each)):
            document = explanation(each.inputs(place), sheet.config, lambda _: None)
            assert document["reproduced"] is True
            said = document["sessions"]
            assert isinstance(said, list)
            carried = {each["carried_by"] for each in said}
            assert carried == {f"header x-session-id of profile {stage}" for stage in ("prefill", "decode")}
