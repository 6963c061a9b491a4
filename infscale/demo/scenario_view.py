"""The table at the end of a scenario: contenders side by side. Needs rich."""

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from infscale.demo.scenario_report import ScenarioReport
from infscale.demo.scenarios.compared_figures import MEASURES
from infscale.demo.scenarios.contenders import OURS


def scenario_table(report: ScenarioReport) -> Table:
    """Figures row by row, and how ours compare to the others'."""
    found, others = report.figures(), [name for name in report.records if name != OURS]
    title = f"{report.plan.name}: the same traffic, {len(found)} times"
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in found:
        table.add_column(name, justify="right", style="bold" if name == OURS else "", no_wrap=True)
    for name in others:
        table.add_column(f"to {name}", justify="right", no_wrap=True)
    for measure in MEASURES[report.plan.name]:
        values = [measure.read(one) for one in found.values()]
        words: list[RenderableType] = []
        for name in others:
            gain = measure.gain(found[OURS], found[name])
            style = "" if gain is None else "green" if gain >= 1 else "red"
            words.append(Text(measure.compared(found[OURS], found[name]), style=style))
        table.add_row(measure.short, *("–" if value is None else measure.write(value) for value in values), *words)
    return table
