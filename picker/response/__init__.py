"""Response bodies, where the gateway shows them: token usage read and model names restored across any chunking."""

from picker.response.reported_attributes import ReportedAttribute, reported
from picker.response.restore import names_to_restore, restore_line
from picker.response.usage import Usage, UsageReader
from picker.response.visible_body import BodyPlan, VisibleBody

__all__ = [
    "BodyPlan",
    "ReportedAttribute",
    "Usage",
    "UsageReader",
    "VisibleBody",
    "names_to_restore",
    "reported",
    "restore_line",
]
