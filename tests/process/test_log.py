"""Log lines are structured: one object per event, with the fields the caller allowed."""

import io
import json
import logging
import sys

import pytest

from infscale.process import log


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    monkeypatch.setattr(root, "level", root.level)
    return io.StringIO()


def test_an_event_is_one_json_object(stream: io.StringIO) -> None:
    log.configure("info", "json", stream)
    logging.getLogger("infscale.scrape").info("scrape failed", extra={"fields": {"cause": "timed out"}})
    logging.getLogger("infscale.scrape").debug("not shown")
    logging.getLogger("some.library").info("not ours")
    line = json.loads(stream.getvalue())
    assert line["event"] == "scrape failed"
    assert line["cause"] == "timed out"
    assert line["level"] == "info"
    assert line["time"].endswith("Z")


@pytest.mark.parametrize("style", ["json", "text"])
def test_an_exception_keeps_its_traceback(stream: io.StringIO, style: log.LogFormat) -> None:
    log.configure("info", style, stream)
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        logging.getLogger("picker").error("exchange failed", exc_info=sys.exc_info(), extra={"fields": {"n": 1}})
    assert "RuntimeError: boom" in stream.getvalue()


def test_a_web_servers_errors_do_not_repeat_what_a_client_sent(stream: io.StringIO) -> None:
    log.configure("info", "json", stream)
    try:
        raise ValueError("Got more than 8190 bytes when reading: b'hunter2")
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error handling request from %s", "127.0.0.1")
    line = json.loads(stream.getvalue())
    assert line["event"].startswith("Error handling request from 127.0.0.1: ValueError at ")
    assert "hunter2" not in stream.getvalue()
