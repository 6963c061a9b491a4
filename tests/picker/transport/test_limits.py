"""Limits that act are all counted and seldom said."""

import logging

import pytest

from picker.transport.limits import LimitNotes


def test_a_limit_is_said_once_in_ten_seconds_with_how_often_it_acted(caplog: pytest.LogCaptureFixture) -> None:
    notes = LimitNotes()
    for now in (0.0, 1.0, 9.9, 10.0):
        notes.acted("stalled_body", "10.0.0.1", now)
    notes.acted("connections", "10.0.0.2", 1.0)
    said = [vars(each)["fields"] for each in caplog.records]
    assert said == [
        {"limit": "stalled_body", "peer": "10.0.0.1", "times": 1},
        {"limit": "stalled_body", "peer": "10.0.0.1", "times": 3},
        {"limit": "connections", "peer": "10.0.0.2", "times": 1},
    ]
    counts = notes.counts
    assert (counts["stalled_body"], counts["connections"], counts["protocol_fault"]) == (4, 1, 0)


def test_what_is_no_fault_is_said_at_its_own_level(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="picker.transport.limits"):
        LimitNotes().acted("loop_turn", "10.0.0.1", 0.0, logging.DEBUG)
    assert [each.levelno for each in caplog.records] == [logging.DEBUG]
