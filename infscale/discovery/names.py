"""Names, namespaces and labels as Kubernetes allows them, read from fields."""

import re
from collections.abc import Collection, Mapping
from functools import partial
from types import MappingProxyType

from infscale.documents.strict_document import Field, quoted
from infscale.endpoint import ObjectKey
from infscale.labels import key_problem, value_problem

NO_LABELS: Mapping[str, str] = MappingProxyType({})

_NAME_LIMIT = 253
_NAMESPACE_LIMIT = 63
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_DNS_SUBDOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


def is_name(text: str) -> bool:
    """Whether `text` can name an object: a lower-case DNS subdomain."""
    return len(text) <= _NAME_LIMIT and _DNS_SUBDOMAIN.fullmatch(text) is not None


def is_namespace(text: str) -> bool:
    """Whether `text` can name a namespace: a lower-case DNS label."""
    return len(text) <= _NAMESPACE_LIMIT and _DNS_LABEL.fullmatch(text) is not None


def name(field: Field) -> str:
    """The name of an object; also the form of API groups."""
    text = field.text()
    if not is_name(text):
        field.refuse(f"expected at most 253 of a–z, 0–9, '-' and '.', such as vllm-0, got {quoted(text)}")
    return text


def namespace(field: Field) -> str:
    """The name of a namespace."""
    text = field.text()
    if not is_namespace(text):
        field.refuse(f"expected a namespace: at most 63 of a–z, 0–9 and '-', got {quoted(text)}")
    return text


def object_key(field: Field) -> ObjectKey:
    """A namespace and a name written as one text: ``default/chat``."""
    return object_key_of(field.text(), field)


def object_key_of(text: str, field: Field) -> ObjectKey:
    """The key that `text` writes; `field` is refused where it writes none."""
    first, _, second = text.partition("/")
    if not is_namespace(first) or not is_name(second):
        field.refuse(f"expected namespace/name, such as default/chat, got {quoted(text)}")
    return ObjectKey(first, second)


def _label(key: str, value: Field) -> str:
    if problem := key_problem(key):
        value.refuse(problem)
    text = value.text(empty=True)
    if problem := value_problem(text):
        value.refuse(f"{problem}, got {quoted(text)}")
    return text


def labels(field: Field, besides: Collection[str] = ()) -> Mapping[str, str]:
    """Labels with legal keys and values; keys in `besides` are something else and passed over."""
    found: dict[str, str] = {}
    for key, value in field.entries().items():
        if key in besides:
            continue
        text = value.attempt(partial(_label, key))
        if not text.refused:
            found[key] = text.value
    return MappingProxyType(found)
