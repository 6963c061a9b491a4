"""Requests whose body the picker does not see: they are scheduled by load, and shed, like any other."""

from typing import Final
from urllib.parse import parse_qs

from picker.errors import RequestError
from picker.ext_proc.headers import request_path
from picker.request import Headers, ParsedBody

UNREAD: Final = ParsedBody("opaque", "", b"", 0, generates=False)
"""A body that the gateway keeps to itself."""

_UPGRADING: Final = frozenset({"GET", "CONNECT"})


def of_upgrade(headers: Headers) -> ParsedBody:
    """What is known of a request that wants another protocol: the model, where its query names one.

    Raises RequestError for one with another method. A server that passes over an upgrade reads what follows as an
    ordinary body, which is not looked at otherwise.
    """
    method = headers.get(":method")
    if method is not None and method not in _UPGRADING:
        raise RequestError("an upgrade to another protocol is asked for with GET")
    query = request_path(headers).partition("?")[2]
    try:
        model = parse_qs(query, max_num_fields=64).get("model", [""])[-1]
    except ValueError:
        model = ""
    return ParsedBody("opaque", model, b"", 0, generates=False)
