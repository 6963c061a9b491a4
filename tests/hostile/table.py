"""Every input of the hostile tests, as the table of docs/hardening.md; ``python -m tests.hostile.table`` renews it.

Inputs and answers come from the tests' own tables where there are some. A test without a table is told of here, in
`TESTS`, which has to name each test there is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

from tests.hostile import (
    test_api_users,
    test_clients,
    test_cluster_objects,
    test_discovery_files,
    test_gateways,
    test_pages,
    test_peers,
)

PAGE = Path(__file__).parent.parent.parent / "docs" / "hardening.md"
HEADING = "## Tried on real processes\n"
HEAD = ("| surface | input | result |", "|---|---|---|")

Row = tuple[str, str]
"""An input, and what it is answered."""


def _code(text: str) -> str:
    """As code in a cell of a table."""
    return f"`{text.strip()}`".replace("|", "\\|")


def _failed(cause: str) -> str:
    """A failed scrape with a cause that a pattern describes."""
    if cause == ".+":
        return "a failed scrape with its cause"
    return "a failed scrape: " + " or ".join(f"“{each}”" for each in cause.split("|"))


def _pages() -> Iterator[Row]:
    for name, (_, cause) in test_pages.PAGES.items():
        yield name, _failed(cause) if cause else "read within bounds, or a failed scrape with its cause"


def _answers() -> Iterator[Row]:
    for name, (_, cause) in test_pages.ANSWERS.items():
        yield name, _failed(cause)


def _named(prefix: str, names: Iterable[str], answer: str) -> Callable[[], Iterator[Row]]:
    return lambda: ((f"{prefix}{name}", answer) for name in names)


def _faults() -> Iterator[Row]:
    for name, (_, code) in test_gateways.FAULTS.items():
        yield name, f"GOAWAY with {code.name}, and closed"


ENDS = {"grpc-status": "the stream ends with a gRPC status", "payload_too_large": "413"}


def _ends() -> Iterator[Row]:
    for name, (_, words) in test_gateways.ENDS.items():
        told = words.decode().replace("%20", " ")
        yield name, ENDS.get(told, f"the stream ends: “{told}”")


def _said() -> Iterator[Row]:
    for kind in test_api_users.SAID.values():
        for name, (_, status) in kind.items():
            yield name, str(status)


def _refused(subject: str, cause: str) -> str:
    return f"{subject} is refused: {_code(cause)}" if cause else f"{subject} is refused with its cause"


def _content() -> Iterator[Row]:
    for name, (_, cause) in test_discovery_files.CONTENT.items():
        yield name, _refused("the file", f"FILE{cause}" if cause.startswith(":") else "")


def _places() -> Iterator[Row]:
    for name, place in test_discovery_files.PLACES.items():
        yield f"in the file's place: {name}", _refused("it", place.cause)


def _pickers() -> Iterator[Row]:
    for name, (_, cause) in test_discovery_files.PICKERS.items():
        yield f"picker configuration: {name}", _refused("the file", f"FILE{cause}")


def _one(name: str, answer: str) -> Callable[[], Iterator[Row]]:
    return lambda: iter([(name, answer)])


def _nothing() -> Iterator[Row]:
    return iter(())


_TURNS = "read in turns (`loop_turn`); others wait for one turn"
_CLIENTS: Mapping[str, Callable[[], Iterator[Row]]] = {
    "test_what_is_no_json_is_refused_and_counted": _named("JSON: ", test_clients.INVALID_JSON, "400"),
    "test_missing_fields_are_refused_and_counted": _one("no prompt, no messages, or a model that is a number", "400"),
    "test_duplicate_keys_are_one_request": _one("a key a hundred thousand times", "200; the last value counts"),
    "test_odd_numbers_are_left_to_the_engine": _named(
        "limits and counts: ", test_clients.ODD_NUMBERS, "the server's answer: 200, 400 or 422"
    ),
    "test_streams_with_odd_options_are_answered": _one(
        "`stream_options` of other types", "the server's answer: 200, 400 or 422"
    ),
    "test_bodies_of_30_mb_at_once_stay_within_memory": _one("bodies of 30 MB at once", "200, or a refusal"),
    "test_bodies_that_are_slow_to_decode_keep_no_one_waiting": _named(
        "30 MB, also encoded: ", test_clients.SLOW_VALUES, "413, or 200 where it is one list of numbers"
    ),
    "test_an_announced_body_that_is_too_large_is_refused_before_it_comes": _one(
        "a body of a terabyte, announced", "413"
    ),
    "test_bombs_of_compressed_bodies_are_bounded": _one(
        "200 MiB of zeros, compressed once or twice", "400, 413, 415 or 503"
    ),
    "test_odd_model_names_reach_no_one_else_s": _one(
        "model names of a megabyte, of control characters …", "400 or 404"
    ),
    "test_ten_thousand_names_make_no_more_series_than_some": _one(
        "10,000 invented models, paths, objectives and fairness ids", "404 or 429; no more metric series than for 1,000"
    ),
    "test_floods_of_headers_are_bounded": _one("2,000 headers, or one of 200 KB", "431 of the gateway, or closed"),
    "test_headers_of_the_protocol_reach_nothing": _one(
        "a destination, pool, rewrite, path or endpoint in a header", "200, as without it"
    ),
    "test_upgrades_are_answered": _one(
        "upgrades to WebSocket, h2c, TLS and an unknown protocol", "a status of the server or gateway"
    ),
    "test_bodies_that_come_slowly_hold_up_no_one": _one(
        "bodies that come slowly, and some that never end", "200 for those that end"
    ),
    "test_aborts_in_every_phase_leave_nothing": _one(
        "160 aborts, in every phase of a request", "in-flight counts return to 0"
    ),
    "test_the_content_type_is_not_what_decides": _one("invalid content types", "200, 400 or 415"),
    "test_forms_of_many_parts_pass_on_unread": _one("a form of 20,000 parts", "an answer of the server, or a refusal"),
    "test_floods_of_chunks_are_one_body": _one("a body in 8,000 chunks of a byte", "200"),
    "test_trailers_end_a_request_too": _one("trailers after a body", "200, 400 or 431"),
    "test_what_is_no_http_gets_no_further_than_the_gateway": _named(
        "HTTP: ", test_clients.MALFORMED, "400, 413, 414 or 431 of the gateway, or closed"
    ),
    "test_paths_of_any_form_are_answered": _one("paths with dots, NUL, 2,000 segments …", "200, 400, 404, 405 or 431"),
}

_GATEWAYS: Mapping[str, Callable[[], Iterator[Row]]] = {
    "test_a_flood_costs_its_own_connection_alone": _named("flood of ", test_gateways.FLOODS, _TURNS),
    "test_streams_opened_and_ended_without_end": _named(
        "streams without end: ", test_gateways.RAPID, "each is answered or reset; the connection stays"
    ),
    "test_many_connections_flood_at_once": _one("30 connections that flood at once", _TURNS),
    "test_what_breaks_the_protocol_loses_its_connection_and_is_told": _faults,
    "test_garbage_behind_a_greeting_loses_the_connection": _one(
        "40 KB of garbage", "GOAWAY with its cause, and closed"
    ),
    "test_http_1_is_told_what_this_port_speaks": _one("HTTP/1.1", "“speaks HTTP/2 without an upgrade”, and closed"),
    "test_what_is_no_exchange_ends_its_stream_and_says_why": _ends,
    "test_streams_beyond_the_limit_are_refused_and_the_others_go_on": _one(
        "1,500 streams on a connection", "500 are reset with REFUSED_STREAM"
    ),
    "test_no_byte_now_and_then_keeps_a_connection": _named(
        "a byte now and then: ", test_gateways.DRIPS, "closed after 10 s (`unfinished_frame`, `silent_connection`)"
    ),
    "test_connections_that_say_nothing_keep_no_gateway_out": _one(
        "300 silent connections", "the oldest beyond 128 are closed (`new_connections`)"
    ),
    "test_one_address_has_its_share_of_connections_and_idle_ones_go_first": _one(
        "400 idle connections of one address", "the idle ones beyond 256 are closed (`peer_connections`)"
    ),
    "test_a_body_that_stops_is_answered_408": _one("a body that stops, except for a byte now and then", "408"),
    "test_forty_bodies_of_thirty_megabytes": _one("40 bodies of 30 MiB at once", "served in turn, 503 or 408"),
    "test_bodies_that_stop_on_many_streams_are_bounded_together": _one(
        "2,000 bodies that stop on 20 connections", "bounded together (`picker.max_buffered_bytes`)"
    ),
    "test_answers_that_are_not_read_are_bounded_together": _one(
        "20 answers of 4 MiB behind windows of 0", "streams are reset (`unread_answers`)"
    ),
    "test_a_gateway_that_reads_nothing_is_let_go": _one(
        "an answer that the gateway never reads from its socket", "closed (`unread_answers`)"
    ),
    "test_handshakes_that_never_end_keep_no_gateway_out": _one(
        "200 TLS handshakes that never end", "the oldest beyond 128 are closed"
    ),
}

_USERS: Mapping[str, Callable[[], Iterator[Row]]] = {
    "test_whatever_one_connection_says_has_its_answer": _said,
    "test_unfinished_heads_hold_a_bounded_memory": _one(
        "40 unfinished heads of half a MiB", "the largest are closed (`unread_limit`)"
    ),
    "test_headers_without_an_end_are_cut_off": _one("headers without an end", "closed"),
    "test_many_heads_that_drip_let_others_through": _one("100 heads a byte at a time", "others are served"),
    "test_a_body_without_an_end_ends_with_its_connection": _one("a body without an end", "200, and closed"),
    "test_requests_sent_ahead_are_answered_in_turn_and_not_hoarded": _one(
        "20,000 requests sent ahead", "answered in turn; at most 32 are read ahead"
    ),
    "test_answers_that_nobody_reads_hold_a_bounded_memory": _one(
        "16,000 answers that are not read", "memory stays bounded"
    ),
    "test_answers_read_a_byte_at_a_time_keep_nobody_waiting": _one(
        "answers read a byte at a time", "others are served"
    ),
    "test_connections_without_a_handshake_leave_room": _one(
        "300 connections without a TLS handshake", "the oldest beyond 128 are closed (`connection_limit`)"
    ),
    "test_many_idle_connections_leave_room": _one(
        "160 idle connections without a certificate", "the oldest beyond 128 are closed (`connection_limit`)"
    ),
    "test_connections_that_come_and_go_at_once_leave_nothing": _one(
        "160 connections closed at once", "no connection is left"
    ),
    "test_nobody_shakes_hands_again_and_again_on_one_connection": _one("a TLS renegotiation", "“no renegotiation”"),
    "test_only_tls_of_today_is_spoken": _one("TLS 1.1", "no handshake"),
    "test_what_limits_did_is_said_once_a_cause": _nothing,
}

_FILES: Mapping[str, Callable[[], Iterator[Row]]] = {
    "test_a_hostile_file_is_refused_with_its_place_and_the_last_good_state_stays": _content,
    "test_what_is_no_file_is_refused_without_waiting_for_it": _places,
    "test_a_file_that_never_rests_is_read_when_it_does": _one(
        "a file that is written every 2 ms", "read once two reads agree; 40 lines in the log at most"
    ),
    "test_files_renamed_over_it_all_the_time_leave_no_descriptor": _one(
        "400 files renamed over the file", "no file descriptor is left open"
    ),
    "test_a_hostile_picker_configuration_leaves_the_one_before_in_force": _pickers,
    "test_after_all_of_it_a_good_change_is_followed": _nothing,
}

_OBJECTS: Mapping[str, Callable[[], Iterator[Row]]] = {
    "test_large_and_strange_objects_take_nobody_with_them": lambda: iter(
        [
            ("200 pods of 250 KB", "read in pages, in quarters where they are too large"),
            ("pods without containers, address or time, with 3,000 ports", "left out, or read as far as possible"),
            ("an autoscaler of 5,000 metrics, again and again in new versions", "100 are read, 3 lines in the log"),
            ("a selector of 20,000 labels", "refused; the last good version stays in force"),
        ]
    )
}

_PAGES: Mapping[str, Callable[[], Iterator[Row]]] = {
    "test_a_page_harms_its_own_endpoint_at_most": _pages,
    "test_an_answer_that_is_no_page_is_a_failure_with_its_cause": _answers,
}


def _queried() -> Iterator[Row]:
    for name, (_, cause) in test_peers.PROMETHEUS.items():
        said = "its values are unknown" + (f": “{cause}”" if cause else "")
        yield f"Prometheus: {name}", said


def _calls() -> Iterator[Row]:
    for name, (_, codes) in test_peers.CALLS.items():
        yield f"KEDA: {name}", " or ".join(codes.split("|"))


_PEERS: Mapping[str, Callable[[], Iterator[Row]]] = {
    "test_a_prometheus_harms_its_own_values_at_most": _queried,
    "test_a_server_of_health_harms_nothing": _named(
        "gRPC health: ", [*test_peers.HEALTH, "no answer"], "what it says is unknown; the endpoint stays as it was"
    ),
    "test_streams_of_keda_are_bounded_and_wait_for_nothing": _one(
        "KEDA: 2,500 streams of one address", "those beyond `keda.max_peer_streams` end with RESOURCE_EXHAUSTED"
    ),
    "test_calls_of_keda_that_cannot_be_read_are_refused": _calls,
    "test_connections_that_say_nothing_leave_keda_room": _one("KEDA: 300 silent connections", "others are served"),
}

TESTS: Mapping[str, tuple[ModuleType, Mapping[str, Callable[[], Iterator[Row]]]]] = {
    "metrics pages": (test_pages, _PAGES),
    "clients": (test_clients, _CLIENTS),
    "gateways": (test_gateways, _GATEWAYS),
    "users of the API": (test_api_users, _USERS),
    "discovery files": (test_discovery_files, _FILES),
    "objects of a cluster": (test_cluster_objects, _OBJECTS),
    "peers beside": (test_peers, _PEERS),
}
"""By surface: its module of tests, and what each test there sends."""


def inputs(surface: str) -> list[Row]:
    """What is sent on a surface."""
    _, tests = TESTS[surface]
    return [row for rows in tests.values() for row in rows()]


def table() -> str:
    """The whole table."""
    rows = (f"| {surface} | {name} | {answer} |" for surface in TESTS for name, answer in inputs(surface))
    return "\n".join((*HEAD, *rows))


def renewed(page: str) -> str:
    """The page with the table as it is now; it ends its section."""
    before, heading, rest = page.partition(HEADING)
    if not heading:
        raise ValueError(f"{PAGE.name} has no section {HEADING.strip()}")
    words, _, following = rest.partition("\n## ")
    own = words.partition(HEAD[0])[0]
    return f"{before}{heading}{own}{table()}\n" + (f"\n## {following}" if following else "")


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
