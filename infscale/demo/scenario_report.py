"""What a scenario's demo found, as one JSON document. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from infscale.demo.scenario_phase import ScenarioRecord, ServerCount
from infscale.demo.scenarios.compared_figures import remarks
from infscale.demo.scenarios.figures import Figures, figures
from infscale.demo.scenarios.scenario_load import rows
from infscale.demo.scenarios.scenario_plan import ScenarioPlan
from infscale.demo.scenarios.served import Served
from infscale.sim.load.virtual_request import VirtualRequest


@dataclass(frozen=True, slots=True)
class ScenarioReport:
    """All contenders on the same traffic, and what they were measured with."""

    plan: ScenarioPlan
    seed: int
    versions: Mapping[str, str]
    requests: Sequence[VirtualRequest]
    records: Mapping[str, ScenarioRecord]

    def served(self) -> Mapping[str, list[Served]]:
        """What became of the requests, by contender."""
        return {name: rows(self.requests, record.outcomes) for name, record in self.records.items()}

    def figures(self) -> Mapping[str, Figures]:
        """The figures by contender."""
        return {name: figures(self.plan, served) for name, served in self.served().items()}

    def servers(self) -> Mapping[str, Sequence[ServerCount]]:
        """How many servers there were over time, by contender."""
        return {name: record.servers for name, record in self.records.items()}

    def remarks(self) -> list[str]:
        """What is said below the table."""
        lines = remarks(self.plan.name, self.figures())
        for name, record in self.records.items():
            if record.left:
                lines.append(
                    f"{name}: {record.left:.0f} requests are on the picker's books at the end, none was expected"
                )
            elif record.left is None:
                lines.append(f"{name}: what is on the picker's books at the end is not known")
        return lines

    def document(self) -> dict[str, object]:
        """The JSON document."""
        plan = self.plan
        found = self.figures()
        return {
            "scenario": plan.name,
            "about": plan.about,
            "seed": self.seed,
            "versions": dict(self.versions),
            "workloads": list(plan.workloads),
            "servers": {"coefficients": plan.coefficients, "at_first": plan.servers},
            "steps": [asdict(each) for each in plan.steps],
            "scaling": None if plan.scaling is None else asdict(plan.scaling),
            "contenders": {
                each.name: {
                    "configuration": each.text,
                    "flow_control": dict(each.flow_control),
                    "scrape_seconds": each.scrape_seconds,
                    "figures": asdict(found[each.name]),
                    "left_on_the_books": self.records[each.name].left,
                    "servers": [asdict(count) for count in self.records[each.name].servers],
                }
                for each in plan.contenders
            },
        }
