"""The table has what changed and why, the JSON has all, and the plot shows gaps as gaps."""

from pathlib import Path

import orjson

from infscale.doctor.replay.controller_replay import replayed
from infscale.doctor.replay.past_syncs import PastSync, Total
from infscale.doctor.replay.replay_json import document
from infscale.doctor.replay.replay_plot import plot
from infscale.doctor.replay.replay_text import NOTES, Replay, lines, outcome
from tests.doctor.replay.replay_hpas import external, hpa

LOADS = (8, 8, 12, 12, None, 12, 12)
SYNCS = tuple(
    PastSync(1e9 + 15.0 * number, {} if each is None else {"load": Total((each * 1000,))}, 2 if number < 3 else 3)
    for number, each in enumerate(LOADS)
)
REPLAY = Replay("as it is", tuple(replayed(hpa(external("load", "4")), SYNCS, 2)))


def test_the_table_has_a_row_where_something_changes() -> None:
    found = [each.text for each in lines([REPLAY], ["load"], whole=False)]
    rows = [each.split() for each in found if each.startswith("09-09")]
    assert found[0] == "as it is"
    assert [row[1:7] for row in rows] == [
        ["01:46:40", "8", "2", "2", "2", "2"],
        ["01:47:10", "12", "2", "2", "3", "3"],
        ["01:47:40", "unknown", "3", "3", "-", "3"],
        ["01:47:55", "12", "3", "3", "3", "3"],
        ["01:48:10", "12", "3", "3", "3", "3"],
    ]
    assert "DesiredWithinRange: load 12 / target 4 per pod → 3 replicas" in found[3]
    assert found[-4].startswith("7 syncs, 1 change, 2 to 3 replicas, 0.07 replica hours, ")
    assert found[-4].endswith("no usable metric at 1, the recorded replicas at 7 of 7.")
    assert set(NOTES) <= set(found)


def test_the_whole_table_has_each_sync() -> None:
    found = [each.text for each in lines([REPLAY], ["load"], whole=True)]
    assert sum(each.startswith("09-09") for each in found) == len(SYNCS)


def test_what_a_terminal_would_act_on_is_not_printed() -> None:
    odd = PastSync(1e9, {}, 2)
    (sync,) = replayed(hpa(external("lo\x1bad", "4")), [odd], 2)
    assert "\x1b" not in "".join(each.text for each in lines([Replay("x", (sync,))], ["load"], whole=True))


def test_replica_hours_count_each_sync_until_the_next() -> None:
    assert outcome(REPLAY.syncs).replica_seconds == 15.0 * (2 + 2 + 3 + 3 + 3 + 3)


def test_json_has_every_sync_and_null_for_what_is_unknown() -> None:
    found = orjson.loads(document([REPLAY], ["load"]))
    (replay,) = found["replays"]
    assert [each["values"]["load"] for each in replay["syncs"]] == [8.0, 8.0, 12.0, 12.0, None, 12.0, 12.0]
    assert replay["outcome"]["agreed"] == 7
    assert found["notes"] == list(NOTES)


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    plot([REPLAY, Replay("with max 2", REPLAY.syncs)], ["load"], "HPA llm/vllm", tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
