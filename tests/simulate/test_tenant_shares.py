"""Shares of two tenants in a full pool, one asking ten times as much: how they are counted, and what they are."""

import numpy as np
import pytest

from bench.tenant_shares import GREEDY, MOST_OFF, NEWCOMER, Setting, shares, tokens_within
from infscale.simulate.policy import named_policy
from infscale.simulate.run_result import RequestTable
from infscale.simulate.simulation import simulate


def table(*requests: tuple[str, float, float, int, int, int]) -> RequestTable:
    """Requests of these tenants: when their first token came and their last, prompt, cached and output tokens."""
    tenants = (GREEDY, NEWCOMER)
    names, first, ended, prompt, cached, output = zip(*requests, strict=True)
    numbers = np.arange(len(requests))
    return RequestTable(
        ("interactive",),
        (),
        np.zeros(len(requests)),
        np.array(first),
        np.array(ended),
        np.array(prompt),
        np.array(cached),
        np.array(output),
        numbers * 0,
        numbers * 0,
        numbers * 0 - 1,
        numbers < 0,
        tenants,
        np.array([tenants.index(name) for name in names]),
        numbers * 0 - 1,
    )


def test_a_prompt_counts_when_its_first_token_is_there_and_an_answer_as_it_comes() -> None:
    requests = table(
        (GREEDY, 59.0, 69.0, 1_000, 0, 100),
        (NEWCOMER, 61.0, 62.0, 1_000, 400, 100),
        (NEWCOMER, 115.0, 125.0, 1_000, 0, 100),
        (GREEDY, 121.0, 122.0, 1_000, 0, 100),
        (GREEDY, float("nan"), 90.0, 1_000, 0, 100),
    )
    assert tokens_within(requests, 60.0, 120.0).tolist() == pytest.approx([90.0, 700.0, 1_050.0, 0.0, 0.0])
    assert shares(requests, 1) == [pytest.approx(1_750 / 1_840)]


def test_a_tenant_that_comes_to_a_full_pool_has_its_share_in_its_first_minute() -> None:
    """At a tenth of the speed of the hardware, and with short answers: as few requests as fill a minute."""
    setting = Setting(2.2, speed=0.1, windows=1, output_tokens=10.0)
    result = simulate(setting.scenario({NEWCOMER: 1.0, GREEDY: 1.0}), named_policy("infscale@queued"), 1)
    assert result.requests.refused.any(), "the pool is full"
    assert shares(result.requests, 1) == [pytest.approx(0.5, abs=MOST_OFF)]
