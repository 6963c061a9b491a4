"""A diagnosis for people: lines that fit 80 columns, commands whole so that they can be copied.

What comes from the cluster is shown without characters that a terminal would act on.
"""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from infscale.doctor.diagnosis import AskedMetric, Diagnosis, ExaminedAutoscaler, ExaminedPool
from infscale.doctor.rules.rule import Finding, Severity
from infscale.doctor.view.seen_scalers import SeenCondition, SeenMetric, SeenScaledObject

WIDTH = 80
_MOST_VALUES = 6
_MOST_WORDS = 400
_LABEL = 9


@dataclass(frozen=True, slots=True)
class Line:
    """A line and how it is shown: a `style` of rich, "" for none. A command is never broken."""

    text: str
    style: str = ""


_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow"}


def lines(diagnosis: Diagnosis, width: int = WIDTH) -> Iterator[Line]:
    """The whole diagnosis."""
    version = f"Kubernetes 1.{diagnosis.minor}. " if diagnosis.minor is not None else ""
    yield from _wrapped(f"{version}{diagnosis.infscale}.", width)
    for examined in diagnosis.autoscalers:
        yield Line("")
        yield from _autoscaler(examined, width)
    for scaled in diagnosis.scaled_objects:
        yield Line("")
        yield from _scaled_object(scaled, width)
    for pool in diagnosis.pools:
        yield Line("")
        yield from _pool(pool, width)
    yield Line("")
    yield from _findings(diagnosis, width)
    for each in diagnosis.unchecked:
        codes = f"{', '.join(each.codes)}: " if each.codes else ""
        yield from _wrapped(f"Not looked at: {codes}{each.why}", width, style="dim")


def _autoscaler(examined: ExaminedAutoscaler, width: int) -> Iterator[Line]:
    autoscaler, sync = examined.autoscaler, examined.next
    now = "" if sync.current is None else f", {sync.current} now"
    bounds = f"{autoscaler.min_replicas} to {autoscaler.max_replicas} replicas{now}"
    yield from _wrapped(f"HPA {autoscaler.key}: {autoscaler.target}, {bounds}", width, style="bold")
    for each in examined.metrics:
        yield from _metric(each, width)
    wanted = "nothing" if sync.desired is None else f"{sync.current} → {sync.desired} replicas"
    yield from _labelled("next", f"{wanted} ({sync.reason}): {sync.explanation}", width)
    for condition in autoscaler.conditions:
        if _is_telling(condition):
            yield from _labelled("says", f"{condition.type} {condition.reason}: {condition.message}", width)


def _is_telling(condition: SeenCondition) -> bool:
    """Whether a condition says more than that all is well."""
    good = {"AbleToScale": "True", "ScalingActive": "True", "ScalingLimited": "False"}
    return condition.status != good.get(condition.type, "False") or condition.reason.endswith("Stabilized")


def target_words(metric: SeenMetric) -> str:
    """A target as people say it."""
    if metric.target_percent is not None:
        return f"{metric.target_percent} % of requests"
    return f"{metric.target_type} {metric.target_text}"


def _metric(asked: AskedMetric, width: int) -> Iterator[Line]:
    metric = asked.metric
    yield from _wrapped(f"{metric.form} {metric.name}, target {target_words(metric)}", width, "  ")
    answer = asked.answer
    if answer is None or answer.path is None:
        yield from _labelled("asks", "nothing" if answer is None else answer.problem or "nothing", width)
        return
    yield Line(f"    {'asks':{_LABEL}}{_visible(answer.path)}")
    if answer.problem is not None:
        yield from _labelled("answer", answer.problem, width, "red")
        return
    values = [f"{each.name} {each.milli / 1000:g}".strip() for each in answer.items]
    more = f" … ({len(values)} in all)" if len(values) > _MOST_VALUES else ""
    age = "" if asked.age_seconds is None else f"; {asked.age_seconds:.0f} s old"
    yield from _labelled("answer", f"{', '.join(values[:_MOST_VALUES]) or 'an empty list'}{more}{age}", width)


def _scaled_object(scaled: SeenScaledObject, width: int) -> Iterator[Line]:
    bounds = f"{scaled.min_replicas} to {scaled.max_replicas} replicas by HPA {scaled.hpa_name}"
    yield from _wrapped(f"ScaledObject {scaled.key}: {scaled.target}, {bounds}", width, style="bold")
    for each in scaled.triggers:
        address = each.metadata.get("scalerAddress") or each.metadata.get("serverAddress") or ""
        yield from _wrapped(f"{each.type} {address}".strip(), width, "  ")


def _pool(examined: ExaminedPool, width: int) -> Iterator[Line]:
    pool = examined.pool
    ports = ", ".join(map(str, pool.ports))
    picker = "no EPP is named" if pool.picker is None else f"EPP {pool.picker.name}:{pool.picker.port}"
    yield from _wrapped(f"Pool {pool.key}: {pool.labels} on port {ports}", width, style="bold")
    yield from _wrapped(f"{examined.pods} pods, {examined.ready} ready; {picker}", width, "  ")


def _findings(diagnosis: Diagnosis, width: int) -> Iterator[Line]:
    if not diagnosis.findings:
        yield Line("Nothing is wrong.", "green")
        return
    yield Line(summary(diagnosis), "bold")
    for each in diagnosis.findings:
        yield Line("")
        yield from finding_lines(each, width)


def summary(diagnosis: Diagnosis) -> str:
    """How much is wrong."""
    errors, warnings = diagnosis.count(Severity.ERROR), diagnosis.count(Severity.WARNING)
    return f"{errors} error{'s' * (errors != 1)}, {warnings} warning{'s' * (warnings != 1)}"


def finding_lines(finding: Finding, width: int = WIDTH) -> Iterator[Line]:
    """One finding: what is wrong with what, why, and the command that mends it."""
    found = finding.found
    yield from _wrapped(f"{finding.code} {finding.severity}: {finding.title}", width, style=_STYLES[finding.severity])
    yield from _wrapped(f"{found.subject}, {found.field}", width, "  ")
    yield from _wrapped(f"{found.cause}.", width, "  ")
    for line in found.fix.splitlines():
        yield Line(_visible(line), "cyan")


def clean(text: str) -> str:
    """`text` on one line without characters that a terminal acts on, cut where it is long."""
    one_line = " ".join(text.split())
    return _visible(one_line if len(one_line) <= _MOST_WORDS else one_line[:_MOST_WORDS] + "…")


def _visible(text: str) -> str:
    return "".join(each if each.isprintable() else "�" for each in text)


def _labelled(label: str, text: str, width: int, style: str = "") -> Iterable[Line]:
    return _wrapped(text, width, f"    {label:{_LABEL}}", style, " " * (4 + _LABEL))


def _wrapped(text: str, width: int, indent: str = "", style: str = "", hanging: str | None = None) -> Iterable[Line]:
    further = f"{indent}  " if hanging is None else hanging
    broken = textwrap.wrap(clean(text), width, initial_indent=indent, subsequent_indent=further, break_on_hyphens=False)
    return [Line(each, style) for each in broken]
