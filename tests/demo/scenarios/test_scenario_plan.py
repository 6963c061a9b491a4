"""Plans of scenarios: what they promise of their traffic, and that what is compared can be read."""

import random

import pytest

from infscale.config.flow_control_settings import flow_control_settings
from infscale.demo.scenarios.scenario_plan import DEMO_PLANS, HEAVY, LIGHT, PLANS, overload, sessions
from infscale.documents.strict_document import load
from infscale.serving.picker_config import parse_picker_config
from infscale.sim.load.traffic import LoadTarget
from infscale.sim.load.virtual_request import VirtualRequest


def requests(name: str, stretch: float = 1.0) -> list[VirtualRequest]:
    """All requests of a scenario that do not wait for answers."""
    return list(PLANS[name](stretch).traffic(LoadTarget("m")).stream(random.Random(1)).arriving())


def test_batch_comes_after_the_interactive_class_was_alone_and_one_tenant_asks_ten_times_as_much() -> None:
    found = requests("overload")
    batch = [each for each in found if each.request_class == "batch"]
    assert min(each.at_seconds for each in batch) >= overload().calm_seconds
    asked = {tenant: sum(each.tenant == tenant for each in batch) for tenant in (HEAVY, LIGHT)}
    assert asked[HEAVY] / asked[LIGHT] == pytest.approx(10, rel=0.1)
    assert all(each.tenant is None for each in found if each.request_class == "interactive")


@pytest.mark.parametrize("name", DEMO_PLANS)
def test_a_scenario_that_lasts_longer_asks_as_fast(name: str) -> None:
    once, longer = requests(name), requests(name, 3.0)
    assert longer[-1].at_seconds > 2 * once[-1].at_seconds
    assert len(longer) / longer[-1].at_seconds == pytest.approx(len(once) / once[-1].at_seconds, rel=0.25)


@pytest.mark.parametrize("name", DEMO_PLANS)
def test_the_demo_sends_for_less_than_a_minute(name: str) -> None:
    assert requests(name)[-1].at_seconds < 40.0


@pytest.mark.parametrize("name", PLANS)
def test_what_is_compared_can_be_read(name: str) -> None:
    for each in PLANS[name](1.0).contenders:
        config = parse_picker_config(each.text, each.name, keys=False)
        assert (config.flow is not None) == (each.name == "reference")
        lines = [f"{key}: {str(value).lower()}" for key, value in each.flow_control.items()]
        flow_control_settings(load("\n".join(lines) or "{}", each.name))


def test_a_restart_replaces_every_server_with_one_that_is_ready_before() -> None:
    plan = sessions()
    begin, end = plan.restart
    restart = [each for each in plan.steps if begin <= each.at_seconds < end]
    assert sum(each.oldest for each in restart) == sum(each.added for each in restart) == plan.servers + 1
    added = [each.at_seconds for each in restart if each.added]
    ended = [each.at_seconds for each in restart if each.oldest]
    assert all(end > begin + plan.start_seconds for begin, end in zip(added, ended, strict=True))
