"""What others have published of routing and scaling, and whether virtual time has the same ordering.

Each claim compares two ways to serve by one measure. `python -m bench.orderings` plays both on the same traffic
(`infscale.simulate`) and prints the table of docs/benchmarks.md. Figures depend on hardware, orderings less so.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Final

from bench.routing import Progress, scenario_of
from infscale.doctor.replay.replayed_hpa import read_hpa
from infscale.documents.strict_document import load
from infscale.errors import InfscaleError
from infscale.simulate.findings.comparison import spoken
from infscale.simulate.findings.estimates import Change
from infscale.simulate.findings.measures import MEASURES, Measure
from infscale.simulate.findings.summaries import ALL, RunSummary
from infscale.simulate.many_runs import Experiment, play
from infscale.simulate.policy import Policy, named_policy
from infscale.simulate.scenario import Scaling, Scenario
from picker.epp_config.presets import PRESETS

_CONFIG: Final = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
saturationDetector: {{pluginRef: utilization-detector}}
plugins:
- type: utilization-detector
  parameters: {{metricsStalenessThreshold: 20s}}
{plugins}
- type: max-score-picker
schedulingProfiles:
- name: default
  plugins:
{refs}
  - {{pluginRef: max-score-picker}}
"""
_LOAD_ONLY: Final = _CONFIG.format(
    plugins="- type: queue-scorer\n- type: kv-cache-utilization-scorer",
    refs="  - {pluginRef: queue-scorer, weight: 1}\n  - {pluginRef: kv-cache-utilization-scorer, weight: 1}",
)
_EVENLY: Final = PRESETS["reference"].replace("weight: 2", "weight: 1").replace("weight: 3", "weight: 1")
_ADMITTING: Final = PRESETS["infscale"].replace("plugins:\n", "plugins:\n- type: probabilistic-admitter\n", 1)
_OWN: Final[Mapping[str, tuple[str, float]]] = {
    "load only, 50 ms": (_LOAD_ONLY, 0.05),
    "load only, 5 s": (_LOAD_ONLY, 5.0),
    "blend 1:1:1": (_EVENLY, 0.05),
    "infscale, probabilistic": (_ADMITTING, 0.5),
}
"""Policies that are no presets: their `EndpointPickerConfig`, and seconds between scrapes."""

_HPA: Final = """\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: default, namespace: default}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: default}
  minReplicas: 2
  maxReplicas: 10
  metrics:
  - type: Object
    object:
      describedObject: {apiVersion: inference.networking.k8s.io/v1, kind: InferencePool, name: default}
      metric: {name: in_flight_requests}
      target: {type: AverageValue, averageValue: "12"}
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """Traffic on servers, as `infscale simulate` names both.

    Requests of class batch have priority `batch`. With `start` and `sync`, seconds, an HPA sets the replicas.
    """

    workloads: tuple[str, ...]
    servers: str
    batch: int = 0
    start: float | None = None
    sync: float = 15.0

    def scenario(self, size: float) -> Scenario:
        """With `size` times the requests. Raises `ConfigError`."""
        workloads = [_sized(each, size) for each in self.workloads]
        scenario = replace(scenario_of(workloads, self.servers), priorities={"batch": self.batch})
        if self.start is None:
            return scenario
        hpa = read_hpa(load(_HPA, "hpa.yaml"))
        return replace(scenario, scaling=Scaling(hpa, self.sync, self.start))


def _sized(workload: str, size: float) -> str:
    """`workload` with `size` times the requests; one that says seconds is as long as it is."""
    before, key, requests = workload.partition("requests=")
    number, comma, after = requests.partition(",")
    return f"{before}{key}{max(1, round(int(number) * size))}{comma}{after}" if key else workload


_B2B: Final = Setting(("b2b-saas:rate=14,requests=700",), "8")
_CHATS: Final = Setting(("long-conversations:rate=4,requests=300",), "8")
_BURSTS: Final = Setting(("conversation:rate=36,cv=3,requests=1500",), "8")
_KTHENA: Final = Setting(("kthena:rate=80,requests=1600",), "3")
_PRODUCTION: Final = Setting(("production:rate=12,requests=800",), "4")
_LORAS: Final = Setting(("lora-mix:rate=20,requests=1200",), "4")
_ASKED: Final = "conversation:rate=24,requests=700,class=interactive"
_ALONE: Final = Setting((_ASKED,), "8")
_MIXED: Final = Setting((_ASKED, "no-prefix:rate=60,question=3000,output=300,requests=1800,class=batch"), "8")
_SURGE: Final = Setting(("surge:rate=2/8/2,requests=1200",), "2xllama-3.1-8b-l4", start=30.0)


@dataclass(frozen=True, slots=True)
class Ordering:
    """One claim: `better` on `at` has less (or more, where more is better) of `measure` than `worse` on `than_at`.

    `published` is what was said, with its figure. `than_at` None is `at`. `request_class` is whose requests count.
    """

    published: str
    figure: str
    at: Setting
    better: str
    worse: str
    measure: str = "ttft_p90_seconds"
    than_at: Setting | None = None
    request_class: str = ALL


ORDERINGS: Final = (
    Ordering("llm-d: prefix-aware against load only, 150 prompts of 6,000 tokens", "57 × shorter", _B2B,
             "reference@50ms", "load only, 50 ms"),
    Ordering("llm-d: prefix-aware against random", "170 × shorter", _B2B, "reference@50ms", "random"),
    Ordering("llm-d: the optimized baseline against the blend of weights", "shorter", _B2B,
             "sticky-until-saturated@50ms", "reference@50ms"),
    Ordering("LMETRIC against a production blend", "50 % shorter", _CHATS, "lmetric@50ms", "reference@50ms"),
    Ordering("LMETRIC against a production blend", "20 % shorter", _CHATS, "lmetric@50ms", "reference@50ms",
             "tpot_p90_seconds"),
    Ordering("load only with old metrics is worse than none, bursts", "2.9 × longer", _BURSTS, "random",
             "load only, 5 s"),
    Ordering("kthena: least load alone is worse than random", "5.8 × longer", _KTHENA, "random", "load only, 5 s"),
    Ordering("kthena: prefix-aware against random", "2.6 × shorter", _KTHENA, "reference@50ms", "random"),
    Ordering("kthena: prefix-aware against random", "2.0–2.7 × more", _KTHENA, "reference@50ms", "random",
             "throughput_rps"),
    Ordering("llm-d: predicted latency against no picker, production profile", "43 % shorter", _PRODUCTION, "infscale",
             "round-robin", "e2e_p50_seconds"),
    Ordering("llm-d: predicted latency against the blend 3:2:2", "32 % shorter", _PRODUCTION, "infscale",
             "reference@50ms", "e2e_p50_seconds"),
    Ordering("llm-d: predicted latency against the blend 3:2:2", "71 % shorter", _PRODUCTION, "infscale",
             "reference@50ms", "ttft_p50_seconds"),
    Ordering("llm-d: the blend 3:2:2 against 1:1:1", "18 % shorter", _PRODUCTION, "reference@50ms", "blend 1:1:1",
             "e2e_p50_seconds"),
    Ordering("GIE: LoRA affinity against a Service", "up to 30 % shorter", _LORAS, "legacy-v0.3@50ms", "random"),
    Ordering("llm-d: probabilistic admission against shedding at saturation, interactive requests", "97 % shorter",
             replace(_MIXED, batch=-1), "infscale, probabilistic", "infscale", request_class="interactive"),
    Ordering("llm-d batch gateway: interactive requests with batch protected against unprotected", "3.1 × shorter",
             replace(_MIXED, batch=-1), "infscale", "infscale", "ttft_p50_seconds", _MIXED, "interactive"),
    Ordering("llm-d batch gateway: interactive requests alone against protected", "12 % shorter", _ALONE, "infscale",
             "infscale", "ttft_p50_seconds", replace(_MIXED, batch=-1), "interactive"),
    Ordering("DynoSim: planned every 5 s against every 60 s", "p90 49 s at 60 s", replace(_SURGE, sync=5.0), "infscale",
             "infscale", than_at=replace(_SURGE, sync=60.0)),
    Ordering("DynoSim: cold start of 30 s against 300 s", "p90 242 s at 300 s", _SURGE, "infscale", "infscale",
             than_at=replace(_SURGE, start=300.0)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """What virtual time says of an ordering: means of both sides, and the change of `better` to `worse`."""

    ordering: Ordering
    better: str
    worse: str
    change: Change | None

    @property
    def verdict(self) -> str:
        """Whether the ordering is the published one, as far as chance lets it be told."""
        if self.change is None or not self.change.certain:
            return "no certain difference"
        return "same" if (self.change.ratio > 1) == _measure(self.ordering).more_is_better else "the other way round"


def _measure(ordering: Ordering) -> Measure:
    return next(each for each in MEASURES if each.key == ordering.measure)


def policy(words: str) -> Policy:
    """The policy that the orderings call `words`. Raises `ConfigError`."""
    if words not in _OWN:
        return named_policy(words)
    text, scrape = _OWN[words]
    return Policy(words, text, words, scrape)


def found(orderings: Sequence[Ordering], size: float, seeds: int, jobs: int | None) -> list[Finding]:
    """Play what the orderings need, each run once. Raises `InfscaleError`."""
    wanted: dict[Setting, dict[str, None]] = {}
    for each in orderings:
        wanted.setdefault(each.at, {})[each.better] = None
        wanted.setdefault(each.than_at or each.at, {})[each.worse] = None
    runs: dict[tuple[Setting, str], tuple[RunSummary, ...]] = {}
    for setting, names in wanted.items():
        scenario = setting.scenario(size)
        experiment = Experiment(scenario, tuple(policy(each) for each in names), tuple(range(1, seeds + 1)))
        summaries = [
            RunSummary.of(each, scenario.goal) for each in play(experiment, jobs, Progress(setting.workloads[0]))
        ]
        for name in names:
            runs[setting, name] = tuple(each for each in summaries if each.policy == name)
    return [_finding(each, runs[each.at, each.better], runs[each.than_at or each.at, each.worse]) for each in orderings]


def _finding(ordering: Ordering, better: Sequence[RunSummary], worse: Sequence[RunSummary]) -> Finding:
    measure = _measure(ordering)
    sides = [_values(runs, measure, ordering.request_class) for runs in (better, worse)]
    written = [measure.write(fmean(each.values())) if each else "–" for each in sides]
    ours, theirs = sides
    both = [seed for seed in ours if seed in theirs]
    change = Change.of([ours[seed] for seed in both], [theirs[seed] for seed in both])
    return Finding(ordering, written[0], written[1], change)


def _values(runs: Sequence[RunSummary], measure: Measure, name: str) -> Mapping[int, float]:
    """By seed. A run of one class has it as `ALL`."""
    read = ((run.seed, measure.read(run, name if name in run.classes else ALL)) for run in runs)
    return {seed: value for seed, value in read if value is not None}


def markdown(findings: Sequence[Finding]) -> str:
    """A row for each claim."""
    lines = ["| published | figure | measure | ours | change (95 %) | ordering |", "|---|---|---|---|---|---|"]
    for each in findings:
        claim, measure = each.ordering, _measure(each.ordering)
        ours = f"{_side(claim, True)} {each.better}, {_side(claim, False)} {each.worse}"
        change = "–" if each.change is None else spoken(each.change, measure)
        lines.append(f"| {claim.published} | {claim.figure} | {measure.name} | {ours} | {change} | {each.verdict} |")
    return "\n".join(lines)


def _side(ordering: Ordering, better: bool) -> str:
    """What tells the two sides apart: the policy, else what differs of the setting."""
    if ordering.better != ordering.worse:
        return f"`{ordering.better if better else ordering.worse}`"
    at, other = ordering.at, ordering.than_at or ordering.at
    setting = at if better else other
    if at.sync != other.sync:
        return f"sync {setting.sync:.0f} s"
    if at.start != other.start:
        return f"start {setting.start:.0f} s"
    if at.workloads != other.workloads:
        return "alone" if len(setting.workloads) == 1 else "beside batch"
    return f"batch at priority {setting.batch}"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="bench.orderings", description="Published orderings, in virtual time.")
    parser.add_argument("--size", type=float, default=1.0, help="so many times the requests")
    parser.add_argument("--seeds", type=int, default=5, help="of each run (default 5)")
    parser.add_argument("--only", default="", metavar="WORDS", help="claims that have these words")
    parser.add_argument("--jobs", type=int, help="processes at once (default: one per core)")
    given = parser.parse_args()
    chosen = [each for each in ORDERINGS if given.only.lower() in each.published.lower()]
    try:
        findings = found(chosen, given.size, given.seeds, given.jobs)
    except InfscaleError as error:
        print(f"bench.orderings: {error}", file=sys.stderr)
        return 2
    print(markdown(findings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
