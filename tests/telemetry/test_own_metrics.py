"""The page of infscale's own metrics is what prometheus_client writes, and nothing waits for all of it."""

import asyncio
from collections.abc import Iterable

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from infscale.telemetry.own_metrics import OwnMetrics


class Counted(Collector):
    """Families of `size` samples, and one of none."""

    def __init__(self, size: int, name: str = "x") -> None:
        self._size = size
        self._name = name

    def collect(self) -> Iterable[Metric]:
        gauge = GaugeMetricFamily(f"{self._name}_gauge", 'a "gauge"\nin two lines', labels=["of"])
        counter = CounterMetricFamily(f"{self._name}_counter", "a counter", labels=["of"])
        histogram = HistogramMetricFamily(f"{self._name}_histogram", "a histogram", labels=["of"])
        for number in range(self._size):
            gauge.add_metric([f'\\{number}"'], number / 3)
            counter.add_metric([str(number)], number)
            histogram.add_metric([str(number)], [("1", number), ("+Inf", 2.0 * number)], number * 1.5)
        yield from (gauge, GaugeMetricFamily(f"{self._name}_nothing", "none"), counter, histogram)
        yield CounterMetricFamily(f"{self._name}_alone", "one value", 7)


@pytest.mark.parametrize("size", [0, 1, 199, 200, 201, 450])
async def test_the_page_is_that_of_the_library(size: int) -> None:
    registry = CollectorRegistry()
    registry.register(Counted(size))
    assert await OwnMetrics([Counted(size)]).written() == generate_latest(registry)


class Watched(Counted):
    """Counts how often it is asked."""

    def __init__(self, name: str) -> None:
        super().__init__(1, name)
        self.asked = 0

    def collect(self) -> Iterable[Metric]:
        self.asked += 1
        return super().collect()


@pytest.mark.parametrize(
    ("asked", "heads"),
    [
        (["y_gauge"], ["y_gauge"]),
        (["x_counter_total", "y_histogram_bucket"], ["x_counter_total", "y_histogram"]),
        (["y_alone_total", "z"], ["y_alone_total"]),
        (["z"], []),
    ],
)
async def test_of_names_that_are_asked_for_there_is_what_there_is(asked: list[str], heads: list[str]) -> None:
    collectors = [Watched("x"), Watched("y")]
    page = OwnMetrics(collectors)
    first, second = await page.written(asked), await page.written(asked)
    found = [line.split()[2] for line in first.decode().splitlines() if line.startswith("# TYPE")]
    assert found == heads
    assert first == second
    # A part that has none of them is not asked again.
    assert [each.asked for each in collectors] == [
        1 + any(head.startswith(name) for head in heads) for name in ("x", "y")
    ]


async def test_others_go_on_while_it_is_written() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(others())
        await OwnMetrics([Counted(2000)]).written()
        task.cancel()
    assert turns >= 20


class Parts(Collector):
    """A histogram in two parts."""

    def collect(self) -> Iterable[Metric]:
        for number in range(2):
            part = HistogramMetricFamily("long", "a long one", labels=["of"])
            part.add_metric([str(number)], [("1", number), ("+Inf", 2.0 * number)], number * 1.5)
            yield part


async def test_a_family_in_parts_is_one_on_the_page() -> None:
    page = (await OwnMetrics([Parts(), Counted(1)]).written()).decode()
    assert page.count("# HELP long a long one\n# TYPE long histogram\n") == 1
    families = {family.name: family for family in text_string_to_metric_families(page)}
    assert len(families["long"].samples) == 8
