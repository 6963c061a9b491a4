"""Metrics of what went to another pool or model."""

from picker.directing.falling_back.fallback_target import FallbackTarget
from picker.telemetry.fallback_metrics import FallbackCollector
from tests.picker.directing.falling_back.fallback_pools import CHAT, SMALL, STANDBY, Pools


def shown(pools: Pools) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in FallbackCollector(pools.director.books).collect()
        for sample in family.samples
    }


def test_what_went_elsewhere_is_counted_by_place_and_reason_and_is_gone_when_it_ends() -> None:
    pools = Pools({CHAT: [FallbackTarget(STANDBY, max_requests=1), FallbackTarget(SMALL, "tiny")]})
    pools.have(standby=1, small=1)
    asked = [pools.ask(10), pools.ask(10)]
    found = shown(pools)
    assert found["infscale_fallback_requests_total", "llm/chat", "llm/standby", "", "unavailable"] == 1
    assert found["infscale_fallback_requests_total", "llm/chat", "llm/small", "tiny", "unavailable"] == 1
    assert found["infscale_fallback_open_requests", "llm/chat", "llm/standby", ""] == 1
    assert found["infscale_fallback_limited_total", "llm/chat", "llm/standby", ""] == 1
    for each in asked:
        pools.ends(each)
    assert shown(pools)["infscale_fallback_open_requests", "llm/chat", "llm/small", "tiny"] == 0
