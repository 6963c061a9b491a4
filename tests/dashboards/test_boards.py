"""Boards are what their tables say, and ask for nothing that is not exported."""

import json
import re
from pathlib import Path

import orjson
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.__main__ import FOLDER, files, main
from dashboards.boards import BOARDS
from dashboards.rendering.board_files import filled_in
from dashboards.rows import Board, Kind, Panel
from tests.dashboards.exported import exported, kept_labels, problems

KNOWN = exported()
QUERIES = [
    pytest.param(panel, query.expr, query.legend, id=f"{board.name}: {panel.title}: {query.legend}")
    for board in BOARDS
    for panel in board.panels
    for query in panel.queries
]
each_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)


def test_committed_files_are_those_that_are_made() -> None:
    """`make dashboards` renews them."""
    made = files()
    committed = [each.relative_to(FOLDER) for folder in ("json", "rules") for each in (FOLDER / folder).iterdir()]
    assert sorted(committed) == sorted(made)
    assert [path for path in committed if (FOLDER / path).read_text() != made[path]] == []


def test_files_of_boards_that_are_no_more_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "old.json").write_text("{}")
    monkeypatch.setattr("dashboards.__main__.FOLDER", tmp_path)
    monkeypatch.setattr("sys.argv", ["dashboards", "--runbooks", "https://example.org/r"])
    assert main() == 0
    written = {each.relative_to(tmp_path): each.read_text() for each in tmp_path.rglob("*.*") if each.is_file()}
    assert written == files("https://example.org/r")


@pytest.mark.parametrize(("panel", "expr", "legend"), QUERIES)
def test_a_query_asks_for_what_there_is(panel: Panel, expr: str, legend: str) -> None:
    asked = filled_in(expr, {}, "1m")
    assert list(problems(asked, KNOWN)) == []
    named = set(re.findall(r"\{\{(\w+)\}\}", legend))
    assert named <= kept_labels(asked, KNOWN), "the legend names labels that the result does not have"
    # One name for several lines tells none from another.
    if panel.kind is not Kind.NUMBER:
        assert kept_labels(asked, KNOWN) - {"metric_target_type", "namespace", "instance", "job"} <= named or not named


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("infscale_pool_waiting_request", "there is no infscale_pool_waiting_request"),
        ('infscale_pool_endpoints{model="m"}', "infscale_pool_endpoints has no label model"),
        ("sum by (status) (rate(infscale_picker_picks_total[1m]))", "infscale_picker_picks_total has no label status"),
        ("rate(infscale_picker_picks[1m])", "there is no infscale_picker_picks"),
    ],
)
def test_a_query_for_what_there_is_not_is_found(query: str, problem: str) -> None:
    assert list(problems(query, KNOWN)) == [problem]


@each_board
def test_variables_ask_for_what_there_is(board: Board) -> None:
    document = orjson.loads((FOLDER / "json" / f"{board.name}.json").read_bytes())
    asked = [each for each in document["templating"]["list"] if each["type"] == "query"]
    assert [each["name"] for each in asked] == [each.value for each in board.variables]
    for each in asked:
        found = re.fullmatch(r"label_values\((.*), (\w+)\)", each["query"])
        assert found is not None
        assert list(problems(filled_in(found.group(1), {}, "1m"), KNOWN)) == []
        assert found.group(2) in kept_labels(filled_in(found.group(1), {}, "1m"), KNOWN)


@each_board
def test_a_board_uses_the_variables_that_it_has_and_no_others(board: Board) -> None:
    used = {name for panel in board.panels for query in panel.queries for name in re.findall(r"\$(\w+)", query.expr)}
    needed = used - {"__rate_interval"}
    # A namespace chooses among pools, which are what queries name.
    assert needed | {"namespace"} == {each.value for each in board.variables}


@each_board
def test_panels_fill_the_rows_of_the_grid_and_do_not_overlap(board: Board) -> None:
    document = orjson.loads((FOLDER / "json" / f"{board.name}.json").read_bytes())
    taken: set[tuple[int, int]] = set()
    for panel in document["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
    assert len(taken) == 24 * (1 + max(y for _, y in taken)), "there are holes"


@each_board
def test_a_board_leads_to_all_others_and_can_be_told_from_them(board: Board) -> None:
    document = orjson.loads((FOLDER / "json" / f"{board.name}.json").read_bytes())
    assert [each["url"] for each in document["links"]] == [f"/d/{each.uid}" for each in BOARDS if each is not board]
    assert all(each["includeVars"] and each["keepTime"] for each in document["links"])
    ids = [each["id"] for each in document["panels"] if each["type"] != "row"]
    assert len(set(ids)) == len(ids)
    titles = [each.title for section in board.sections for each in section.panels]
    assert all(panel.description for panel in board.panels)
    assert len(titles) == len(board.panels)


@each_board
def test_an_unknown_value_is_a_gap(board: Board) -> None:
    document = orjson.loads((FOLDER / "json" / f"{board.name}.json").read_bytes())
    for panel in document["panels"]:
        if panel["type"] == "timeseries":
            assert panel["fieldConfig"]["defaults"]["custom"]["spanNulls"] is False
    for panel in board.panels:
        for query in panel.queries:
            assert "vector(" not in query.expr
            assert " or " not in query.expr


def test_boards_say_what_no_series_means() -> None:
    """Nothing refused is not the same as not known."""
    said = {
        panel["title"]: panel["fieldConfig"]["defaults"]["noValue"]
        for board in BOARDS
        for panel in orjson.loads((FOLDER / "json" / f"{board.name}.json").read_bytes())["panels"]
        if panel["type"] != "row"
    }
    sessions = {"Requests of sessions", "Moves by reason", "Tokens that were worth nothing", "Share that moved"}
    none = {title for title, text in said.items() if text == "none"}
    assert none == {"Refused requests", "Refusals by reason"} | sessions
    assert set(said.values()) == {"none", "unknown"}


@each_board
def test_grafanas_own_types_read_a_board_as_it_was_written(board: Board) -> None:
    register_default_plugins()
    document = orjson.loads((FOLDER / "json" / f"{board.name}.json").read_bytes())
    read = Dashboard.from_json(document)
    assert orjson.loads(json.dumps(read, cls=JSONEncoder)) == document


@each_board
def test_the_documentation_has_a_picture_of_a_board(board: Board) -> None:
    docs = FOLDER.parent / "docs"
    assert f"\n![{board.title}](img/dashboards-{board.name}.png)\n" in (docs / "dashboards.md").read_text()
    assert (docs / "img" / f"dashboards-{board.name}.png").stat().st_size < 200_000


def test_provisioning_takes_the_folder_that_the_documentation_names() -> None:
    provider = yaml.safe_load((FOLDER / "provisioning" / "dashboards.yaml").read_text())["providers"][0]
    assert provider["type"] == "file"
    assert (
        f"cp -r dashboards/json {provider['options']['path']}\n" in (FOLDER.parent / "docs/dashboards.md").read_text()
    )
    source = yaml.safe_load((FOLDER / "provisioning" / "datasources.yaml").read_text())["datasources"][0]
    assert source["type"] == "prometheus"
