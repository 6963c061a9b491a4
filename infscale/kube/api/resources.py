"""The resource types this project reads and writes, and their paths."""

from dataclasses import dataclass
from urllib.parse import quote

from infscale.discovery.objects import LEGACY_GROUP, LLM_D_GROUP, POOL_GROUP
from infscale.discovery.rollout_objects import INFSCALE_GROUP


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource type of the Kubernetes API. `group` "" is the core group; `kind` is what one object of it is."""

    group: str
    version: str
    plural: str
    namespaced: bool
    kind: str

    @property
    def api_version(self) -> str:
        """As objects write it: ``v1``, ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def name(self) -> str:
        """As RBAC and kubectl write it: ``pods``, ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Path of the collection in `namespace` (None: in all of them), of one object, or of a part of one object.

        Raises `ValueError` where one object of a namespaced resource is asked for without its namespace.
        """
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        elif self.namespaced and name is not None:
            raise ValueError(f"an object of {self.name} has a namespace")
        parts += [self.plural]
        if name is not None:
            parts += [quote(name, safe="")]
            parts += [subresource] if subresource is not None else []
        return "/" + "/".join(parts)


PODS = Resource("", "v1", "pods", True, "Pod")
SERVICES = Resource("", "v1", "services", True, "Service")
NODES = Resource("", "v1", "nodes", False, "Node")
NAMESPACES = Resource("", "v1", "namespaces", False, "Namespace")
DEPLOYMENTS = Resource("apps", "v1", "deployments", True, "Deployment")
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", True, "StatefulSet")
REPLICA_SETS = Resource("apps", "v1", "replicasets", True, "ReplicaSet")
AUTOSCALERS = Resource("autoscaling", "v2", "horizontalpodautoscalers", True, "HorizontalPodAutoscaler")
POOLS = Resource(POOL_GROUP, "v1", "inferencepools", True, "InferencePool")
LEGACY_POOLS = Resource(LEGACY_GROUP, "v1alpha2", "inferencepools", True, "InferencePool")
OBJECTIVES = Resource(LLM_D_GROUP, "v1alpha2", "inferenceobjectives", True, "InferenceObjective")
LEGACY_OBJECTIVES = Resource(LEGACY_GROUP, "v1alpha2", "inferenceobjectives", True, "InferenceObjective")
REWRITES = Resource(LLM_D_GROUP, "v1alpha2", "inferencemodelrewrites", True, "InferenceModelRewrite")
LEGACY_REWRITES = Resource(LEGACY_GROUP, "v1alpha2", "inferencemodelrewrites", True, "InferenceModelRewrite")
MODELS = Resource(LEGACY_GROUP, "v1alpha2", "inferencemodels", True, "InferenceModel")
ROLLOUTS = Resource(INFSCALE_GROUP, "v1alpha1", "modelrollouts", True, "ModelRollout")
