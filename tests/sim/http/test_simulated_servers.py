"""Simulated servers over real HTTP: every path, and every fault."""

import asyncio
import contextlib
import json
import logging
import random
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import pytest
import uvloop
from aiohttp import ClientConnectorError, ClientError, web
from prometheus_client.parser import text_string_to_metric_families

from infscale.errors import StartError
from infscale.sim.http.simulated_servers import Fault, FaultKind, SimServer
from tests.sim.simulated import CHAT, MODEL, Client, quick_settings, running


async def stream(client: Client, path: str, body: Mapping[str, Any]) -> list[Any]:
    """The events of a streamed answer, parsed; the end mark as it is."""
    async with client.session.post(client.url + path, json={**body, "stream": True}) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        text = (await response.read()).decode()
    events = [block.removeprefix("data: ") for block in text.split("\n\n") if block]
    return [event if event == "[DONE]" else json.loads(event) for event in events]


def value(page: str, name: str, **labels: str) -> float:
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    raise AssertionError(f"{name} {labels} is not on the page")


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # the state watched is the server's own, nothing signals it
        await asyncio.sleep(0.001)


async def eventually(call: Callable[[], Awaitable[bool]]) -> None:
    while not await call():  # another process would have to ask again, too
        await asyncio.sleep(0.005)


async def test_a_chat_answer_has_the_asked_length_and_counts_tokens() -> None:
    async with running() as (_, [client]):
        status, answer = await client.post("/v1/chat/completions", CHAT)
    assert status == 200
    assert answer["model"] == MODEL
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": " the sun and sea"}
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 4
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + 4


async def test_a_streamed_chat_gives_role_tokens_reason_usage_and_end() -> None:
    async with running() as (_, [client]):
        body = {**CHAT, "stream_options": {"include_usage": True}}
        role, *tokens, last, usage, end = await stream(client, "/v1/chat/completions", body)
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [event["choices"][0]["delta"]["content"] for event in tokens] == [" the", " sun", " and", " sea"]
    assert last["choices"][0]["finish_reason"] == "length"
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 4
    assert end == "[DONE]"
    assert len({event["id"] for event in (role, *tokens, last, usage)}) == 1


async def test_usage_is_streamed_only_when_asked_for() -> None:
    async with running() as (_, [client]):
        events = await stream(client, "/v1/completions", {"model": MODEL, "prompt": "hi", "max_tokens": 2})
    assert [event["choices"][0]["text"] for event in events[:2]] == [" the", " sun"]
    assert not any("usage" in event for event in events[:-1])


async def test_headers_of_a_stream_come_before_its_first_token() -> None:
    slow = {"speed": 0.001}
    async with (
        running(quick_settings(engine=slow)) as (_, [client]),
        client.session.post(client.url + "/v1/chat/completions", json={**CHAT, "stream": True}) as response,
    ):
        assert response.status == 200
        assert client.server.running == 1
        assert "vllm:time_to_first_token_seconds_count" in (await client.get("/metrics"))[1]
        page = (await client.get("/metrics"))[1]
        assert value(page, "vllm:time_to_first_token_seconds_count") == 0


@pytest.mark.parametrize(
    ("more", "tokens", "reason"),
    [
        ({"max_tokens": None}, 128, "stop"),
        ({"max_tokens": None, "min_tokens": 200}, 200, "stop"),
        ({"max_tokens": 9, "max_completion_tokens": 3}, 3, "length"),
        ({"max_tokens": 5, "ignore_eos": True}, 5, "length"),
    ],
    ids=["default", "min_tokens", "max_completion_tokens", "ignore_eos"],
)
async def test_output_length(more: dict[str, Any], tokens: int, reason: str) -> None:
    async with running() as (_, [client]):
        _, answer = await client.post("/v1/chat/completions", {**CHAT, **more})
    assert answer["usage"]["completion_tokens"] == tokens
    assert answer["choices"][0]["finish_reason"] == reason


async def test_a_shared_prefix_is_served_from_the_cache_and_counted() -> None:
    text = "0123456789abcdef" * 40
    async with running() as (_, [client]):
        first, second = [
            (await client.post("/v1/completions", {"model": MODEL, "prompt": text + tail, "max_tokens": 1}))[1]["usage"]
            for tail in ("one tail", "another tail")
        ]
        page = (await client.get("/metrics"))[1]
    assert first["prompt_tokens"] == 162
    assert first["prompt_tokens_details"] == {"cached_tokens": 0}
    assert second["prompt_tokens_details"] == {"cached_tokens": 160}
    assert value(page, "vllm:prefix_cache_queries_total") == 162 + 163
    assert value(page, "vllm:prefix_cache_hits_total") == 160


async def test_a_lora_adapter_shares_no_prefix_with_its_base_model() -> None:
    async with running(quick_settings(loras=("tuned",))) as (_, [client]):
        cached: list[int] = []
        for model in (MODEL, "tuned", "tuned"):
            body = {"model": model, "prompt": list(range(64)), "max_tokens": 1}
            _, answer = await client.post("/v1/completions", body)
            assert answer["usage"]["prompt_tokens"] == 64
            cached.append(answer["usage"]["prompt_tokens_details"]["cached_tokens"])
    assert cached == [0, 0, 48]


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"{", 400, "not JSON"),
        (b"[]", 400, "not a JSON object"),
        ({"messages": []}, 400, "model"),
        ({"model": MODEL, "messages": []}, 400, "messages"),
        ({"model": MODEL, "messages": ["hi"]}, 400, "role"),
        ({**CHAT, "max_tokens": 0}, 400, "max_tokens"),
        ({**CHAT, "max_tokens": True}, 400, "max_tokens"),
        ({**CHAT, "n": 2}, 400, "one choice"),
        ({**CHAT, "max_tokens": 10**6}, 400, "maximum context length"),
        ({**CHAT, "model": "nobody"}, 404, "does not exist"),
    ],
    ids=["json", "object", "model", "empty", "role", "zero", "bool", "choices", "too long", "unknown model"],
)
async def test_bad_requests_get_an_openai_error(body: Any, status: int, word: str) -> None:
    async with running() as (_, [client]):
        got, answer = await client.post("/v1/chat/completions", body)
        assert (await client.get("/health"))[0] == 200
    assert got == status
    assert word in answer["error"]["message"]
    assert answer["error"]["code"] == status


@pytest.mark.parametrize("prompt", [["a", "b"], [-1], [1.5], {"a": 1}, None], ids=str)
async def test_a_prompt_is_one_text_or_one_list_of_token_ids(prompt: Any) -> None:
    async with running() as (_, [client]):
        status, answer = await client.post("/v1/completions", {"model": MODEL, "prompt": prompt})
    assert status == 400
    assert answer["error"]["param"] == "prompt"


async def test_unknown_paths_and_methods_are_named() -> None:
    async with running() as (_, [client]):
        assert (await client.get("/nothing"))[0] == 404
        assert (await client.get("/v1/chat/completions"))[0] == 405


async def test_a_full_queue_is_refused_with_429() -> None:
    async with running(quick_settings(engine={"max_waiting": 0})) as (_, [client]):
        status, answer = await client.post("/v1/chat/completions", CHAT)
        page = (await client.get("/metrics"))[1]
    assert status == 429
    assert answer["error"]["type"] == "TooManyRequests"
    assert value(page, "vllm:admission_rejections_total") == 1


async def test_lora_adapters_are_loaded_listed_and_unloaded() -> None:
    async with running() as (_, [client]):
        order = {"lora_name": "tuned", "lora_path": "some/where"}
        assert (await client.post("/v1/load_lora_adapter", order))[0] == 200
        assert (await client.post("/v1/load_lora_adapter", order))[0] == 400
        models = json.loads((await client.get("/v1/models"))[1])["data"]
        assert [(model["id"], model["parent"]) for model in models] == [(MODEL, None), ("tuned", MODEL)]
        assert (await client.post("/v1/chat/completions", {**CHAT, "model": "tuned"}))[0] == 200
        page = (await client.get("/metrics"))[1]
        assert "vllm:lora_requests_info" in page
        assert (await client.post("/v1/unload_lora_adapter", {"lora_name": "tuned"}))[0] == 200
        assert (await client.post("/v1/unload_lora_adapter", {"lora_name": "tuned"}))[0] == 404
        assert (await client.post("/v1/chat/completions", {**CHAT, "model": "tuned"}))[0] == 404


async def test_answers_say_who_gave_them() -> None:
    async with (
        running(quick_settings("pod-7", namespace="llm")) as (_, [client]),
        client.session.post(client.url + "/v1/chat/completions", json=dict(CHAT)) as response,
    ):
        assert response.headers["x-inference-pod"] == "pod-7"
        assert response.headers["x-inference-namespace"] == "llm"


async def test_the_metrics_page_counts_what_was_served() -> None:
    async with running() as (_, [client]):
        for _ in range(3):
            await client.post("/v1/chat/completions", CHAT)
        status, page = await client.get("/metrics")
        _, part = await client.get("/metrics?name[]=vllm:num_requests_waiting&name[]=vllm:num_requests_running")
    assert status == 200
    assert value(page, "vllm:request_success_total", finished_reason="length") == 3
    assert value(page, "vllm:generation_tokens_total") == 12
    assert value(page, "vllm:time_to_first_token_seconds_count") == 3
    assert value(page, "vllm:inter_token_latency_seconds_count") == 9
    assert value(page, "http_requests_total", handler="/v1/chat/completions", status="2xx") == 3
    assert {family.name for family in text_string_to_metric_families(part)} == {
        "vllm:num_requests_waiting",
        "vllm:num_requests_running",
    }


async def test_data_parallel_ranks_share_the_load() -> None:
    async with running(quick_settings(ranks=2, engine={"speed": 0.01})) as (_, [client]):
        await asyncio.gather(*(client.post("/v1/chat/completions", CHAT) for _ in range(4)))
        page = (await client.get("/metrics"))[1]
    for rank in ("0", "1"):
        assert value(page, "vllm:request_success_total", engine=rank, finished_reason="length") == 2


async def test_gpu_pages_are_served_beside_the_api_and_on_a_port_of_their_own() -> None:
    async with running(quick_settings("pod-1", dcgm_port=0)) as (_, [client]):
        _, beside = await client.get("/dcgm/metrics")
        async with client.session.get(f"http://127.0.0.1:{client.server.dcgm_port}/metrics") as response:
            apart = await response.text()
    for page in (beside, apart):
        assert value(page, "DCGM_FI_DEV_FB_USED", pod="pod-1", namespace="default") == 73_728


async def test_a_starting_server_is_not_healthy_and_has_no_metrics() -> None:
    async with running(quick_settings(engine={"startup_seconds": 0.1})) as (_, [client]):
        for path in ("/health", "/metrics", "/v1/models"):
            assert (await client.get(path))[0] == 503
        assert (await client.post("/v1/chat/completions", CHAT))[0] == 503
        assert value((await client.get("/dcgm/metrics"))[1], "DCGM_FI_DEV_FB_USED") < 73_728
        await until(lambda: client.server.replica.ready)
        assert (await client.get("/health"))[0] == 200
        assert (await client.post("/v1/chat/completions", CHAT))[0] == 200


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
async def test_a_client_that_goes_away_frees_its_place(streamed: bool) -> None:
    async with running(quick_settings(engine={"speed": 0.01})) as (_, [client]):
        body = {**CHAT, "max_tokens": 5000, "stream": streamed}
        task = asyncio.ensure_future(client.post("/v1/chat/completions", body))  # noqa: TID251 # cancelled below
        await until(lambda: client.server.running == 1)
        task.cancel()
        await until(lambda: client.server.running == 0)
        page = (await client.get("/metrics"))[1]
        assert value(page, "vllm:request_success_total", finished_reason="abort") == 1
        assert value(page, "vllm:kv_cache_usage_perc") == 0


# --- faults ----------------------------------------------------------------------------------------------------------


async def _leave_midway(rounds: int) -> int:
    """Clients that leave in the middle of their streams, again and again; the status of one that comes after them."""
    async with running() as (_, [client]):

        async def leave() -> None:
            async with client.session.post(
                client.url + "/v1/chat/completions", json={**CHAT, "max_tokens": 400, "stream": True}
            ) as response:
                await response.content.readline()
                response.close()

        async with asyncio.timeout(15):
            for _ in range(rounds):
                await asyncio.gather(*(leave() for _ in range(4)))
            status, _ = await client.post("/v1/chat/completions", CHAT)
        return status


def test_clients_that_leave_midway_stop_no_server_on_the_loop_that_the_command_runs_on() -> None:
    """uvloop's transports raise when one that is closed is written to; asyncio's do not."""
    assert uvloop.run(_leave_midway(40)) == 200


async def test_a_client_that_leaves_before_its_stream_begins_is_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """aiohttp raises where the client has just gone, and closes the connection by itself."""

    async def gone(*_: object) -> None:
        raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")

    async with running() as (_, [client]):
        with monkeypatch.context() as patch:
            patch.setattr(web.StreamResponse, "prepare", gone)
            with pytest.raises(ClientError):
                await client.post("/v1/chat/completions", {**CHAT, "stream": True})
        await until(lambda: client.server.running == 0)
        assert (await client.post("/v1/chat/completions", CHAT))[0] == 200
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR], caplog.text


async def test_frozen_metrics_stay_while_requests_are_served() -> None:
    async with running() as (_, [client]):
        await client.server.inject(Fault(FaultKind.FREEZE_METRICS))
        pages: list[str] = []
        for _ in range(2):
            pages.append((await client.get("/metrics"))[1])
            assert (await client.post("/v1/chat/completions", CHAT))[0] == 200
        assert pages[0] == pages[1]
        await client.server.clear(FaultKind.FREEZE_METRICS)
        assert value((await client.get("/metrics"))[1], "vllm:generation_tokens_total") == 8


async def test_a_refusing_server_takes_no_connection_until_it_is_restored() -> None:
    async with running() as (_, [client]):
        assert (await client.get("/health"))[0] == 200
        await client.server.inject(Fault(FaultKind.REFUSE))
        with pytest.raises(ClientConnectorError):
            await client.get("/health")
        await client.server.clear()
        assert (await client.get("/health"))[0] == 200


async def test_requests_under_way_end_while_a_server_refuses_new_ones() -> None:
    async with running(quick_settings(engine={"speed": 0.05})) as (_, [client]):
        async with asyncio.TaskGroup() as tasks:
            under_way = tasks.create_task(client.post("/v1/chat/completions", CHAT))
            await until(lambda: client.server.running == 1)
            await client.server.inject(Fault(FaultKind.REFUSE, seconds=0.3))
        assert under_way.result()[0] == 200
        await until(lambda: not client.server.replica.faults)
        assert (await client.get("/health"))[0] == 200


async def test_a_failing_server_answers_5xx_and_keeps_its_metrics() -> None:
    async with running() as (_, [client]):
        await client.server.inject(Fault(FaultKind.ERROR, status=503))
        assert (await client.post("/v1/chat/completions", CHAT))[0] == 503
        assert (await client.get("/metrics"))[0] == 200


async def test_a_fault_can_hit_a_share_of_the_requests() -> None:
    async with running() as (_, [client]):
        await client.server.inject(Fault(FaultKind.ERROR, ratio=0.5))
        statuses = [(await client.post("/v1/chat/completions", CHAT))[0] for _ in range(40)]
    assert 5 < statuses.count(500) < 35


async def test_a_hanging_server_accepts_and_never_answers() -> None:
    async with running() as (_, [client]):
        await client.server.inject(Fault(FaultKind.HANG))
        with pytest.raises(asyncio.TimeoutError):
            await client.session.get(client.url + "/health", timeout=aiohttp.ClientTimeout(total=0.1))
        hung = client.server.replica._hung  # pyright: ignore[reportPrivateUsage]
        await until(lambda: not hung)
        async with asyncio.TaskGroup() as tasks:
            hanging = tasks.create_task(_fails(client.post("/v1/chat/completions", CHAT)))
            await until(lambda: bool(hung))
            await client.server.clear()
        assert hanging.result()
        assert (await client.get("/health"))[0] == 200


async def _fails(call: Awaitable[object]) -> bool:
    try:
        await call
    except ClientError:
        return True
    return False


async def test_a_dying_stream_is_cut_after_some_tokens() -> None:
    async with running() as (_, [client]):
        await client.server.inject(Fault(FaultKind.DIE, after_tokens=3))
        got = bytearray()
        assert await _fails(_read_stream(client, got))
        assert got.count(b"data: ") == 3
        await until(lambda: client.server.running == 0)
        await client.server.clear()
        assert (await client.post("/v1/chat/completions", CHAT))[0] == 200


async def _read_stream(client: Client, into: bytearray) -> None:
    body = {"model": MODEL, "prompt": "hi", "max_tokens": 50, "stream": True}
    async with client.session.post(client.url + "/v1/completions", json=body) as response:
        async for chunk in response.content.iter_any():
            into += chunk


async def test_a_lying_server_says_it_is_idle() -> None:
    async with running(quick_settings(engine={"speed": 0.01})) as (_, [client]), asyncio.TaskGroup() as tasks:
        tasks.create_task(client.post("/v1/chat/completions", CHAT))
        await until(lambda: client.server.running == 1)
        assert value((await client.get("/metrics"))[1], "vllm:num_requests_running") == 1
        await client.server.inject(Fault(FaultKind.LIE))
        page = (await client.get("/metrics"))[1]
        assert client.server.running == 1
    assert value(page, "vllm:num_requests_running") == 0
    assert value(page, "vllm:kv_cache_usage_perc") == 0


async def test_a_restarted_server_loses_requests_and_counters() -> None:
    async with running(quick_settings(engine={"speed": 0.01})) as (_, [client]):
        await client.post("/v1/chat/completions", CHAT)
        async with asyncio.TaskGroup() as tasks:
            cut = tasks.create_task(_fails(client.post("/v1/chat/completions", {**CHAT, "max_tokens": 5000})))
            await until(lambda: client.server.running == 1)
            await client.server.inject(Fault(FaultKind.SLOW_START, seconds=0.1))
        assert cut.result()
        assert (await client.get("/health"))[0] == 503
        await until(lambda: client.server.replica.ready)
        assert value((await client.get("/metrics"))[1], "vllm:generation_tokens_total") == 0
        assert (await client.post("/v1/chat/completions", CHAT))[0] == 200


async def test_faults_are_ordered_over_http_for_any_server_of_the_process() -> None:
    async with running(quick_settings("a"), quick_settings("b")) as (_, [first, second]):
        status, answer = await first.post("/sim/faults", {"kind": "refuse", "endpoint": "b"})
        assert (status, answer) == (200, {"faults": []})
        with pytest.raises(ClientConnectorError):
            await second.get("/health")
        await first.post("/sim/faults", {"kind": "refuse", "endpoint": "b", "active": False})
        assert (await second.get("/health"))[0] == 200
        assert (await second.post("/sim/faults", {"kind": "hang"}))[1] == {"faults": ["hang"]}
        assert (await second.post("/sim/faults", {"kind": "none"}))[1] == {"faults": []}


@pytest.mark.parametrize(
    "order",
    [
        {"kind": "sing"},
        {},
        {"kind": "error", "status": 200},
        {"kind": "hang", "louder": 1},
        {"kind": "hang", "endpoint": "x"},
    ],
    ids=str,
)
async def test_unknown_faults_are_refused(order: dict[str, Any]) -> None:
    async with running() as (_, [client]):
        status, _ = await client.post("/sim/faults", order)
        assert status == 400
        assert not client.server.replica.faults


async def test_a_timed_fault_ends_by_itself() -> None:
    async with running() as (_, [client]):
        await client.server.inject(Fault(FaultKind.REFUSE, seconds=0.05))
        await eventually(lambda: _succeeds(client.get("/health")))
        assert not client.server.replica.faults


async def _succeeds(call: Awaitable[tuple[int, str]]) -> bool:
    try:
        return (await call)[0] == 200
    except ClientError:
        return False


# --- start and stop --------------------------------------------------------------------------------------------------


async def test_a_taken_port_is_said_plainly() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"sim-0 cannot listen on 127.0.0.1:{port}: the port is taken"):
            async with SimServer(quick_settings(port=port), random.Random(1), lambda: 0.0):
                pass


async def test_a_server_that_stops_lets_go_of_its_port_and_its_requests() -> None:
    async with running(quick_settings(engine={"speed": 0.01})) as (fleet, [client]):
        async with asyncio.TaskGroup() as tasks:
            cut = tasks.create_task(_fails(client.post("/v1/chat/completions", {**CHAT, "max_tokens": 5000})))
            await until(lambda: client.server.running == 1)
            await fleet.__aexit__(None, None, None)
        assert cut.result()
        with pytest.raises(ClientConnectorError):
            await client.get("/health")


async def test_the_discovery_document_names_where_the_servers_are() -> None:
    async with running(quick_settings("a", labels={"app": "llm"}), quick_settings("b")) as (fleet, _):
        first, second = fleet.discovery_document()["endpoints"]
        assert first == {
            "name": "a",
            "namespace": "default",
            "address": "127.0.0.1",
            "port": str(fleet.servers[0].port),
            "labels": {"app": "llm"},
        }
        assert second["name"] == "b"


def test_two_servers_have_two_names() -> None:
    from infscale.sim.http.simulated_servers import SimFleet

    with pytest.raises(ValueError, match="same name"):
        SimFleet([quick_settings("a"), quick_settings("a")], random.Random(1), lambda: 0.0)


@pytest.mark.parametrize("rounds", range(6))
async def test_a_connection_that_comes_as_a_server_stops_is_closed(rounds: int) -> None:
    """Whatever the loop has made of it by then."""
    server = SimServer(quick_settings(), random.Random(1), lambda: 0.0)
    async with server:
        client = socket.create_connection((server.settings.address, server.port))
        client.setblocking(False)
        for _ in range(rounds):
            await asyncio.sleep(0)
    try:
        async with asyncio.timeout(2):
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
    finally:
        client.close()
