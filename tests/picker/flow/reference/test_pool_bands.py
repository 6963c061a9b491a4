"""Which bands a pool has, and what their policies share."""

from picker.flow.budgets import Budget
from picker.flow.reference.flow_settings import BandSettings, FairnessChoice, ReferenceFlowSettings
from picker.flow.reference.orderings import EarliestDeadline
from picker.flow.reference.pool_bands import UNUSED_SECONDS, PoolBands
from picker.flow.reference.program_aware import ProgramAware
from tests.picker.flow.reference.held import held

PROGRAMS = FairnessChoice("programs", "program-aware")


def test_bands_are_those_configured_zero_and_those_seen_of_late() -> None:
    bands = PoolBands(ReferenceFlowSettings(bands={5: BandSettings(), -3: BandSettings()}))
    assert list(bands.priorities((), 0.0)) == [5, 0, -3]
    bands.use(7, 0.0)
    bands.use(-3, 0.0)
    assert list(bands.priorities((), UNUSED_SECONDS)) == [7, 5, 0, -3]
    assert list(bands.priorities((2,), UNUSED_SECONDS + 1.0)) == [5, 2, 0, -3]
    assert list(bands.priorities((), 2 * UNUSED_SECONDS)) == [5, 2, 0, -3]


def test_each_band_has_its_own_order_and_budget() -> None:
    top = BandSettings(max_requests=3, max_bytes=9, ordering=EarliestDeadline())
    bands = PoolBands(ReferenceFlowSettings(bands={5: top}))
    assert bands.key(held(1, at=2.0, priority=5, expires_at=8.0)) == (8.0,)
    assert bands.key(held(1, at=2.0, expires_at=8.0)) == (2.0,)
    assert bands.budget(5) == Budget(3, 9)
    assert bands.budget(0) == Budget(5_000, 1_000_000_000)


def test_turns_are_of_each_band_and_programs_of_all_that_name_the_same_plugin() -> None:
    turns = FairnessChoice("turns", "round-robin")
    settings = {1: BandSettings(fairness=PROGRAMS), 2: BandSettings(fairness=PROGRAMS), 3: BandSettings(fairness=turns)}
    bands = PoolBands(ReferenceFlowSettings(bands=settings, default_band=BandSettings(fairness=turns)))
    assert bands.fairness(1) is bands.fairness(2)
    assert bands.fairness(3) is not bands.fairness(4)
    assert bands.fairness(3) is bands.fairness(3)
    assert bands.programs == (bands.fairness(1),)


def test_tokens_count_where_fairness_is_by_service() -> None:
    bands = PoolBands(ReferenceFlowSettings(bands={1: BandSettings(fairness=PROGRAMS)}))
    bands.served(held(1, "a", priority=1), 10.0, 5.0, 0.0)
    bands.served(held(2, "a"), 10.0, 5.0, 0.0)
    programs = bands.fairness(1)
    assert isinstance(programs, ProgramAware)
    assert programs.programs["a"].served_tokens == 20.0
