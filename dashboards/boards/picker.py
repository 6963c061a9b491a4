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
_QUEUE = Section(
    "Requests that wait",
    (
        Panel(
            "Waiting requests",
            "Requests that wait in the picker until an endpoint can begin them, by priority. Nothing is shown where "
            "requests do not wait.",
            Unit.COUNT,
            (Query(total("infscale_flow_waiting_requests", POOL, "pool", "priority"), "{{pool}} {{priority}}"),),
            kind=Kind.STACK,
        ),
        Panel(
            "Time in the queue",
            "How long requests waited that were let go, by priority: of nine of ten, 0 for those that did not have to.",
            Unit.SECONDS,
            (Query(quantile(0.9, "infscale_flow_wait_seconds", POOL, "priority"), "p90 of {{priority}}"),),
        ),
        Panel(
            "Refused in the queue",
            "Requests that were to wait and were refused: for too long a wait, a full queue, or no endpoint.",
            Unit.REQUESTS,
            (
                Query(
                    rate("infscale_flow_refusals_total", POOL, "pool", "priority", "reason"),
                    "{{pool}} {{priority}} {{reason}}",
                ),
                Query(rate("infscale_flow_given_up_total", POOL, "pool"), "{{pool}} left"),
            ),
            kind=Kind.STACK,
        ),
        Panel(
            "Waiting work",
            "GPU seconds that the requests which wait are estimated to take, by priority.",
            Unit.SECONDS,
            (Query(total("infscale_flow_waiting_gpu_seconds", POOL, "pool", "priority"), "{{pool}} {{priority}}"),),
            kind=Kind.STACK,
        ),
        Panel(
            "Waiting tokens and bytes",
            "Estimated prompt tokens of the requests that wait, and the bytes of their bodies.",
            Unit.COUNT,
            (
                Query(total("infscale_flow_waiting_prompt_tokens", POOL, "pool"), "{{pool}} tokens"),
                Query(total("infscale_flow_waiting_bytes", POOL, "pool"), "{{pool}} bytes"),
            ),
        ),
        Panel(
            "Waiting requests by tenant",
            "Tenants of which requests wait, by the name that the gateway gives in the fairness header.",
            Unit.COUNT,
            (Query(total("infscale_flow_tenant_waiting_requests", POOL, "tenant"), "{{tenant}}"),),
            kind=Kind.STACK,
        ),
        Panel(
            "GPU time by tenant",
            "Estimated GPU seconds of the requests of a tenant that ended, per second: what shares are of.",
            Unit.COUNT,
            (Query(rate("infscale_flow_tenant_gpu_seconds_total", POOL, "tenant"), "{{tenant}}"),),
            kind=Kind.STACK,
        ),
        Panel(
            "Mean wait by tenant",
            "Seconds that requests of a tenant have waited ÷ its requests that were let go.",
            Unit.SECONDS,
            (
                Query(
                    f"{rate('infscale_flow_tenant_wait_seconds_total', POOL, 'tenant')}"
                    f" / {rate('infscale_flow_tenant_let_go_total', POOL, 'tenant')}",
                    "{{tenant}}",
                ),
            ),
        ),
        Panel(
            "Refused by tenant",
            "Requests of a tenant that were to wait and were refused.",
            Unit.REQUESTS,
            (Query(rate("infscale_flow_tenant_refused_total", POOL, "tenant"), "{{tenant}}"),),
            kind=Kind.STACK,
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
_SESSIONS = Section(
    "Sessions",
    (
        Panel(
            "Requests of sessions",
            "Requests that belong to a session, by what became of it: it began, stayed where it was, or moved.",
            Unit.REQUESTS,
            (Query(rate("infscale_picker_session_requests_total", POOL, "outcome"), "{{outcome}}"),),
            kind=Kind.STACK,
            width=12,
            only_on_faults=True,
        ),
        Panel(
            "Moves by reason",
            "Sessions that went on at another endpoint, by why they left theirs; what was cached there is lost.",
            Unit.REQUESTS,
            (Query(rate("infscale_picker_session_moves_total", POOL, "reason"), "{{reason}}"),),
            kind=Kind.STACK,
            width=12,
            only_on_faults=True,
        ),
        Panel(
            "Tokens that were worth nothing",
            "Session tokens refused, by why; their requests began new sessions.",
            Unit.REQUESTS,
            (Query(rate("infscale_picker_session_tokens_refused_total", POOL, "reason"), "{{reason}}"),),
            kind=Kind.STACK,
            width=12,
            only_on_faults=True,
        ),
        Panel(
            "Share that moved",
            "Of the requests of sessions the share whose session moved.",
            Unit.RATIO,
            (
                Query(
                    f"sum({rate('infscale_picker_session_moves_total', POOL, 'pool')})"
                    f" / sum({rate('infscale_picker_session_requests_total', POOL, 'pool')})",
                    "moved",
                ),
            ),
            width=12,
            only_on_faults=True,
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
    (_DECISIONS, _QUEUE, _PREFIXES, _SESSIONS, _PORT),
)
