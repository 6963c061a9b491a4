"""Structured log lines: one JSON object, or one readable line, per event.

Callers log an event name and allow-listed fields: ``log.info("scrape failed", extra={"fields": {"cause": …}})``.
Nothing a client sent (prompts, headers, query texts) and no credential is ever a field.
"""

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Literal, TextIO

import orjson

LogFormat = Literal["json", "text"]
Level = Literal["debug", "info", "warning", "error"]


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = getattr(record, "fields", None)
    return dict(fields) if isinstance(fields, dict) else {}  # pyright: ignore[reportUnknownArgumentType]


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonFormatter(logging.Formatter):
    """``{"time": …, "level": …, "logger": …, "event": …, fields…}``; an exception adds its type and traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class TextFormatter(logging.Formatter):
    """``time LEVEL logger: event key=value …``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback of an exception below it."""
        fields = "".join(f" {key}={value}" for key, value in _fields(record).items())
        line = f"{_time(record)} {record.levelname:<7} {record.name}: {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def where(error: BaseException) -> str:
    """Type and place of an error without its message, which may repeat what a client sent."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


class WithoutMessages(logging.Filter):
    """Replaces exceptions by their type and place."""

    def filter(self, record: logging.LogRecord) -> bool:
        """True: every record is kept."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            record.msg, record.args = f"{record.getMessage()}: {where(error)}", None
            record.exc_info = None
        return True


_AIOHTTP = WithoutMessages()


def configure(level: Level = "info", style: LogFormat = "json", stream: TextIO | None = None) -> None:
    """Send this project's log to `stream` (standard error), and only warnings of other libraries."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    # A web server's errors quote the lines it could not read.
    logging.getLogger("aiohttp.server").addFilter(_AIOHTTP)
    for name in ("infscale", "picker", "adapter"):
        logging.getLogger(name).setLevel(level.upper())
