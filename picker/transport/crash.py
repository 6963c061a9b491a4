"""What is said when an exchange fails by a fault of the picker's own."""

import logging
import traceback
from pathlib import Path

from picker.ext_proc.messages import Fail

CRASHED = Fail("INTERNAL", "the picker failed on this request; its log says where")
"""What the gateway is told."""

_LOG = logging.getLogger(__name__)


def log_crash(error: Exception) -> None:
    """Say what broke and where. The error's own text stays out: it can quote what a client sent."""
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-3:]]
    _LOG.error("exchange failed", extra={"fields": {"error": type(error).__name__, "where": where}})
