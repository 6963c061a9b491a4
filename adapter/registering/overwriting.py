"""Others that write their CA into an APIService of infscale's: restored a few times, and never fought over.

KEDA's operator does so when it rotates its certificates: it takes the APIService of the external metrics for its own.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

MOST_RESTORED: Final = 3
WITHIN: Final = timedelta(minutes=10)
"""So many times within this, infscale's CA is written again; then it is left to the other until the first is as old."""

JsonObject = Mapping[str, Any]


class Overwriting:
    """Guards which CA bundle infscale last wrote into each APIService or found right, and when it restored one."""

    def __init__(self) -> None:
        self._ours: dict[str, str] = {}
        self._restored: dict[str, list[datetime]] = {}

    def is_right(self, name: str, bundle: str) -> None:
        """The APIService `name` has this bundle now, as it should."""
        self._ours[name] = bundle

    def is_another_s(self, name: str, found: str | None) -> bool:
        """Whether what was `found` is neither what infscale left there, nor from before infscale came."""
        return name in self._ours and found != self._ours[name]

    def may_restore(self, name: str, now: datetime) -> bool:
        """Whether infscale's bundle may be written over another's at `now`, which is then noted."""
        lately = [at for at in self._restored.get(name, []) if now - at < WITHIN]
        self._restored[name] = lately
        if len(lately) >= MOST_RESTORED:
            return False
        lately.append(now)
        return True


def writer(api_service: JsonObject) -> str | None:
    """The field manager that wrote the CA bundle of an APIService last; None where the API server does not say."""
    entries = (api_service.get("metadata") or {}).get("managedFields") or ()
    writers = [
        (str(each.get("time") or ""), str(each["manager"]))
        for each in entries
        if "f:caBundle" in ((each.get("fieldsV1") or {}).get("f:spec") or {}) and each.get("manager")
    ]
    return max(writers)[1] if writers else None


def told(name: str, api_service: JsonObject, *, restored: bool) -> str:
    """What there is to say of an APIService whose CA another has replaced."""
    by = writer(api_service)
    who = f"another ({by})" if by else "another"
    first = f"{who} wrote its CA into APIService {name}, which leads to infscale"
    if restored:
        return f"{first}: infscale's is restored"
    return (
        f"{first}, again and again: it is left there, and metrics of {name} are not answered meanwhile; if it is "
        "KEDA's operator, give it --enable-apiservice-patching=false"
    )
