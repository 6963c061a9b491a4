"""Metrics of copies and of what is compared."""

from infscale.config.shadow_settings import ShadowSettings
from picker.request import Outcome
from picker.telemetry.shadow_metrics import ShadowCollector
from tests.picker.shadowing.shadowed import NEXT, Shadowed

WAY = ("llm/chat", "llm/next", "0", "new")


def shown(made: Shadowed) -> dict[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("infscale_shadow_"), *sample.labels.values()): sample.value
        for family in ShadowCollector(made.director.books).collect()
        for sample in family.samples
    }


def test_what_was_drawn_and_compared_is_shown() -> None:
    made = Shadowed(ShadowSettings(1.0, NEXT, "new", max_requests=1))
    end = made.ask(0)
    made.ask(1)
    (copy,) = made.copies
    made.goes(copy)
    found = shown(made)
    assert found["requests_total", *WAY, "copied"] == 1
    assert found["requests_total", *WAY, "no_room"] == 1
    assert found["open_requests", *WAY] == 1
    assert found["held_bytes", *WAY] == copy.size_bytes
    made.now = 2.0
    made.ends(copy, first=0.2, tokens=3)
    made.now = 3.0
    end(Outcome("completed", 200, completion_tokens=4, first_byte_seconds=0.4, duration_seconds=2.0))
    found = shown(made)
    assert found["open_requests", *WAY] == found["held_bytes", *WAY] == 0
    assert found["answers_total", *WAY, "2xx", "2xx"] == 1
    assert found["completion_tokens_total", *WAY, "primary"] == 4
    assert found["completion_tokens_total", *WAY, "copy"] == 3
    assert found["first_byte_seconds_sum", *WAY, "primary"] == 0.4
    assert found["first_byte_seconds_sum", *WAY, "copy"] == 0.2
    assert found["duration_seconds_bucket", *WAY, "copy", "1.0"] == 1
    assert found["duration_ratio_sum", *WAY] == 0.5
    assert found["first_byte_ratio_bucket", *WAY, "0.5"] == 1
