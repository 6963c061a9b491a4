"""The inputs of decisions: what is kept of them makes the very same decisions again, and is bounded."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.endpoint import DiscoveryState
from infscale.metrics.sample import LoraState
from picker.directing.director_books import DirectorSettings
from picker.epp_config.loader import PickerConfig, preset
from picker.epp_config.presets import PRESETS
from picker.explaining.explanation import explanation
from picker.explaining.input_sheet import SHEET_PICKS
from picker.explaining.noted_stages import decided_with_notes
from picker.explaining.pick_inputs import PickInputs
from picker.explaining.pick_log import MOST_BYTES
from picker.explaining.replaying import replayed
from picker.remote_work import RemoteStage
from picker.request import Decision, Headers, InferenceRequest, Outcome, ParsedBody
from picker.scheduling.profile import Selection
from tests.fakes.pools import headers
from tests.picker.directing.test_director import Bench, ask

EVERY_KIND = """\
apiVersion: llm-d.ai/v1
kind: EndpointPickerConfig
plugins:
- {type: error-memory-filter}
- {type: bounded-load-filter, parameters: {factor: 3.0}}
- {type: prefix-cache-affinity-filter, parameters: {affinityThreshold: 0.3, explorationProbability: 0.2}}
- {type: slo-headroom-tier-filter}
- {type: probabilistic-admitter}
- {type: queue-scorer}
- {type: kv-cache-utilization-scorer}
- {type: prefix-cache-scorer}
- {type: lora-affinity-scorer}
- {type: no-hit-lru-scorer}
- {type: mm-embeddings-cache-scorer}
- {type: latency-scorer}
- {type: marginal-cost-scorer}
- {type: in-flight-tokens-scorer}
- {type: staleness-discount-scorer}
- {type: weighted-random-picker, parameters: {maxNumOfEndpoints: 3}}
"""

PREFILL_AND_DECODE = """\
apiVersion: llm-d.ai/v1
kind: EndpointPickerConfig
plugins:
- {type: prefix-based-pd-decider, parameters: {nonCachedTokens: 300}}
- {type: always-disagg-multimodal-decider}
- type: disagg-profile-handler
  parameters: {deciders: {prefill: prefix-based-pd-decider, encode: always-disagg-multimodal-decider}}
- {type: endpoint-attribute-filter, name: idle, parameters: {attribute: waiting_requests, fallbackOnEmpty: true,
   algorithm: {type: threshold, threshold: {operator: LessThan, value: 5}}}}
- {type: in-flight-tokens-scorer}
- {type: mm-embeddings-cache-scorer}
- {type: prefix-cache-scorer}
- {type: weighted-random-picker, parameters: {maxNumOfEndpoints: 2}}
schedulingProfiles:
- {name: decode, plugins: [{pluginRef: prefix-cache-scorer}]}
- {name: prefill, plugins: [{pluginRef: idle}, {pluginRef: in-flight-tokens-scorer}]}
- {name: encode, plugins: [{pluginRef: mm-embeddings-cache-scorer}]}
"""

EXPLAINED = DirectorSettings(explained=10_000)


def kept(bench: Bench) -> list[tuple[PickInputs, PickerConfig]]:
    """All that is kept, the newest first."""
    assert bench.director.log is not None
    return [
        (sheet.inputs(place), sheet.config)
        for sheet in bench.director.log.sheets()
        for place in reversed(range(len(sheet)))
    ]


def decided_again(inputs: PickInputs, config: PickerConfig) -> tuple[tuple[int, ...], float | None]:
    answer, _ = decided_with_notes(config, inputs.context(config), inputs.kept.rows)
    if not isinstance(answer, Selection):
        return (), None
    return answer.chosen, answer.score_of(answer.chosen[0])


def remote_again(inputs: PickInputs, config: PickerConfig) -> tuple[RemoteStage, ...]:
    """What is chosen again for stages that are done elsewhere."""
    answer = inputs.decided(config)
    assert inputs.repeated(answer)
    if not isinstance(answer, Selection) or answer.remote is None:
        return ()
    return answer.remote.stages(inputs.state.endpoints)


def traffic(bench: Bench, rng: random.Random, count: int) -> None:
    """Requests of all kinds among scrapes, ends, failures, and endpoints that change their labels."""
    prompts = [rng.randbytes(rng.randint(10, 9000)) for _ in range(6)]
    loads = [LoraState(frozenset({"lora"}), frozenset(), 4, frozenset({"lora"})), None]
    under_way: list[tuple[InferenceRequest, Decision]] = []
    for number in range(count):
        now = 0.1 + number * 0.01
        if rng.random() < 0.3:
            each = rng.choice(bench.state.endpoints)
            queue, kv = rng.choice([0.0, 3.0, 150.0, None]), rng.random()
            bench.scrape(each, at=now, waiting=queue, kv=kv, lora=rng.choice(loads), models=("m",))
        if rng.random() < 0.02:
            changed = [replace(each, labels={"zone": str(rng.random())}) for each in bench.state.endpoints]
            bench.sync(DiscoveryState(tuple(changed), bench.state.pools))
        body = ParsedBody(
            "chat_completions", rng.choice(["m", "lora"]), rng.choice(prompts), rng.randint(1, 4000), 100, media=(1, 2)
        )
        given = headers(x_slo_ttft_ms="300", x_slo_tpot_ms="20") if rng.random() < 0.4 else Headers(())
        request = InferenceRequest(f"r{number}", "/v1/chat/completions", given, body)
        verdict = bench.director.direct(request, now)
        if isinstance(verdict, Decision):
            under_way.append((request, verdict))
        if len(under_way) > 12:
            status = rng.choice([200, 200, 500])
            asked, decision = under_way.pop(rng.randrange(len(under_way)))
            bench.director.finished(asked, decision, Outcome("completed", status), now)


@pytest.mark.parametrize("config", [*PRESETS, "every kind", "prefill and decode"])
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_what_is_kept_makes_the_same_decisions_bit_for_bit(config: str, seed: int) -> None:
    own = {"every kind": EVERY_KIND, "prefill and decode": PREFILL_AND_DECODE}
    text = own.get(config) or PRESETS[config]
    bench = Bench(5, text, EXPLAINED)
    traffic(bench, random.Random(seed), 120)
    found = kept(bench)
    assert len(found) >= 100
    for inputs, by in found:
        assert decided_again(inputs, by) == (inputs.kept.chosen, inputs.kept.record.score)


def test_stages_that_are_done_elsewhere_are_decided_again_bit_for_bit() -> None:
    bench = Bench(5, PREFILL_AND_DECODE, EXPLAINED)
    traffic(bench, random.Random(7), 200)
    found = kept(bench)
    elsewhere = [{each.stage for each in inputs.kept.record.remote} for inputs, _ in found]
    assert {"encode", "prefill"} in elsewhere
    assert {"encode"} in elsewhere
    for inputs, by in found:
        assert remote_again(inputs, by) == inputs.kept.record.remote
        document = explanation(inputs, by, lambda _: None)
        assert document["reproduced"] is True
        assert document["picker"] == "weighted-random-picker"
        said = document["remote"]
        assert isinstance(said, list)
        assert [each["stage"] for each in said] == [each.stage for each in inputs.kept.record.remote]


def test_another_choice_for_a_stage_is_another_decision() -> None:
    bench = Bench(5, PREFILL_AND_DECODE, EXPLAINED)
    traffic(bench, random.Random(7), 50)
    inputs, by = next(each for each in kept(bench) if each[0].kept.record.remote)
    assert replayed([inputs], by).same == 1
    stage = inputs.kept.record.remote[0]
    inputs.kept.record.remote = (replace(stage, authorities=("10.9.9.9:1",)),)
    assert replayed([inputs], by).same == 0
    assert explanation(inputs, by, lambda _: None)["reproduced"] is False


def test_closed_sheets_say_the_same_as_open_ones() -> None:
    bench = Bench(3, settings=EXPLAINED)
    traffic(bench, random.Random(3), SHEET_PICKS + 40)
    found = kept(bench)
    assert len(found) == SHEET_PICKS + 40
    assert [each.kept.record.request_id for each, _ in found] == [
        f"r{each}" for each in reversed(range(SHEET_PICKS + 40))
    ]
    assert all(decided_again(inputs, by) == (inputs.kept.chosen, inputs.kept.record.score) for inputs, by in found)


def test_a_changed_configuration_leaves_earlier_decisions_with_theirs() -> None:
    bench = Bench(3, settings=EXPLAINED)
    bench.routed(ask())
    bench.director.configure(preset("reference"))
    bench.routed(ask())
    (_, later), (_, earlier) = kept(bench)
    assert later.digest != earlier.digest


def test_as_many_decisions_are_kept_as_were_asked_for() -> None:
    bench = Bench(2, settings=DirectorSettings(explained=SHEET_PICKS))
    for number in range(4 * SHEET_PICKS):
        bench.routed(InferenceRequest(str(number), "/v1/completions", Headers(()), ask().body))
    assert SHEET_PICKS <= len(kept(bench)) <= 2 * SHEET_PICKS
    assert kept(bench)[0][0].kept.record.request_id == str(4 * SHEET_PICKS - 1)


def test_of_decisions_that_take_too_much_fewer_are_kept() -> None:
    bench = Bench(2, settings=EXPLAINED)
    assert bench.director.log is not None
    bench.director.log.share_with(MOST_BYTES >> 20)
    for _ in range(6 * SHEET_PICKS):
        bench.routed(ask())
    assert sum(sheet.size_bytes for sheet in bench.director.log.sheets()) < 2 << 20
    assert SHEET_PICKS < len(kept(bench)) < 5 * SHEET_PICKS


def test_nothing_is_kept_where_nothing_is_to_be_explained() -> None:
    bench = Bench(2)
    bench.routed(ask())
    assert bench.director.log is None


def test_of_headers_only_those_are_kept_that_stages_read_and_no_long_ones() -> None:
    bench = Bench(2, settings=EXPLAINED)
    secret = Headers(
        (
            ("authorization", b"Bearer secret"),
            ("cookie", b"secret"),
            ("x-slo-ttft-ms", b"250"),
            ("x-slo-tpot-ms", b"9" * 1000),
        )
    )
    bench.routed(ask(given=secret))
    ((inputs, _),) = kept(bench)
    assert list(inputs.kept.facts.headers) == [("x-slo-ttft-ms", b"250")]
