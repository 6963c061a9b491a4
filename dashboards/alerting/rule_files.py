"""Rules as the files that are read: one of Prometheus, and the same as an object of the Prometheus Operator."""

from collections.abc import Sequence

import yaml

from dashboards.alerting.alerts import ALERTS
from dashboards.alerting.recordings import RECORDINGS
from dashboards.alerting.rule import Alert

Document = dict[str, object]

HEAD = "# Written by `make dashboards` from dashboards/alerting; a change here is lost.\n"
_NAME = "infscale"


def rule_file(runbooks: str) -> str:
    """The file of Prometheus; `runbooks` is where docs/runbooks.md can be read."""
    return HEAD + _written({"groups": _groups(ALERTS, runbooks)})


def prometheus_rule(runbooks: str) -> str:
    """The same rules as a `PrometheusRule` (monitoring.coreos.com/v1)."""
    return HEAD + _written(
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": _NAME, "labels": {"app.kubernetes.io/name": _NAME}},
            "spec": {"groups": _groups(ALERTS, runbooks)},
        }
    )


def _groups(alerts: Sequence[Alert], runbooks: str) -> list[Document]:
    recorded: list[Document] = [{"record": each.name, "expr": each.expr} for each in RECORDINGS]
    return [
        {"name": f"{_NAME}.recordings", "rules": recorded},
        {"name": f"{_NAME}.alerts", "rules": [_alert(each, runbooks) for each in alerts]},
    ]


def _alert(alert: Alert, runbooks: str) -> Document:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.wait,
        "labels": {"severity": alert.severity.value},
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": f"{runbooks}#{alert.name.lower()}",
            "dashboard": f"/d/infscale-{alert.board}",
        },
    }


def _written(document: Document) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=1000, allow_unicode=True)
