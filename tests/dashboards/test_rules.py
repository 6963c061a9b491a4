"""Alerts fire when they should and not otherwise, by Prometheus' own rule tests, and lead to a runbook."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import promql_parser
import pytest
import yaml

from dashboards.__main__ import FOLDER, RUNBOOKS, files
from dashboards.alerting.alerts import ALERTS
from dashboards.alerting.recordings import RECORDINGS
from dashboards.alerting.rule import Alert
from dashboards.boards import BOARDS
from tests.dashboards.exported import exported, kept_labels, problems

ROOT = FOLDER.parent
MINUTES = 40
POOL = 'pool="a/b"'
PICKS = f'infscale_picker_picks_total{{{POOL},endpoint="a/e"}}'
# What recordings are of, by the first part of their names.
LEVELS: Mapping[str, frozenset[str]] = {
    "pool": frozenset({"pool"}),
    "endpoint": frozenset({"endpoint"}),
    "kind": frozenset({"kind"}),
    "infscale": frozenset(),
}
KNOWN = exported() | {each.name: LEVELS[each.name.partition(":")[0]] for each in RECORDINGS}


def level(value: float) -> str:
    return f"{value:g}x{MINUTES}"


def growing(per_minute: float, start: float = 0) -> str:
    return f"{start:g}+{per_minute:g}x{MINUTES}"


@dataclass(frozen=True)
class Case:
    """Series that make an alert fire, with the labels that it then has, and series that do not."""

    fires: Mapping[str, str]
    quiet: Mapping[str, str]
    labels: str = POOL


def of_pool(metric: str, fires: float, quiet: float, **others: float) -> Case:
    """A gauge of a pool, beside others that are the same in both."""
    same = {f"{name}{{{POOL}}}": level(value) for name, value in others.items()}
    return Case({f"{metric}{{{POOL}}}": level(fires), **same}, {f"{metric}{{{POOL}}}": level(quiet), **same})


def share(part: str, rest: str, labels: str, *, fires: float, quiet: float) -> Case:
    """A counter that grows so much in a minute while another grows by 100."""
    return Case({part: growing(fires), rest: growing(100)}, {part: growing(quiet), rest: growing(100)}, labels)


ASKED = 'infscale_adapter_requests_total{{kind="external",status="{}"}}'
KEDA = 'infscale_keda_calls_total{{method="{}",status="{}"}}'
FAST, SLOW = ("infscale_picker_decision_seconds_bucket" + f'{{le="{bound}"}}' for bound in ("0.01", "1.0"))
ALL = 'infscale_picker_decision_seconds_bucket{le="+Inf"}'
CASES: Mapping[str, Case] = {
    "InfscaleAbsent": Case({"up": level(1)}, {'infscale_build_info{version="1"}': level(1)}, ""),
    "InfscalePoolWithoutReadyEndpoint": of_pool("infscale_pool_ready_endpoints", 0, 1, infscale_pool_endpoints=3),
    "InfscaleRequestsWithoutEndpoint": of_pool("infscale_pool_requests_without_endpoint", 2, 0),
    "InfscaleEndpointsStale": of_pool("infscale_pool_fresh_endpoints", 1, 2, infscale_pool_ready_endpoints=3),
    "InfscalePoolLoadUnknown": of_pool("infscale_pool_unknown_load", 1, 0),
    "InfscalePoolSaturated": of_pool("infscale_pool_saturation_ratio", 1, 0.9),
    "InfscaleQueueLatencyHigh": Case(
        {f'infscale_pool_queue_latency_p90_seconds{{{POOL},model="m"}}': level(11)},
        {f'infscale_pool_queue_latency_p90_seconds{{{POOL},model="m"}}': level(9)},
        f'{POOL},model="m"',
    ),
    "InfscaleRequestsHeldLong": Case(
        {f'infscale_pool_queue_wait_p90_seconds{{{POOL},model="m"}}': level(31)},
        {f'infscale_pool_queue_wait_p90_seconds{{{POOL},model="m"}}': level(29)},
        f'{POOL},model="m"',
    ),
    "InfscaleRequestsRefused": share(
        f'infscale_picker_rejections_total{{{POOL},reason="saturated",status="429"}}', PICKS, POOL, fires=10, quiet=2
    ),
    "InfscaleModelServerErrors": share(
        f'infscale_picker_responses_total{{{POOL},status="5xx"}}',
        f'infscale_picker_responses_total{{{POOL},status="2xx"}}',
        POOL,
        fires=10,
        quiet=2,
    ),
    "InfscaleScrapesFail": share(
        'infscale_scrape_failures_total{endpoint="a/e"}',
        'infscale_scrapes_total{endpoint="a/e"}',
        'endpoint="a/e"',
        fires=90,
        quiet=20,
    ),
    "InfscaleExporterScrapesFail": share(
        'infscale_exporter_scrape_failures_total{exporter="x"}',
        'infscale_exporter_scrapes_total{exporter="x"}',
        'exporter="x"',
        fires=90,
        quiet=20,
    ),
    "InfscaleNodeAgentScrapesFail": share(
        'infscale_node_agent_scrape_failures_total{agent="x"}',
        'infscale_node_agent_scrapes_total{agent="x"}',
        'agent="x"',
        fires=90,
        quiet=20,
    ),
    "InfscaleServersNotServing": of_pool("infscale_pool_not_serving_endpoints", 1, 0),
    "InfscaleDecisionsSlow": Case(
        {FAST: growing(90), SLOW: growing(100), ALL: growing(100)},
        {FAST: growing(100), SLOW: growing(100), ALL: growing(100)},
        "",
    ),
    "InfscaleGatewaysLimited": Case(
        {'infscale_picker_limits_total{limit="connections"}': growing(1)},
        {
            'infscale_picker_limits_total{limit="connections"}': level(7),
            'infscale_picker_limits_total{limit="loop_turn"}': growing(50),
        },
        'limit="connections"',
    ),
    "InfscaleConfigurationRefused": Case(
        {'infscale_picker_config_last_reload_success{instance="i"}': level(0)},
        {'infscale_picker_config_last_reload_success{instance="i"}': level(1)},
        'instance="i"',
    ),
    "InfscaleDiscoveryRefused": Case(
        {'infscale_discovery_refusals_total{instance="i"}': growing(0.5)},
        {'infscale_discovery_refusals_total{instance="i"}': level(4)},
        'instance="i"',
    ),
    "InfscaleWatchDisconnected": Case(
        {'infscale_watch_disconnected_seconds{instance="i",watch="w"}': growing(60)},
        {'infscale_watch_disconnected_seconds{instance="i",watch="w"}': level(10)},
        'instance="i",watch="w"',
    ),
    "InfscaleAdapterErrors": share(ASKED.format(503), ASKED.format(200), 'kind="external"', fires=20, quiet=5),
    "InfscaleQueriesFail": share(
        'infscale_query_run_failures_total{query="q"}',
        'infscale_query_runs_total{query="q"}',
        'query="q"',
        fires=90,
        quiet=20,
    ),
    "InfscaleRulesNotDiscovered": share(
        'infscale_rule_discovery_run_failures_total{rule="rules[0]"}',
        'infscale_rule_discovery_runs_total{rule="rules[0]"}',
        'rule="rules[0]"',
        fires=90,
        quiet=20,
    ),
    "InfscaleRuleQueriesFail": share(
        'infscale_rule_query_failures_total{instance="i"}',
        'infscale_rule_queries_total{instance="i"}',
        'instance="i"',
        fires=60,
        quiet=20,
    ),
    "InfscaleRuleQuestionsRefused": Case(
        {'infscale_rule_questions_refused_total{instance="i"}': growing(0.5)},
        {'infscale_rule_questions_refused_total{instance="i"}': level(4)},
        'instance="i"',
    ),
    "InfscaleKedaCallsFail": Case(
        {KEDA.format("GetMetrics", "UNAVAILABLE"): growing(20), KEDA.format("GetMetrics", "OK"): growing(80)},
        {
            KEDA.format("GetMetrics", "UNAVAILABLE"): growing(5),
            KEDA.format("GetMetrics", "OK"): growing(95),
            KEDA.format("StreamIsActive", "CANCELLED"): growing(10),
        },
        'method="GetMetrics"',
    ),
    "InfscaleOtherMetricsLost": Case(
        {"infscale_adapter_other_metrics_lost": level(1)}, {"infscale_adapter_other_metrics_lost": level(0)}, ""
    ),
    "InfscaleScrapingProcessesReplaced": Case(
        {'infscale_scrape_processes_replaced_total{instance="i",reason="hung"}': growing(0.5)},
        {'infscale_scrape_processes_replaced_total{instance="i",reason="hung"}': growing(0.05)},
        'instance="i"',
    ),
}


def expected(alert: Alert, case: Case) -> str:
    labels = ",".join(filter(None, (f'alertname="{alert.name}",alertstate="firing"', case.labels)))
    return f'ALERTS{{{labels},severity="{alert.severity}"}}'


def rule_tests(alert: Alert, case: Case) -> list[dict[str, object]]:
    """At first it waits and at the end it fires for the one series; for the others it never does."""
    asked = f'ALERTS{{alertname="{alert.name}",alertstate="firing"}}'
    firing = [{"labels": expected(alert, case), "value": 1}]
    return [
        {
            "name": f"{alert.name}, {words}",
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in given.items()],
            "promql_expr_test": [{"expr": asked, "eval_time": at, "exp_samples": found} for at, found in then],
        }
        for words, given, then in (
            ("fires", case.fires, [("0m", []), (f"{MINUTES}m", firing)]),
            ("is quiet", case.quiet, [(f"{at}m", []) for at in range(0, MINUTES, 5)]),
        )
    ]


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *map(str, arguments)], check=False, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    assert sorted(CASES) == sorted(each.name for each in ALERTS)


@pytest.mark.prometheus
@pytest.mark.timeout(100)
def test_alerts_fire_when_they_should_and_not_otherwise(tmp_path: Path) -> None:
    tests = [test for alert in ALERTS for test in rule_tests(alert, CASES[alert.name])]
    document = {"rule_files": [str(FOLDER / "rules" / "infscale.yaml")], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document))
    promtool("test", "rules", tmp_path / "tests.yaml")


@pytest.mark.prometheus
def test_prometheus_takes_the_rules() -> None:
    promtool("check", "rules", FOLDER / "rules" / "infscale.yaml")


def test_the_object_of_the_operator_has_the_same_rules() -> None:
    plain = yaml.safe_load((FOLDER / "rules" / "infscale.yaml").read_text())
    custom = yaml.safe_load((FOLDER / "rules" / "prometheusrule.yaml").read_text())
    assert custom["spec"] == plain
    assert (custom["apiVersion"], custom["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")


@pytest.mark.parametrize("expr", [each.expr for each in (*RECORDINGS, *ALERTS)])
def test_a_rule_asks_for_what_there_is(expr: str) -> None:
    assert list(problems(expr, KNOWN)) == []


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_says_what_it_is_about_and_where_to_look(alert: Alert) -> None:
    words = alert.summary + alert.description
    named = set(re.findall(r"\$labels\.(\w+)", words))
    assert named <= kept_labels(alert.expr, KNOWN)
    assert set(re.findall(r"\| (\w+)", words)) <= {"humanize", "humanizeDuration", "humanizePercentage"}
    assert alert.board in {board.name for board in BOARDS}
    assert promql_parser.parse_duration(alert.wait).total_seconds() < 60 * MINUTES / 2


def test_runbooks_have_a_section_for_each_alert_and_no_other() -> None:
    sections = re.findall(r"^## (\w+)$", (ROOT / RUNBOOKS).read_text(), re.MULTILINE)
    assert sections == [each.name for each in ALERTS]


def test_another_address_of_the_runbooks_is_taken() -> None:
    made = files("https://example.org/runbooks")[Path("rules", "infscale.yaml")]
    assert made.count("runbook_url: https://example.org/runbooks#") == len(ALERTS)


def test_the_documentation_has_every_alert_and_recording() -> None:
    text = (ROOT / "docs" / "dashboards.md").read_text()
    for alert in ALERTS:
        assert f"| [{alert.name}](runbooks.md#{alert.name.lower()}) | {alert.severity} | {alert.wait} |" in text
    for recording in RECORDINGS:
        assert f"| `{recording.name}` | {recording.meaning} |" in text


def test_kustomize_packs_every_board() -> None:
    document = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    packed = [each.split("=")[1] for each in document["configMapGenerator"][0]["files"]]
    assert packed == [f"json/{board.name}.json" for board in BOARDS]
    assert sum((FOLDER / each).stat().st_size for each in packed) < 1024**2, "a ConfigMap holds no more"
