"""Response bodies, where the gateway shows them: token usage read and model names restored across any chunking."""

from picker.response.reported_attributes import ReportedAttribute, reported
from picker.response.restore import names_to_restore
from picker.response.usage import Usage
from picker.response.visible_body import BodyPlan, VisibleBody

__all__ = ["BodyPlan", "ReportedAttribute", "Usage", "VisibleBody", "names_to_restore", "reported"]
