"""The reference's defaults of flow control, and which band has which settings."""

import math

import pytest

from picker.flow.reference.band_fairness import GlobalStrict, RoundRobin
from picker.flow.reference.flow_settings import BandSettings, FairnessChoice, FairnessKind, ReferenceFlowSettings
from picker.flow.reference.orderings import FirstComeFirstServed
from picker.flow.reference.program_aware import ProgramAware
from picker.flow.reference.wait_budgets import WaitBudget

USUAL, LOW, TOP = BandSettings(), BandSettings(max_requests=1), BandSettings(ttl_seconds=math.inf)


def test_the_defaults_are_the_references() -> None:
    settings = ReferenceFlowSettings()
    assert (settings.max_requests, settings.max_bytes, settings.evicting) == (None, None, None)
    assert settings.budget == WaitBudget(60.0, 60.0)
    band = settings.band(7)
    assert (band.max_requests, band.max_bytes, band.ttl_seconds) == (5_000, 1_000_000_000, None)
    assert isinstance(band.ordering, FirstComeFirstServed)
    assert isinstance(band.fairness.made(band.ordering), GlobalStrict)
    assert settings.ceilings.made().limits(0.5, [1, 0]) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("settings", "priority", "expected"),
    [
        (ReferenceFlowSettings(bands={5: TOP}), 5, TOP),
        (ReferenceFlowSettings(bands={5: TOP}), 4, USUAL),
        (ReferenceFlowSettings(bands={-1: TOP}, negative_band=LOW), -1, TOP),
        (ReferenceFlowSettings(negative_band=LOW), -2, LOW),
        (ReferenceFlowSettings(negative_band=LOW), 0, USUAL),
        (ReferenceFlowSettings(default_band=LOW), -2, LOW),
    ],
)
def test_a_band_has_its_own_settings_or_those_of_bands_like_it(
    settings: ReferenceFlowSettings, priority: int, expected: BandSettings
) -> None:
    assert settings.band(priority) == expected


def test_a_band_may_have_its_own_time_to_wait_where_there_are_endpoints() -> None:
    settings = ReferenceFlowSettings(budget=WaitBudget(60.0, 90.0), bands={5: TOP})
    assert settings.budget_of(5) == WaitBudget(math.inf, 90.0)
    assert settings.budget_of(0) == WaitBudget(60.0, 90.0)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("global-strict", GlobalStrict), ("round-robin", RoundRobin), ("program-aware", ProgramAware)],
)
def test_each_choice_makes_a_policy_of_its_own(kind: FairnessKind, expected: type) -> None:
    choice = FairnessChoice("x", kind)
    made = [choice.made(FirstComeFirstServed()) for _ in range(2)]
    assert [type(each) for each in made] == [expected, expected]
    assert made[0] is not made[1]
