"""Request paths and queries, parsed once into typed requests.

The decoded path is parsed exactly once and its result serves both authorization and the answer, so that an
encoded slash can never mean one thing here and another there. Paths are those of the Kubernetes custom and external
metrics APIs.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl

from adapter.errors import BadRequest, MethodNotAllowed, NotFound
from infscale.errors import SelectorError
from infscale.labels import Selector

CUSTOM_GROUP = "custom.metrics.k8s.io"
EXTERNAL_GROUP = "external.metrics.k8s.io"
ALL = "*"
EVERYTHING = Selector()
"""The selector that selects everything."""

NO_SUCH_PATH = "the server could not find the requested resource"
WRONG_METHOD = "the server does not allow this method on the requested resource"
TELEMETRY_PATH = "/metrics"
"""Where the process' own metrics are."""
MAX_SEGMENT_CHARACTERS = 512
MAX_QUERY_CHARACTERS = 16_384
_MAX_PARAMETERS = 32
# Reading and sorting as many as a query has room for takes a hundredth of a second.
_MAX_SELECTOR_PARTS = 512

_FIELD_SELECTOR = re.compile(r"metadata\.name==?([^=,!]+)")
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_READ = frozenset({"GET"})
_READ_OR_PROBE = frozenset({"GET", "HEAD"})


class CustomVersion(enum.Enum):
    """Versions of the custom metrics API; they differ in how an item names its metric."""

    V1BETA1 = "v1beta1"
    V1BETA2 = "v1beta2"


class Document(enum.Enum):
    """Documents that do not depend on any metric value, by path."""

    ROOT = "/"
    GROUPS = "/apis"
    CUSTOM = f"/apis/{CUSTOM_GROUP}"
    CUSTOM_V1BETA1 = f"/apis/{CUSTOM_GROUP}/v1beta1"
    CUSTOM_V1BETA2 = f"/apis/{CUSTOM_GROUP}/v1beta2"
    EXTERNAL = f"/apis/{EXTERNAL_GROUP}"
    EXTERNAL_V1BETA1 = f"/apis/{EXTERNAL_GROUP}/v1beta1"
    OPENAPI_V2 = "/openapi/v2"
    OPENAPI_V3 = "/openapi/v3"
    OPENAPI_CUSTOM_V1BETA1 = f"/openapi/v3/apis/{CUSTOM_GROUP}/v1beta1"
    OPENAPI_CUSTOM_V1BETA2 = f"/openapi/v3/apis/{CUSTOM_GROUP}/v1beta2"
    OPENAPI_EXTERNAL_V1BETA1 = f"/openapi/v3/apis/{EXTERNAL_GROUP}/v1beta1"
    VERSION = "/version"


class Probe(enum.Enum):
    """Health paths."""

    LIVE = "/livez"
    READY = "/readyz"
    HEALTH = "/healthz"


@dataclass(frozen=True, slots=True)
class GroupResource:
    """A kind of object as paths write it: ``pods``, ``deployments.apps``; the first dot ends the plural."""

    resource: str
    group: str = ""

    @classmethod
    def parse(cls, text: str) -> "GroupResource":
        """The resource `text` names."""
        resource, _, group = text.partition(".")
        return cls(resource, group)

    def __str__(self) -> str:
        return f"{self.resource}.{self.group}" if self.group else self.resource


NAMESPACES = GroupResource("namespaces")
"""Their objects are described by a path that names a namespace and no object of it."""


@dataclass(frozen=True, slots=True)
class ObjectRequest:
    """A metric of one object, or of all objects a selector picks (`name` is ``*``).

    `namespace` is empty for root-scoped objects, among them the namespace whose own metric is asked for. `labels`
    selects objects, `metric_labels` the metric's labels, `field_name` narrows a list to one name.
    """

    version: CustomVersion
    resource: GroupResource
    namespace: str
    name: str
    metric: str
    labels: Selector = EVERYTHING
    metric_labels: Selector = EVERYTHING
    field_name: str | None = None
    pretty: bool = False

    @property
    def wanted_name(self) -> str | None:
        """The one name asked for; None where a selector decides."""
        return self.field_name if self.name == ALL else self.name


@dataclass(frozen=True, slots=True)
class ExternalRequest:
    """A metric that belongs to no object; `labels` selects among its label sets."""

    namespace: str
    metric: str
    labels: Selector = EVERYTHING
    pretty: bool = False


@dataclass(frozen=True, slots=True)
class DocumentRequest:
    """A document of the API itself; `content_hash` is of the content the client expects there, None where of any."""

    document: Document
    pretty: bool = False
    content_hash: str | None = None


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """Whether the adapter lives and is ready."""

    probe: Probe


@dataclass(frozen=True, slots=True)
class TelemetryRequest:
    """The process' own metrics, for a Prometheus."""


MetricRequest = ObjectRequest | ExternalRequest
Request = MetricRequest | DocumentRequest | ProbeRequest | TelemetryRequest

_FIXED: Mapping[str, Document | Probe | TelemetryRequest] = {
    **{each.value: each for kind in (Document, Probe) for each in kind},
    TELEMETRY_PATH: TelemetryRequest(),
}
PATHS = tuple(_FIXED)
"""Every path that is one whatever is discovered."""

_VERSIONS = {version.value: version for version in CustomVersion}


def parse(method: str, path: str, query: str = "") -> Request:
    """The request for the percent-decoded `path` and the query string as it came.

    Raises `NotFound`, `MethodNotAllowed` or `BadRequest`.
    """
    place = _place(path)
    if method not in (_READ if isinstance(place, MetricRequest) else _READ_OR_PROBE):
        raise MethodNotAllowed(WRONG_METHOD)
    if isinstance(place, TelemetryRequest):
        return place
    if isinstance(place, Probe):
        return ProbeRequest(place)
    options = _options(query)
    pretty = options.get("pretty") in _TRUE
    if isinstance(place, Document):
        return DocumentRequest(place, pretty, options.get("hash"))
    labels = _selector(options, "labelSelector")
    if isinstance(place, ExternalRequest):
        return replace(place, labels=labels, pretty=pretty)
    metric_labels = _selector(options, "metricLabelSelector")
    field_name = _field_name(options.get("fieldSelector", ""))
    return replace(place, labels=labels, metric_labels=metric_labels, field_name=field_name, pretty=pretty)


def trimmed(path: str) -> str:
    """`path` without the slash at its end, which makes no difference to what it names."""
    return path[:-1] if len(path) > 1 and path.endswith("/") else path


def _place(path: str) -> Document | Probe | TelemetryRequest | MetricRequest:
    """What `path` names; a request for a metric is yet without its query."""
    named = trimmed(path)
    fixed = _FIXED.get(named)
    if fixed is not None:
        return fixed
    segments = named.split("/")[1:]
    if not named.startswith("/") or not all(map(_is_segment, segments)):
        raise NotFound(NO_SUCH_PATH)
    match segments:
        case ["apis", group, version, *rest] if group == CUSTOM_GROUP and version in _VERSIONS:
            return _object_place(_VERSIONS[version], rest)
        case ["apis", group, "v1beta1", "namespaces", namespace, metric] if group == EXTERNAL_GROUP:
            return ExternalRequest(namespace, metric)
        case _:
            raise NotFound(NO_SUCH_PATH)


def _object_place(version: CustomVersion, rest: list[str]) -> ObjectRequest:
    match rest:
        case ["namespaces", _, _]:
            raise BadRequest("invalid request path")
        case ["namespaces", namespace, "metrics", metric]:
            return ObjectRequest(version, NAMESPACES, "", namespace, metric)
        case ["namespaces", namespace, resource, name, metric]:
            return ObjectRequest(version, GroupResource.parse(resource), namespace, name, metric)
        case [resource, name, metric] if resource != "namespaces":
            return ObjectRequest(version, GroupResource.parse(resource), "", name, metric)
        case _:
            raise NotFound(NO_SUCH_PATH)


def _is_segment(text: str) -> bool:
    """Whether `text` can name anything: the API's path segments, and nothing that cannot be printed."""
    return (
        0 < len(text) <= MAX_SEGMENT_CHARACTERS and text not in {".", ".."} and "%" not in text and text.isprintable()
    )


def _options(query: str) -> dict[str, str]:
    if len(query) > MAX_QUERY_CHARACTERS:
        raise BadRequest(f"the query is longer than {MAX_QUERY_CHARACTERS} characters")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        raise BadRequest(f"the query has more than {_MAX_PARAMETERS} parameters") from None
    # The first of several counts, as in the API server.
    return dict(reversed(pairs))


def _selector(options: Mapping[str, str], name: str) -> Selector:
    text = options.get(name, "")
    if text.count(",") + text.count("(") > _MAX_SELECTOR_PARTS:
        raise BadRequest(f"{name}: it has more than {_MAX_SELECTOR_PARTS} parts")
    try:
        return Selector.parse(text)
    except SelectorError as error:
        hint = "; a model's name is rarely a label value: select by model_key" if "model" in text else ""
        printable = str(error).encode("utf-8", "replace").decode("utf-8")
        raise BadRequest(f"{name}: {printable}{hint}") from None


def _field_name(text: str) -> str | None:
    if not text:
        return None
    found = _FIELD_SELECTOR.fullmatch(text)
    if found is None:
        raise BadRequest("fieldSelector: only metadata.name=NAME is known here")
    return found[1]
