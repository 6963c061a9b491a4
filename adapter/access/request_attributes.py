"""What is asked for, in the terms in which a cluster grants rights.

Resource requests are described as the API server's own reading of paths describes them, so that the roles that serve
other metrics APIs serve here. For a typed request they come from it alone: what is authorized is what is answered.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from adapter.access.identity import User
from adapter.api.paths import CUSTOM_GROUP, EXTERNAL_GROUP, NAMESPACES, ExternalRequest, ObjectRequest, Request, trimmed

REVIEW_PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_API = "apis"
_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_VERBS_WITHOUT_NAME = {"get": "list", "delete": "deletecollection"}

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class ResourceAttributes:
    """A verb on a resource; `namespace` is empty at the cluster scope, `name` and `subresource` where there is none."""

    verb: str
    group: str
    version: str
    resource: str
    subresource: str = ""
    name: str = ""
    namespace: str = ""

    @property
    def subject(self) -> str:
        """What the verb is applied to, for a log."""
        return f"{self.resource}.{self.group}"

    @property
    def size(self) -> int:
        """Characters of the parts that a client chooses."""
        return sum(map(len, (self.group, self.version, self.resource, self.subresource, self.name, self.namespace)))

    def spec(self) -> JsonObject:
        """The part of a `SubjectAccessReview` that says what is asked for."""
        return {"resourceAttributes": {key: value for key, value in asdict(self).items() if value}}

    def refusal(self, user: str) -> str:
        """The API server's words for the user's not being allowed this."""
        subresource = f"/{self.subresource}" if self.subresource else ""
        scope = f"in the namespace {_quoted(self.namespace)}" if self.namespace else "at the cluster scope"
        name = f" {_quoted(self.name)}" if self.name else ""
        return (
            f"{self.resource}.{self.group}{name} is forbidden: User {_quoted(user)} cannot {self.verb} resource "
            f"{_quoted(self.resource + subresource)} in API group {_quoted(self.group)} {scope}"
        )

    def details(self) -> Mapping[str, str]:
        """The `details` of such a refusal."""
        named = {"name": self.name} if self.name else {}
        return {**named, "group": self.group, "kind": self.resource}


@dataclass(frozen=True, slots=True)
class PathAttributes:
    """A verb, the method in lower case, on a path that is no resource."""

    verb: str
    path: str

    @property
    def subject(self) -> str:
        """What the verb is applied to, for a log."""
        return self.path

    @property
    def size(self) -> int:
        """Characters of the parts that a client chooses."""
        return len(self.path)

    def spec(self) -> JsonObject:
        """The part of a `SubjectAccessReview` that says what is asked for."""
        return {"nonResourceAttributes": {"path": self.path, "verb": self.verb}}

    def refusal(self, user: str) -> str:
        """The API server's words for the user's not being allowed this."""
        return f"forbidden: User {_quoted(user)} cannot {self.verb} path {_quoted(self.path)}"

    def details(self) -> Mapping[str, str]:
        """The `details` of such a refusal."""
        return {}


Attributes = ResourceAttributes | PathAttributes


@dataclass(frozen=True, slots=True)
class Asked:
    """One HTTP request: its method, its percent-decoded path, and what it parsed to; None where it did not."""

    method: str
    path: str
    request: Request | None


def attributes_of(asked: Asked) -> Attributes:
    """What a right is needed for. A request that did not parse needs the right its path would need."""
    match asked.request:
        case ObjectRequest() as request:
            return _of_object(request)
        case ExternalRequest() as request:
            return ResourceAttributes("list", EXTERNAL_GROUP, "v1beta1", request.metric, namespace=request.namespace)
        case None:
            return _of_path(asked.method, asked.path.encode("utf-8", "replace").decode())
        case _:
            return PathAttributes(asked.method.lower(), trimmed(asked.path))


def access_review(user: User, attributes: Attributes) -> JsonObject:
    """The `SubjectAccessReview` that asks whether `user` may."""
    spec: JsonObject = {"user": user.name, "groups": list(user.groups), **attributes.spec()}
    if user.uid:
        spec["uid"] = user.uid
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in user.extra}
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}


def _of_object(request: ObjectRequest) -> ResourceAttributes:
    version = request.version.value
    if request.resource == NAMESPACES and not request.namespace:
        # ``namespaces/NS/metrics/M`` reads as an object named M of the resource "metrics" in NS, so that a role in
        # the namespace suffices.
        return ResourceAttributes("get", CUSTOM_GROUP, version, "metrics", "", request.metric, request.name)
    resource = str(request.resource)
    return ResourceAttributes("get", CUSTOM_GROUP, version, resource, request.metric, request.name, request.namespace)


def _of_path(method: str, path: str) -> Attributes:
    match path.strip("/").split("/"):
        case [prefix, group, version, *rest] if rest and prefix == _API:
            return _of_parts(_VERBS.get(method, method.lower()), group, version, rest)
        case _:
            return PathAttributes(method.lower(), trimmed(path))


def _of_parts(verb: str, group: str, version: str, parts: list[str]) -> ResourceAttributes:
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 1:
        namespace = parts[1]
        # A namespace is itself in its namespace.
        parts = parts[2:] or parts
    resource, name, subresource = (*parts[:3], "", "")[:3]
    if not name:
        verb = _VERBS_WITHOUT_NAME.get(verb, verb)
    return ResourceAttributes(verb, group, version, resource, subresource, name, namespace)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
