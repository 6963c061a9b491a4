"""Factories of session affinity, and the attributes of requests that name a session."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, get_args

from infscale.documents.strict_document import Field
from infscale.documents.suggestions import did_you_mean
from picker.epp_config.facts import Facts, FactType, Told
from picker.epp_config.parameters import Given, Parameters, note, one_of, positive
from picker.scheduling.filters.session_filter import SessionAffinityFilter
from picker.scheduling.scorers.session_scorer import SessionAffinityScorer
from picker.scheduling.stages import Filter, Scorer
from picker.sessions.session_settings import Cookie, SameSite, SessionSettings, Source, Strategy

ENCODED_HEADER: Final = "x-session-token"
ID_HEADER: Final = "x-session-id"

_AGENT, _SESSION_ID = "agent-identity", "session-id-producer"
_SESSION_ID_ATTRIBUTE = "SessionIDDataKey"
_BLOCKS: Final = {
    Strategy.ENCODED: "encodedEndpointHeaderConfig",
    Strategy.SESSION_ID: "sessionIdConfig",
    Strategy.SIGNED: "signedTokenConfig",
}
_ID_TTL_SECONDS: Final = 300.0
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_COOKIE_PATH: Final = re.compile(r"/[!-:<-~]*")
_MAX_NAME: Final = 128
_SAME_SITE: Final[tuple[SameSite, ...]] = get_args(SameSite)


def _header(field: Field) -> str:
    name = field.text().strip()
    if len(name) > _MAX_NAME or not _TOKEN.fullmatch(name):
        field.refuse("expected the name of a header")
    return name.lower()


def _cookie_name(field: Field) -> str:
    name = field.text()
    if len(name) > _MAX_NAME or not _TOKEN.fullmatch(name):
        field.refuse("expected the name of a cookie")
    return name


def _part(parameters: Parameters, strategy: Strategy) -> Mapping[str, Field]:
    """The fields of the block that belongs to `strategy`."""
    field, known = parameters.get(_BLOCKS[strategy]), _KNOWN[strategy]
    return {} if field is None else field.mapping(optional=known)


_KNOWN: Final[Mapping[Strategy, Sequence[str]]] = {
    Strategy.ENCODED: ("header",),
    Strategy.SESSION_ID: ("sources", "evictionTtlSeconds", "evictionSweepSeconds"),
    Strategy.SIGNED: ("keys", "header", "cookie", "ttlSeconds", "minStaySeconds"),
}


def session_settings(given: Given) -> SessionSettings:
    """The kind of session that a plugin's parameters describe; what belongs to another strategy is not read."""
    parameters = given.read("strategy", "profileName", *_BLOCKS.values())
    strategy = parameters.one_of("strategy", tuple(Strategy), Strategy.ENCODED)
    block = _part(parameters, strategy)
    settings = _READ[strategy](given, parameters, block)
    return replace(settings, profile=parameters.get_as("profileName", lambda field: field.text(empty=True), ""))


def _encoded(_: Given, __: Parameters, block: Mapping[str, Field]) -> SessionSettings:
    header = block.get("header")
    named = header is not None and header.text(empty=True).strip()
    return SessionSettings(Strategy.ENCODED, _header(header) if header is not None and named else ENCODED_HEADER)


def _by_id(given: Given, _: Parameters, block: Mapping[str, Field]) -> SessionSettings:
    sources: list[Source] = []
    for item in block["sources"].items() if "sources" in block else ():
        sources += _source(given, item)
    # As in the reference, 0 is what is not given.
    ttl = block["evictionTtlSeconds"].number(0.0) if "evictionTtlSeconds" in block else 0.0
    if "evictionSweepSeconds" in block:
        block["evictionSweepSeconds"].number(0.0)
    found = tuple(dict.fromkeys(sources)) or (Source(ID_HEADER),)
    return SessionSettings(Strategy.SESSION_ID, sources=found, ttl_seconds=ttl or _ID_TTL_SECONDS)


def _source(given: Given, item: Field) -> Sequence[Source]:
    entry = item.mapping(optional=("header", "attribute", "producer"))
    header, attribute = entry.get("header"), entry.get("attribute")
    if (header is None) == (attribute is None):
        item.refuse("expected exactly one of header and attribute")
    if header is not None:
        return (Source(_header(header)),)
    if attribute is None:
        return ()
    name, known = attribute.text(), given.request_attributes
    if name not in known:
        listed = ", ".join(sorted(known))
        declare = f"; declare a plugin of type {_AGENT}" if name == _AGENT else did_you_mean(name, known)
        attribute.refuse(f"no plugin publishes it; there are {listed}{declare}")
    return known[name]


def _signed(_: Given, parameters: Parameters, block: Mapping[str, Field]) -> SessionSettings:
    field = parameters.required(_BLOCKS[Strategy.SIGNED])
    if "keys" not in block:
        field.refuse("keys is missing: the file or folder of the keys that tokens are signed with")
    keys = block["keys"].text()
    if "\0" in keys:
        block["keys"].refuse("expected the path of a file or a folder")
    if "header" not in block and "cookie" not in block:
        field.refuse("expected header, cookie or both: what carries the token of a session")
    return SessionSettings(
        Strategy.SIGNED,
        _header(block["header"]) if "header" in block else "",
        _cookie(block["cookie"]) if "cookie" in block else None,
        keys,
        ttl_seconds=positive(block["ttlSeconds"]) if "ttlSeconds" in block else 3_600.0,
        min_stay_seconds=block["minStaySeconds"].number(0.0) if "minStaySeconds" in block else 60.0,
        keys_place=block["keys"].place,
        keys_path=block["keys"].path,
    )


def _cookie(field: Field) -> Cookie:
    entry, usual = field.mapping(optional=("name", "path", "secure", "sameSite")), Cookie()
    path = entry["path"].text() if "path" in entry else usual.path
    if not _COOKIE_PATH.fullmatch(path):
        entry["path"].refuse("expected a path that begins with / and has no ;")
    secure = entry["secure"].boolean() if "secure" in entry else usual.secure
    same_site = one_of(_SAME_SITE, entry["sameSite"]) if "sameSite" in entry else usual.same_site
    if same_site == "None" and not secure:
        entry["sameSite"].refuse("browsers take a cookie with sameSite: None only where it is secure")
    return Cookie(_cookie_name(entry["name"]) if "name" in entry else usual.name, path, secure, same_site)


_READ: Final[Mapping[Strategy, Callable[[Given, Parameters, Mapping[str, Field]], SessionSettings]]] = {
    Strategy.ENCODED: _encoded,
    Strategy.SESSION_ID: _by_id,
    Strategy.SIGNED: _signed,
}


def session_notes(given: Given) -> Iterator[str]:
    """What is worth saying of a plugin that can be used: what has no effect, and what clients can see."""
    settings = session_settings(given)
    entries = {} if given.parameters is None else given.parameters.entries()
    for other, name in _BLOCKS.items():
        if other is not settings.strategy and name in entries:
            strategy = settings.strategy.value
            yield note(entries[name], f"has no effect with strategy {strategy}; it belongs to strategy: {other.value}")
    if settings.strategy is Strategy.ENCODED:
        header = settings.header
        text = f"clients read in {header} where they are, and can name any endpoint; strategy: {Strategy.SIGNED.value}"
        gateways = f", and gateways remove {header} unless picker.trusted_headers names it"
        yield note(given.declared, f"{text} hides it{gateways if header == ENCODED_HEADER else ''}")


def _filter(given: Given) -> Filter:
    return SessionAffinityFilter(session_settings(given))


def _scorer(given: Given) -> Scorer:
    return SessionAffinityScorer(session_settings(given))


# An endpoint that is a cluster has a name as any other, so that the filters are the same.
SESSION_FILTERS: Mapping[str, Callable[[Given], Filter]] = {
    "session-affinity-filter": _filter,
    "multicluster-session-affinity-filter": _filter,
}
SESSION_SCORERS: Mapping[str, Callable[[Given], Scorer]] = {"session-affinity-scorer": _scorer}
SESSION_TYPES: Final = frozenset((*SESSION_FILTERS, *SESSION_SCORERS))


def request_attributes(facts: Facts) -> Mapping[str, tuple[Source, ...]]:
    """Names for what identifies the session of a request, with where that is found."""
    found = {_SESSION_ID_ATTRIBUTE: (facts.session_source or Source(ID_HEADER),)}
    agents = {_AGENT: tuple(map(Source, facts.agent_headers))} if facts.agent_headers else {}
    return {**found, **agents}


def _session_id(given: Given, facts: Facts) -> Told:
    parameters = given.read("headerName", "cookieName", "lruSize", "ttl")
    header, cookie = parameters.get("headerName"), parameters.get("cookieName")
    if given.parameters is not None and (header is None) == (cookie is None):
        given.parameters.refuse("expected exactly one of headerName and cookieName")
    source = Source(ID_HEADER)
    if header is not None:
        source = Source(_header(header))
    elif cookie is not None:
        source = Source(_cookie_name(cookie), cookie=True)
    notes = tuple(
        note(field, "has no effect here: the plugin that asks for sessions says how long they are remembered")
        for name in ("lruSize", "ttl")
        if (field := parameters.get(name)) is not None
    )
    return replace(facts, session_source=source), notes


SESSION_PRODUCERS: Mapping[str, FactType] = {
    _SESSION_ID: FactType(_session_id, alone_among=(_SESSION_ID,)),
}
"""Producers of attributes that name the session of a request."""
