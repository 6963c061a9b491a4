"""The three import packages are ours alone in an installation, carry type information, and can be surveyed.

Tests lie where what they test lies: `infscale.metrics.snapshot` in `tests/metrics/test_snapshot.py`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("infscale", "adapter", "picker")
MAX_MODULES = 16
SAME_IN_EVERY_PACKAGE = {"__init__", "errors", "settings", "telemetry"}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_owns_the_package(package: str) -> None:
    assert set(packages_distributions().get(package, [])) <= {"infscale"}
    assert (ROOT / package / "py.typed").exists()


@pytest.mark.parametrize("package", [*PACKAGES, "tests"])
def test_a_folder_holds_few_modules(package: str) -> None:
    held = Counter(each.parent.relative_to(ROOT) for each in (ROOT / package).rglob("*.py"))
    assert {folder: count for folder, count in held.items() if count > MAX_MODULES} == {}


def test_a_name_belongs_to_one_module() -> None:
    names = Counter(each.stem for package in PACKAGES for each in (ROOT / package).rglob("*.py"))
    assert {name for name, count in names.items() if count > 1} <= SAME_IN_EVERY_PACKAGE


LINES_WITHOUT_A_TEST = 60
"""A module of more lines has a test of its name, or is named below."""

TESTED_TOGETHER: Mapping[str, tuple[str, ...]] = {
    "adapter/answering/test_forwarding.py": ("adapter/api/foreign",),
    "adapter/answering/test_store_provider.py": (
        "adapter/answering/refusals",
        "infscale/aggregation/external_items",
    ),
    "adapter/registering/test_serving_tls.py": ("infscale/process/certificates",),
    "adapter/server/test_app.py": ("adapter/server/telemetry",),
    "adapter/server/test_http_connection.py": ("adapter/server/listener",),
    "cases/test_gpu_pages.py": ("infscale/metrics/published/gpu_readers",),
    "cli/demos/test_demo.py": (
        "infscale/cli/demos/scenario_demo",
        "infscale/demo/child",
        "infscale/demo/phase",
        "infscale/envoy/process",
    ),
    "cli/test_preflight.py": ("adapter/registering/api_services",),
    "cli/test_reference_line.py": (
        "infscale/kube/api/client",
        "infscale/kube/api/cluster_access",
        "infscale/kube/api/credentials",
    ),
    "config/test_read.py": (
        "infscale/config/configured_dialects",
        "infscale/config/settings",
        "infscale/documents/section",
        "infscale/sources/source_kind",
    ),
    "demo/scenarios/test_figures.py": ("infscale/demo/scenarios/compared_figures",),
    "demo/scenarios/test_scenario_plan.py": ("infscale/demo/scenarios/contenders",),
    "demo/test_report.py": ("infscale/demo/plot",),
    "demo/test_scenario_phase.py": ("infscale/demo/scenario_plot", "infscale/demo/scenario_report"),
    "discovery/test_file.py": ("infscale/discovery/apart",),
    "doctor/advice/test_scaling_advice.py": (
        "infscale/doctor/advice/advice_yaml",
        "infscale/doctor/advice/pool_facts",
    ),
    "doctor/reading/test_cluster_reader.py": (
        "infscale/doctor/reading/asking",
        "infscale/doctor/reading/hpa_reader",
        "infscale/doctor/reading/infscale_reader",
        "infscale/doctor/reading/looked_kinds",
        "infscale/doctor/view/cluster_view",
    ),
    "doctor/reading/test_objects.py": (
        "infscale/doctor/reading/api_objects",
        "infscale/doctor/reading/routing_objects",
        "infscale/doctor/reading/scaler_objects",
        "infscale/doctor/reading/workload_objects",
    ),
    "doctor/rules/test_rule_table.py": (
        "infscale/doctor/rules/access_rules",
        "infscale/doctor/rules/conflict_rules",
        "infscale/doctor/rules/fixes",
        "infscale/doctor/rules/keda_rules",
        "infscale/doctor/rules/metric_rules",
        "infscale/doctor/rules/pool_rules",
        "infscale/doctor/rules/route_rules",
        "infscale/doctor/rules/scaler_rules",
        "infscale/doctor/rules/target_rules",
        "infscale/doctor/rules/workload_rules",
    ),
    "kube/test_discovery.py": ("infscale/kube/api/errors", "infscale/kube/api/resources", "infscale/kube/watching"),
    "metrics/pages/test_interpreter.py": ("infscale/metrics/pages/dialect", "infscale/metrics/pages/interpretation"),
    "kube/test_watched_objects.py": ("infscale/kube/autoscaler_specs",),
    "metrics/published/test_answers.py": (
        "infscale/metrics/published/catalogue",
        "infscale/metrics/published/column_readers",
        "infscale/metrics/published/window_readers",
        "infscale/metrics/windows/latency_statistics",
    ),
    "metrics/published/test_metric_table.py": ("infscale/metrics/source",),
    "prometheus/rules/test_metric_naming.py": ("infscale/prometheus/rules/object_kinds",),
    "prometheus/rules/test_go_template.py": (
        "infscale/prometheus/rules/go_template_nodes",
        "infscale/prometheus/rules/go_values",
    ),
    "prometheus/rules/test_series_registry.py": ("infscale/prometheus/rules/own_series",),
    "prometheus/test_prometheus_server.py": ("infscale/prometheus/bounded_session",),
    "prometheus/test_prometheus_settings.py": (
        "infscale/prometheus/query_settings",
        "infscale/prometheus/server_settings",
    ),
    "prometheus/test_query_rows.py": ("infscale/prometheus/rules/evaluated_rows",),
    "cli/test_import_config.py": ("infscale/prometheus/rules/rules_report",),
    "metrics/store/test_metrics_store.py": ("infscale/metrics/sample", "infscale/metrics/store/endpoint_record"),
    "picker/directing/test_director.py": ("picker/directing/director_books", "picker/directing/gates"),
    "cli/asking/test_bill_arguments.py": ("infscale/cli/asking/bill",),
    "picker/directing/billing/test_bills.py": (
        "picker/directing/billing/bill_rows",
        "picker/directing/billing/billed_request",
        "picker/directing/billing/endpoint_account",
        "picker/directing/billing/minutes",
        "picker/directing/billing/pool_bill",
    ),
    "viewing/billed/test_told_bill.py": ("infscale/viewing/billed/allocations",),
    "picker/directing/falling_back/test_fallback_director.py": (
        "picker/directing/falling_back/fallback_books",
        "picker/directing/falling_back/fallback_target",
    ),
    "picker/shadowing/test_shadow_director.py": (
        "picker/shadowing/copied_request",
        "picker/shadowing/shadow_books",
    ),
    "picker/directing/holding/test_flow_director.py": ("picker/directing/holding/pool_flow",),
    "picker/telemetry/test_flow_metrics.py": ("picker/directing/holding/flow_stats",),
    "picker/directing/test_unknown_load.py": ("picker/directing/candidates",),
    "picker/flow/test_flow_queue.py": ("picker/flow/waiting",),
    "picker/epp_config/test_extensions.py": ("picker/epp_config/parameters", "picker/epp_config/registry"),
    "picker/epp_config/test_disagg_parameters.py": ("picker/epp_config/factories/disagg_factories",),
    "picker/epp_config/test_factories.py": (
        "picker/epp_config/factories/filter_factories",
        "picker/epp_config/factories/scorer_factories",
    ),
    "picker/epp_config/test_flow_section.py": (
        "picker/epp_config/factories/flow_factories",
        "picker/epp_config/flow_policies",
    ),
    "picker/epp_config/test_loader.py": (
        "picker/epp_config/detector",
        "picker/epp_config/factories/producers",
        "picker/epp_config/presets",
        "picker/epp_config/scraping_parameters",
    ),
    "picker/epp_config/test_rollout_parameters.py": ("picker/epp_config/factories/screener_factories",),
    "picker/scheduling/test_header_profile.py": ("picker/scheduling/scheduler",),
    "picker/epp_config/test_session_parameters.py": (
        "picker/epp_config/factories/session_factories",
        "picker/sessions/session_settings",
    ),
    "picker/directing/test_picks.py": ("picker/pick_record",),
    "picker/explaining/test_pick_log.py": (
        "picker/explaining/input_sheet",
        "picker/explaining/kept_pick",
        "picker/explaining/pick_inputs",
    ),
    "picker/explaining/test_explanation.py": ("picker/explaining/noted_stages",),
    "e2e/picking/test_explain.py": (
        "infscale/cli/picks/explain_command",
        "infscale/serving/observing",
        "infscale/cli/picks/replay_picks",
    ),
    "picker/ext_proc/test_exchange.py": (
        "picker/ext_proc/messages",
        "picker/ext_proc/replies",
        "picker/ext_proc/states",
        "picker/request",
    ),
    "picker/telemetry/test_reference_metrics.py": ("picker/telemetry/reference_counts",),
    "picker/transport/h2/test_connection.py": (
        "picker/transport/h2/events",
        "picker/transport/h2/frames",
        "picker/transport/h2/requests",
        "picker/transport/h2/streams",
    ),
    "picker/transport/server/test_http2.py": (
        "picker/transport/server/port",
        "picker/transport/server/tls_door",
    ),
    "picker/transport/test_transports.py": (
        "picker/transport/grpcio_server/grpc_aio",
        "picker/transport/grpcio_server/carried_exchange",
        "picker/transport/server/exchange_call",
        "picker/transport/server/health_calls",
        "picker/transport/transport",
    ),
    "discovery/test_objects.py": ("infscale/discovery/opened_object",),
    "planner/test_hpa.py": ("infscale/planner/scale_target",),
    "reference/test_flags.py": ("infscale/reference/scraping_translation", "infscale/reference/translation"),
    "scrape/test_fetch.py": ("infscale/scrape/answer", "infscale/scrape/page_connection"),
    "scrape/test_processes.py": ("infscale/scrape/pipe", "infscale/scrape/worker"),
    "cli/test_top.py": ("infscale/top/live",),
    "keda/test_external_scaler.py": ("infscale/keda/last_answers",),
    "viewing/explained/test_stage_sections.py": ("infscale/viewing/explained/seen_stages",),
    "viewing/test_seen_documents.py": ("infscale/viewing/document_parts",),
    "viewing/test_views.py": (
        "infscale/viewing/autoscaler_views",
        "infscale/viewing/endpoint_views",
        "infscale/viewing/model_views",
        "infscale/viewing/pool_views",
        "infscale/viewing/trigger_views",
    ),
    "serving/test_composition.py": (
        "infscale/cli/serve",
        "infscale/serving/answering",
        "infscale/serving/collecting",
        "infscale/serving/deciding",
        "infscale/serving/discovering",
        "infscale/serving/parts",
        "infscale/serving/scaler_port",
    ),
    "rollouts/test_running_rollout.py": ("infscale/rollouts/rollout_sessions",),
    "serving/rolling_out/test_rolling.py": (
        "infscale/cli/asking/rollout_command",
        "infscale/telemetry/rollout_metrics",
    ),
    "serving/prometheus/test_ruling.py": ("infscale/serving/prometheus/rules_watch",),
    "serving/test_scheduling.py": ("infscale/serving/configured", "picker/telemetry/counts"),
    "sim/http/test_simulated_servers.py": (
        "infscale/sim/engine/engine_loop",
        "infscale/sim/engine/recorder",
        "infscale/sim/http/completions",
        "infscale/sim/http/http_api",
        "infscale/sim/http/replica",
        "infscale/sim/settings",
    ),
    "sim/engine/test_batching.py": ("infscale/sim/engine/steps",),
    "sim/load/named/test_workload_choice.py": (
        "infscale/sim/load/named/named_workloads",
        "infscale/sim/load/named/workload_parameters",
    ),
    "sim/load/test_prompts.py": ("infscale/sim/load/virtual_request",),
    "sim/pages/test_families.py": (
        "infscale/sim/pages/engine_pages",
        "infscale/sim/pages/gpu_page",
        "infscale/sim/pages/native_skins",
        "infscale/sim/pages/page_skins",
        "infscale/sim/pages/vllm_table",
    ),
    "simulate/findings/test_comparison.py": (
        "infscale/simulate/findings/findings_text",
        "infscale/simulate/findings/measures",
    ),
    "simulate/test_simulation.py": (
        "infscale/simulate/baselines",
        "infscale/simulate/product",
        "infscale/simulate/run_result",
        "infscale/simulate/scenario",
        "infscale/simulate/world/fleet",
        "infscale/simulate/world/flights",
        "infscale/simulate/world/gateway",
        "infscale/simulate/world/virtual_server",
    ),
    "cli/simulate/test_simulate_command.py": (
        "infscale/cli/simulate/simulate_arguments",
        "infscale/simulate/findings/findings_json",
        "infscale/simulate/findings/findings_plot",
        "infscale/simulate/many_runs",
    ),
    "sources/test_exporter.py": ("infscale/scrape/page_loops",),
    "sources/test_gpu_exporter_page.py": ("infscale/metrics/pages/gpu_exporters", "infscale/sources/gpu_samples"),
    "telemetry/test_telemetry_server.py": ("infscale/telemetry/source_metrics",),
}
"""Modules whose behaviour is that of what uses them, by the tests of that: alone they decide too little to test."""


DECLARATIONS = (
    "adapter/answering/provider",
    "adapter/errors",
    "infscale/latency/prior_rows",
    "infscale/doctor/rules/rule",
    "infscale/doctor/view/seen_apis",
    "infscale/doctor/view/seen_routing",
    "infscale/doctor/view/seen_scalers",
    "infscale/doctor/view/seen_workloads",
    "picker/flow/policies",
    "picker/scheduling/stages",
)
"""Modules of types and protocols, which do nothing."""


def _untested() -> Iterator[str]:
    """The modules of more lines than that without a test of their name."""
    for package in PACKAGES:
        for module in (ROOT / package).rglob("*.py"):
            path = module.relative_to(ROOT)
            mirrored = path.relative_to("infscale") if package == "infscale" else path
            test = ROOT / "tests" / mirrored.with_name(f"test_{path.name}")
            made = path.stem.endswith("_pb2") or path.stem == "__init__"
            if not made and not test.exists() and len(module.read_text().splitlines()) > LINES_WITHOUT_A_TEST:
                yield str(path.with_suffix(""))


def test_a_module_has_a_test_of_its_name_or_a_reason() -> None:
    named = Counter([*DECLARATIONS, *(each for modules in TESTED_TOGETHER.values() for each in modules)])
    assert named == Counter(_untested())
    assert [each for each in TESTED_TOGETHER if not (ROOT / "tests" / each).exists()] == []
