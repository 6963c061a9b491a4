"""Boards as Grafana's JSON, built with Grafana's own SDK so that names of fields are those of its schema."""

import json
from collections.abc import Callable, Mapping, Sequence

from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import dashboard as models

from dashboards.rows import Board, Kind, Panel, Query, Variable

TAG = "infscale"
SOURCE = "datasource"
"""The variable with the Prometheus that is asked."""

_PROMETHEUS = models.DataSourceRef(type_val="prometheus", uid=f"${{{SOURCE}}}")
_EVERYTHING = models.VariableOption(selected=True, text="All", value="$__all")
_FILLED = 15.0
_STACKED = 40.0

_VARIABLES: Mapping[Variable, tuple[str, str]] = {
    Variable.NAMESPACE: ("label_values(infscale_pool_endpoints, pool)", r"/^([^\/]+)\//"),
    Variable.POOL: ('label_values(infscale_pool_endpoints{pool=~"($namespace)/.*"}, pool)', ""),
    Variable.MODEL: ('label_values(infscale_pool_waiting_requests{pool=~"$pool",model!=""}, model)', ""),
    Variable.ENDPOINT: ('label_values(infscale_endpoint_age_seconds{pool=~"$pool"}, endpoint)', ""),
}
"""What each can be, and the part of it that is meant."""


def document(board: Board, others: Sequence[Board]) -> str:
    """The JSON of a board, with links to `others`."""
    made = (
        builders.Dashboard(f"infscale / {board.title}")
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .editable()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
    )
    made.with_variable(
        builders.DatasourceVariable(SOURCE)
        .label("Prometheus")
        .type("prometheus")
        .description("where infscale's metrics are")
    )
    for variable in board.variables:
        made.with_variable(_variable(variable))
    for other in others:
        made.link(_link(other))
    number = 0
    for section in board.sections:
        made.with_row(builders.Row(section.title))
        for panel in section.panels:
            number += 1
            made.with_panel(_PANELS[panel.kind](panel).id(number))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"


def _variable(variable: Variable) -> builders.QueryVariable:
    query, regex = _VARIABLES[variable]
    made = (
        builders.QueryVariable(variable.value)
        .label(variable.value)
        .datasource(_PROMETHEUS)
        .query(query)
        .regex(regex)
        .multi(True)
        .include_all(True)
        .current(_EVERYTHING)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    # All pools are those of the chosen namespaces; all of the others need no list, which may be long.
    return made if variable is Variable.POOL else made.all_value(".*")


def _link(board: Board) -> builders.DashboardLink:
    return (
        builders.DashboardLink(board.title)
        .type(models.DashboardLinkType.LINK)
        .url(f"/d/{board.uid}")
        .tooltip(board.description)
        .include_vars(True)
        .keep_time(True)
    )


def _target(query: Query, place: int) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(chr(ord("A") + place)).range()


def _without_series(panel: Panel) -> str:
    return "none" if panel.only_on_faults else "unknown"


def _thresholds(panel: Panel) -> builders.ThresholdsConfig:
    steps = [models.Threshold(value=None, color=panel.base.value)]
    steps += [models.Threshold(value=each.value, color=each.colour.value) for each in panel.thresholds]
    return builders.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _over_time(panel: Panel) -> timeseries.Panel:
    stacked = panel.kind is Kind.STACK
    made = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(_PROMETHEUS)
        .span(panel.width)
        .height(panel.height)
        .unit(panel.unit.value)
        .axis_soft_min(0)
        .targets([_target(query, place) for place, query in enumerate(panel.queries)])
        .legend(
            common.VizLegendOptions()
            .display_mode(options.LegendDisplayMode.LIST)
            .placement(options.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI).sort(options.SortOrder.DESCENDING))
        .no_value(_without_series(panel))
        .line_width(1)
        .fill_opacity(_STACKED if stacked else _FILLED)
        .show_points(options.VisibilityMode.AUTO)
        # An unknown value is a gap.
        .span_nulls(False)
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
        .thresholds(_thresholds(panel))
    )
    if panel.whole:
        made.axis_soft_max(1)
    if stacked:
        made.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL).group("A"))
    if panel.thresholds:
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(options.GraphThresholdsStyleMode.DASHED))
    return made


def _number(panel: Panel) -> stat.Panel:
    return (
        stat.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(_PROMETHEUS)
        .span(panel.width)
        .height(panel.height)
        .unit(panel.unit.value)
        .no_value(_without_series(panel))
        .targets([_target(query, place) for place, query in enumerate(panel.queries)])
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .graph_mode(options.BigValueGraphMode.AREA)
        .color_mode(options.BigValueColorMode.VALUE)
        .thresholds(_thresholds(panel))
    )


_PANELS: Mapping[Kind, Callable[[Panel], timeseries.Panel | stat.Panel]] = {
    Kind.LINES: _over_time,
    Kind.STACK: _over_time,
    Kind.NUMBER: _number,
}
