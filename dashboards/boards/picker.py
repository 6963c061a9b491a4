"""The picker: what it decides, refuses and holds."""

from dashboards.promql import POOL, POOL_OR_NONE, highest, quantile, rate, total
from dashboards.rows import Board, Colour, Kind, Panel, Query, Section, Threshold, Unit, Variable

_CACHED = f'{POOL},cached="yes"'
_DECISIONS = Section(
    "Decisions",
    (
        Panel(
            "Decisions",
            "Requests sent to endpoints, and requests refused.",
            Unit.REQUESTS,
            (
                Query(f"sum({rate('infscale_picker_picks_total', POOL, 'pool')})", "sent"),
                Query(f"sum({rate('infscale_picker_rejections_total', POOL_OR_NONE, 'pool')})", "refused"),
            ),
        ),
        Panel(
            "Time of decisions",
            "From a request that was read to the decision where it goes, or to its refusal.",
            Unit.SECONDS,
            (
                Query(quantile(0.5, "infscale_picker_decision_seconds"), "p50"),
                Query(quantile(0.9, "infscale_picker_decision_seconds"), "p90"),
                Query(quantile(0.99, "infscale_picker_decision_seconds"), "p99"),
            ),
            thresholds=(Threshold(0.05, Colour.WARNING),),
        ),
        Panel(
            "Refusals by reason",
            "Requests refused, by reason and HTTP status. Without a pool: requests for an unknown one.",
            Unit.REQUESTS,
            (
                Query(
                    rate("infscale_picker_rejections_total", POOL_OR_NONE, "pool", "reason", "status"),
                    "{{pool}} {{reason}} {{status}}",
                ),
            ),
            kind=Kind.STACK,
            only_on_faults=True,
        ),
        Panel(
            "By endpoint",
            "Requests sent to each endpoint.",
            Unit.REQUESTS,
            (Query(rate("infscale_picker_picks_total", POOL, "endpoint"), "{{endpoint}}"),),
            kind=Kind.STACK,
        ),
        Panel(
            "Ends of requests",
            "Requests that were sent to an endpoint, by how they ended.",
            Unit.REQUESTS,
            (Query(rate("infscale_picker_exchanges_total", POOL, "outcome"), "{{outcome}}"),),
            kind=Kind.STACK,
        ),
        Panel(
            "Decided without known load",
            "Requests scheduled by what was in flight because no endpoint's load was known.",
            Unit.REQUESTS,
            (Query(rate("infscale_picker_unknown_load_picks_total", POOL, "pool"), "{{pool}}"),),
            thresholds=(Threshold(0.01, Colour.WARNING),),
        ),
    ),
)
_PREFIXES = Section(
    "Prefix cache",
    (
        Panel(
            "Prompt tokens",
            "Estimated prompt tokens dispatched, by whether the endpoint was believed to have them cached.",
            Unit.PER_SECOND,
            (Query(rate("infscale_picker_prompt_tokens_total", POOL, "cached"), "cached: {{cached}}"),),
            kind=Kind.STACK,
        ),
        Panel(
            "Believed hits",
            "Share of the prompt tokens that went to an endpoint which was believed to have them cached.",
            Unit.RATIO,
            (
                Query(
                    f"{rate('infscale_picker_prompt_tokens_total', _CACHED, 'pool')}"
                    f" / {rate('infscale_picker_prompt_tokens_total', POOL, 'pool')}",
                    "{{pool}}",
                ),
            ),
            whole=True,
        ),
        Panel(
            "Size of the index",
            "Blocks of prompts that the index of prefixes holds.",
            Unit.COUNT,
            (Query(highest("infscale_picker_prefix_blocks", POOL, "pool"), "{{pool}}"),),
        ),
    ),
)
_PORT = Section(
    "Gateways and configuration",
    (
        Panel(
            "Memory of open exchanges",
            "Bodies that come in, answers that gateways have not read, headers.",
            Unit.BYTES,
            (Query("max(infscale_picker_held_bytes)", "held"),),
        ),
        Panel(
            "Limits that acted",
            "How often limits of the ext_proc port acted, by limit.",
            Unit.PER_SECOND,
            (Query(rate("infscale_picker_limits_total", "", "limit"), "{{limit}}"),),
            thresholds=(Threshold(0.01, Colour.WARNING),),
        ),
        Panel(
            "Charges written off, answers not read",
            "Requests that no longer count as in flight because metrics contradicted it, and answers with a "
            "content-encoding, "
            "whose token usage is not read.",
            Unit.PER_SECOND,
            (
                Query("sum(rate(infscale_picker_written_off_charges_total[$__rate_interval]))", "charges written off"),
                Query(rate("infscale_picker_unread_answers_total", POOL, "pool"), "{{pool}} answers not read"),
            ),
        ),
        Panel(
            "Configuration in force",
            "1 for the version in force of the picker's configuration file; replicas that differ show two. "
            "Without such a "
            "file there is nothing to show.",
            Unit.COUNT,
            (Query(total("infscale_picker_config_info", "", "sha256"), "{{sha256}}"),),
            width=12,
            whole=True,
        ),
        Panel(
            "Changes of the configuration",
            "Changes of the picker's configuration file that were applied or refused, in all; and whether the "
            "last one is in "
            "force.",
            Unit.COUNT,
            (
                Query(total("infscale_picker_config_reloads_total", "", "outcome"), "{{outcome}}"),
                Query("min(infscale_picker_config_last_reload_success)", "the last one is in force"),
            ),
            width=12,
            whole=True,
        ),
    ),
)

PICKER = Board(
    "picker",
    "Picker",
    "What the picker decides, refuses and holds.",
    (Variable.NAMESPACE, Variable.POOL),
    (_DECISIONS, _PREFIXES, _PORT),
)
