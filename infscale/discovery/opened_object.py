"""What every Kubernetes object has, whatever its kind: its identity, labels, annotations and age."""

from collections.abc import Mapping
from dataclasses import dataclass

from infscale.discovery import names
from infscale.documents.strict_document import Field, attempted
from infscale.endpoint import ObjectKey

DEFAULT_NAMESPACE = "default"

_METADATA = (
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)


@dataclass(frozen=True, slots=True)
class OpenedObject:
    """The part that all objects share; `spec` and `status` None: absent."""

    field: Field
    key: ObjectKey
    labels: Mapping[str, str]
    created: str
    spec: Field | None
    status: Field | None
    annotations: Field | None

    def annotation(self, name: str) -> Field | None:
        """What the annotation `name` says; None: there is none."""
        return None if self.annotations is None else self.annotations.entries().get(name)

    def require_spec(self) -> Field:
        """The spec, for kinds that are nothing without."""
        if self.spec is None:
            self.field.refuse("key 'spec' is missing")
        return self.spec


def open_object(field: Field) -> OpenedObject:
    """What every object has, whatever its kind."""
    parts = field.mapping(["apiVersion", "kind", "metadata"], ["spec", "status"])
    metadata = parts["metadata"].mapping(["name"], _METADATA)
    name = metadata["name"].attempt(names.name)
    namespace = attempted(metadata, "namespace", names.namespace, DEFAULT_NAMESPACE)
    labels = attempted(metadata, "labels", names.labels, names.NO_LABELS)
    created = attempted(metadata, "creationTimestamp", Field.timestamp, "")
    # A key that is refused leaves nothing to say of the spec that could be found again.
    key = ObjectKey(namespace.value, name.value)
    return OpenedObject(
        field,
        key,
        labels.value,
        created.value,
        parts.get("spec"),
        parts.get("status"),
        metadata.get("annotations"),
    )
