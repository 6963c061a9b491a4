"""The tables of docs/workloads.md, from the rows of the code; ``python -m tests.docs.workloads`` renews them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from infscale.sim.engine.coefficients import coefficient_set
from infscale.sim.load.distributions.arrival_times import Arrivals
from infscale.sim.load.distributions.lengths import Lengths, Shape
from infscale.sim.load.group_load import GroupLoad
from infscale.sim.load.named.named_workloads import MIXTURES, NAMED_WORKLOADS, NamedWorkload, Template
from infscale.sim.load.named.workload_parameters import parameters
from infscale.sim.load.session_load import SessionLoad
from infscale.sim.load.trace_load import TracePlay

PAGE = Path(__file__).parent.parent.parent / "docs" / "workloads.md"
KINDS = {GroupLoad: "groups", SessionLoad: "sessions", TracePlay: "traces"}

MEANINGS = {
    "rate": "requests per second",
    "seconds": "for how long they arrive; of a trace, how many of its seconds are played",
    "requests": "how many there are, instead of `seconds`; of a trace, at most",
    "cv": "how bursty arrivals are; of a trace, instead of its own arrivals",
    "groups": "how many system prompts there are",
    "users": "users of each group, each with a conversation of their own",
    "turns": "questions of a conversation before it starts anew",
    "system": "tokens of a system prompt",
    "first": "tokens of a conversation's first prompt",
    "question": "tokens that each question adds",
    "output": "tokens of an answer; of a recording, of those whose length was not recorded",
    "think": "seconds between the end of an answer and the next question",
    "zipf": "how much more popular groups are asked for: the exponent of Zipf's law, 0 is evenly",
    "hot": "share of all requests that are for the first group",
    "loras": "LoRA adapters, of which each group uses one",
    "start": "second of the trace at which it begins; without it each seed has another part",
    "speed": "seconds of the trace in one; with `rate` as well, groups that share prefixes are left out until it fits",
    "file": "the trace",
}


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines]


def _length(lengths: Lengths) -> str:
    if lengths.shape is Shape.FIXED:
        return f"{lengths.mean:,.0f}"
    if lengths.shape is Shape.EXPONENTIAL:
        return f"{lengths.mean:,.0f} {lengths.shape.value}"
    return f"{lengths.mean:,.0f} ± {lengths.spread:,.0f} {lengths.shape.value}"


def _arrivals(arrivals: Arrivals) -> str:
    rates = " / ".join(f"{rate:g}" for rate in arrivals.rates[:3])
    burst = "" if arrivals.cv == 1 else f", cv {arrivals.cv:g}"
    return f"{rates}{' / …' if len(arrivals.rates) > 3 else ''} for {arrivals.seconds:,.0f} s{burst}"


def _lengths(template: Template) -> str:
    if isinstance(template, TracePlay):
        return "the trace's"
    named = {"system": template.system}
    if isinstance(template, SessionLoad):
        named["first"] = template.first
    named |= {"question": template.question, "output": template.output}
    if isinstance(template, SessionLoad):
        named |= {"turns": template.turns, "think": template.think}
    return "; ".join(f"{name} {_length(each)}" for name, each in named.items() if each.mean > 0)


def _kind(template: Template) -> str:
    if isinstance(template, SessionLoad | TracePlay):
        return KINDS[type(template)]
    users = f" × {template.users}" if template.users > 1 else ""
    turns = f", {template.turns} turns" if template.turns > 1 else ""
    return f"groups: {template.groups}{users}{turns}"


def _row(row: NamedWorkload) -> Sequence[str]:
    template, fleet = row.template, row.fleet
    if isinstance(template, TracePlay):
        rate = "as the trace" if template.rate is None else f"{template.rate:g}, {template.requests:,} requests"
    else:
        rate = _arrivals(template.arrivals)
    servers = f"{fleet.servers} × `{coefficient_set(fleet.coefficients).name}`"
    return f"`{row.name}`", row.about, _kind(template), rate, _lengths(template), servers


def _parameters() -> list[str]:
    kinds: dict[str, list[str]] = {}
    for kind, name in KINDS.items():
        template = next(row.template for row in NAMED_WORKLOADS.values() if type(row.template) is kind)
        for key in (*parameters(template), *(("file",) if kind is TracePlay else ())):
            kinds.setdefault(key, []).append(name)
    return _table(("key", "of", "meaning"), ((f"`{key}`", ", ".join(of), MEANINGS[key]) for key, of in kinds.items()))


def _mixtures() -> list[str]:
    rows = ((f"`{name}`", " and ".join(f"`{text}`" for text in texts)) for name, texts in MIXTURES.items())
    return _table(("name", "is"), rows)


def renewed(page: str) -> str:
    """The page with every table as it is now."""
    head = ("name", "what", "kind", "rate", "lengths", "servers")
    tables = {
        "Names": _table(head, map(_row, NAMED_WORKLOADS.values())),
        "Mixtures": _mixtures(),
        "Parameters": _parameters(),
    }
    for section, lines in tables.items():
        before, title, rest = page.partition(f"## {section}\n")
        words, _, after = rest.partition("\n|")
        page = f"{before}{title}{words}\n" + "\n".join(lines) + f"\n\n{after.partition(chr(10) * 2)[2]}"
    return page


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
