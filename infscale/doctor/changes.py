"""What changed from one diagnosis to the next."""

from collections.abc import Iterator

from infscale.doctor.diagnosis import Diagnosis
from infscale.doctor.diagnosis_text import WIDTH, Line, clean, finding_lines
from infscale.doctor.rules.rule import Finding


def changes(before: Diagnosis, after: Diagnosis, width: int = WIDTH) -> Iterator[Line]:
    """Findings that came and went, replicas, and what the controller will do; nothing where all is as it was."""
    known = {_identity(each) for each in before.findings}
    for each in after.findings:
        if _identity(each) not in known:
            yield from finding_lines(each, width)
    left = {_identity(each) for each in after.findings}
    for each in before.findings:
        if _identity(each) not in left:
            yield Line(clean(f"mended: {each.code} {each.found.subject}, {each.found.field}"), "green")
    earlier = {each.autoscaler.key: each.next for each in before.autoscalers}
    for examined in after.autoscalers:
        was, sync = earlier.get(examined.autoscaler.key), examined.next
        if was is None:
            yield Line(clean(f"new: HPA {examined.autoscaler.key}"))
        if was is None or (was.current, was.desired, was.reason) != (sync.current, sync.desired, sync.reason):
            wanted = "nothing" if sync.desired is None else f"{sync.current} → {sync.desired}"
            yield Line(clean(f"HPA {examined.autoscaler.key}: {wanted} ({sync.reason}): {sync.explanation}"))
    there = {each.autoscaler.key for each in after.autoscalers}
    yield from (Line(clean(f"gone: HPA {key}")) for key in earlier if key not in there)


def _identity(finding: Finding) -> tuple[str, str, str]:
    """What stays of a finding while its words change: ages and replicas are in them."""
    return finding.code, str(finding.found.subject), finding.found.field
