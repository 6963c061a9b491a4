"""Follows which Service answers which version of the metrics APIs; says where that takes something from another.

It is said in the log, in an Event of infscale's Service, and as a condition of infscale's own APIService;
`AdapterCollector` shows it as a metric.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from adapter.registering.issuing import Subject
from adapter.registering.ownership import (
    API_GROUP,
    API_SERVICES,
    API_SERVICES_PATH,
    CUSTOM_V1BETA1,
    CUSTOM_V1BETA2,
    Owner,
    Ownership,
    Verdict,
    judged,
    read_api_service,
)
from infscale.kube.api.errors import KubeError, NotFound
from infscale.kube.api.verbs import Creates, Gets, JsonObject, Patches, PatchKind
from infscale.kube.rights import Right, rights
from infscale.process.log import where

CONDITION = "OtherAdaptersMetricsServed"
"""The condition of infscale's APIService: whether metrics of another adapter are still answered."""

_POLL_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Cluster(Gets, Creates, Patches, Protocol):
    """The part of the API server's client that following takes."""


async def read_ownership(client: Cluster, subject: Subject) -> tuple[Ownership, Mapping[str, JsonObject]]:
    """Which Service has what now, and the APIServices as they are. Raises `KubeError`."""
    found: dict[str, JsonObject] = {}
    for name in API_SERVICES:
        try:
            found[name] = await client.get(f"{API_SERVICES_PATH}/{name}")
        except NotFound:
            continue
    return Ownership.of(read_api_service(name, found.get(name), subject) for name in API_SERVICES), found


def ownership_needs(subject: Subject) -> frozenset[Right]:
    """What following the APIServices takes, and saying what is found: in a condition, and in Events of `subject`."""
    return (
        rights(("get",), API_GROUP, "apiservices", API_SERVICES)
        | rights(("patch",), API_GROUP, "apiservices/status", (CUSTOM_V1BETA1, CUSTOM_V1BETA2))
        | rights(("create",), "", "events", namespace=subject.namespace)
    )


class ApiServices:
    """Which Services answer the metrics APIs; guards what was last seen and what was said of it."""

    def __init__(self, client: Cluster, subject: Subject, now: Callable[[], datetime], *, forwards: bool) -> None:
        self._client = client
        self._subject = subject
        self._now = now
        self._forwards = forwards
        self._said: dict[str, str] = {}
        self.ownership: Ownership | None = None
        """Which Service has what; None until it could be read."""
        self.verdict: Verdict | None = None
        """What there is to say of it."""

    def is_forwarding(self) -> bool:
        """Whether another adapter may be asked for what infscale does not know: v1beta1 is not known to be infscale's.

        A request for v1beta2 has been led here, whatever was last seen of that.
        """
        if self.ownership is None:
            return self._forwards
        return self._forwards and self.ownership.services[CUSTOM_V1BETA1].owner is not Owner.INFSCALE

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.try_round()
            await asyncio.sleep(_POLL_SECONDS)

    async def try_round(self) -> None:
        """Look once; what goes wrong is logged, once per cause."""
        try:
            await self._round()
        except KubeError as error:
            self._say("read", f"what answers the metrics APIs cannot be read: {error}")
        except Exception as error:
            # The top of the loop: what was last seen stays.
            self._say("read", f"what answers the metrics APIs cannot be read: {where(error)}")
        else:
            self._said.pop("read", None)

    async def _round(self) -> None:
        ownership, found = await read_ownership(self._client, self._subject)
        verdict = judged(ownership, forwards=self._forwards)
        before, self.ownership, self.verdict = self.verdict, ownership, verdict
        if verdict != before:
            await self._tell(verdict, before)
        for name in (CUSTOM_V1BETA2, CUSTOM_V1BETA1):
            if ownership.services[name].owner is Owner.INFSCALE:
                await self._mark(name, found[name], verdict)
                break

    async def _tell(self, verdict: Verdict, before: Verdict | None) -> None:
        if verdict.is_settled and before is None and verdict.reason == "NoOtherAdapter":
            return
        _log.log(logging.INFO if verdict.is_settled else logging.ERROR, "%s", verdict.message)
        events = f"/api/v1/namespaces/{self._subject.namespace}/events"
        try:
            await self._client.create(events, event_of(verdict, self._subject, self._now()))
        except KubeError as error:
            self._say("event", f"an Event cannot be written: {error}")

    async def _mark(self, name: str, found: JsonObject, verdict: Verdict) -> None:
        condition = condition_of(found, verdict, self._now())
        if condition is None:
            return
        path = f"{API_SERVICES_PATH}/{name}/status"
        try:
            await self._client.patch(path, {"status": {"conditions": [condition]}}, kind=PatchKind.STRATEGIC)
        except KubeError as error:
            self._say("condition", f"the condition of APIService {name} cannot be written: {error}")

    def _say(self, about: str, words: str) -> None:
        if self._said.get(about) != words:
            self._said[about] = words
            _log.warning("%s", words)


def condition_of(api_service: JsonObject, verdict: Verdict, now: datetime) -> JsonObject | None:
    """The condition that an APIService should have; None where it has it."""
    status = "True" if verdict.is_settled else "False"
    wanted = {"type": CONDITION, "status": status, "reason": verdict.reason, "message": verdict.message}
    conditions = (api_service.get("status") or {}).get("conditions") or ()
    known: JsonObject = next((each for each in conditions if each.get("type") == CONDITION), {})
    if all(known.get(key) == value for key, value in wanted.items()):
        return None
    since = known.get("lastTransitionTime") if known.get("status") == status else None
    return {**wanted, "lastTransitionTime": since or _rfc3339(now)}


def event_of(verdict: Verdict, subject: Subject, now: datetime) -> JsonObject:
    """The Event that tells of a verdict, about infscale's Service: an APIService is in no namespace."""
    place = {"namespace": subject.namespace, "name": subject.service}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{subject.service}.", "namespace": subject.namespace},
        "involvedObject": {"apiVersion": "v1", "kind": "Service", **place},
        "type": "Normal" if verdict.is_settled else "Warning",
        "reason": verdict.reason,
        "message": verdict.message,
        "source": {"component": subject.service},
        "firstTimestamp": _rfc3339(now),
        "lastTimestamp": _rfc3339(now),
        "count": 1,
    }


def _rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
