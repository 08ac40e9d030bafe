import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.unit.workload.builders import version_spec
from weir.workload.warmup import PodAddress, Synthetic, WarmUpError, infer_request, warm_up

METADATA = {"name": "digits", "inputs": [{"name": "pixels", "datatype": "FP32", "shape": [-1, 4]}], "outputs": []}


@dataclass
class Model:
    """A model server that answers as told."""

    statuses: list[int] = field(default_factory=lambda: [200])
    metadata: Any = field(default_factory=lambda: METADATA)
    seen: list[tuple[str, str | None, Any]] = field(default_factory=list)

    async def infer(self, request: web.Request) -> web.Response:
        self.seen.append((request.path, request.headers.get("x-weir-warmup"), await request.json()))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.json_response({"error": "loading"}, status=status)

    async def describe(self, request: web.Request) -> web.Response:
        if self.metadata is None:
            raise web.HTTPNotFound
        return web.json_response(self.metadata)


@asynccontextmanager
async def running(model: Model) -> AsyncIterator[tuple[aiohttp.ClientSession, PodAddress]]:
    application = web.Application()
    application.router.add_get("/v2/models/digits", model.describe)
    application.router.add_post("/{path:.*}", model.infer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as session:
        yield session, PodAddress("a", "127.0.0.1", port)
    await runner.cleanup()


def clock_of(latencies: Iterator[float]) -> Any:
    """A clock by which the n-th request takes the n-th latency."""
    now, started = 0.0, False

    def read() -> float:
        nonlocal now, started
        if started:
            now += next(latencies)
        started = not started
        return now

    return read


def steady() -> Any:
    return clock_of(iter(lambda: 0.01, None))


async def test_given_a_model_with_metadata_when_warmed_then_zeros_of_its_shape_are_sent_with_the_header() -> None:
    model = Model()
    async with running(model) as (session, pod):
        result = await warm_up(session, [pod], version_spec(runtime={"warmup": {"requests": 8}}), steady())
    assert (result.ok, result.problem, result.requests) == (True, None, 8)
    assert result.p50 == pytest.approx(0.01)
    body = {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 4], "data": [0.0] * 4}]}
    assert model.seen == [("/v2/models/digits/infer", "true", body)] * 8


async def test_given_a_version_with_path_and_body_when_warmed_then_these_are_sent() -> None:
    model = Model(metadata=None)
    warmup = {"requests": 3, "path": "/predict", "body": '{"x": 1}'}
    async with running(model) as (session, pod):
        result = await warm_up(session, [pod], version_spec(runtime={"warmup": warmup, "protocol": "HTTP"}), steady())
    assert result.ok
    assert model.seen == [("/predict", "true", {"x": 1})] * 3


async def test_given_a_chat_model_when_warmed_then_one_token_is_asked_for() -> None:
    model = Model()
    content = version_spec(runtime={"protocol": "OpenAI", "warmup": {"requests": 1}, "modelName": "llm"})
    async with running(model) as (session, pod):
        assert (await warm_up(session, [pod], content, steady())).ok
    path, _, body = model.seen[0]
    assert (path, body["model"], body["max_tokens"]) == ("/v1/chat/completions", "llm", 1)


async def test_given_falling_latency_when_warmed_then_it_goes_on_until_it_settles() -> None:
    latencies = [1.0, 0.9, 0.8, 0.7, 0.1, 0.1, 0.6, 0.6, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    async with running(Model()) as (session, pod):
        content = version_spec(runtime={"warmup": {"requests": 8}})
        result = await warm_up(session, [pod], content, clock_of(iter(latencies)))
    assert result.ok
    assert 8 < result.requests <= 24


async def test_given_rising_latency_when_warmed_then_it_gives_up_after_three_times_as_many() -> None:
    async with running(Model()) as (session, pod):
        content = version_spec(runtime={"warmup": {"requests": 4}})
        result = await warm_up(session, [pod], content, clock_of(2.0**n for n in range(100)))
    assert not result.ok
    assert result.problem is not None
    assert (result.problem.reason, result.requests) == ("WarmUpNotSettled", 12)


async def test_given_fast_noise_when_warmed_then_milliseconds_do_not_matter() -> None:
    async with running(Model()) as (session, pod):
        content = version_spec(runtime={"warmup": {"requests": 8}})
        result = await warm_up(session, [pod], content, clock_of(0.001 * (n % 5 + 1) for n in range(100)))
    assert (result.ok, result.requests) == (True, 8)


async def test_given_one_bad_answer_when_warmed_then_the_pod_is_not_warm() -> None:
    async with running(Model(statuses=[200, 500])) as (session, pod):
        result = await warm_up(session, [pod], version_spec(), steady())
    assert result.problem is not None
    assert (result.ok, result.problem.reason, result.problem.terminal) == (False, "WarmUpFailed", False)
    assert "HTTP 500" in result.problem.message
    assert str(pod.port) not in result.problem.message


@pytest.mark.parametrize("metadata", [None, {"name": "digits", "inputs": []}, ["?"]])
async def test_given_no_usable_metadata_when_warmed_then_the_problem_tells_the_way_out(metadata: Any) -> None:
    async with running(Model(metadata=metadata)) as (session, pod):
        result = await warm_up(session, [pod], version_spec(), steady())
    assert result.problem is not None
    assert result.problem.reason == "WarmUpNoMetadata"
    assert "runtime.warmup.body" in result.problem.message


async def test_given_nobody_listens_when_warmed_then_it_fails_without_addresses() -> None:
    async with aiohttp.ClientSession() as session:
        content = version_spec(runtime={"warmup": {"body": "{}"}})
        result = await warm_up(session, [PodAddress("a", "127.0.0.1", 9)], content, steady())
    assert result.problem is not None
    assert "127.0.0.1" not in result.problem.message


async def test_given_nothing_to_send_when_warmed_then_it_is_warm_but_no_pods_never_is() -> None:
    async with aiohttp.ClientSession() as session:
        assert (await warm_up(session, [], version_spec(runtime={"warmup": {"requests": 0}}))).ok
        assert (await warm_up(session, [], version_spec(runtime={"protocol": "HTTP"}))).ok
        assert not (await warm_up(session, [], version_spec())).ok


@pytest.mark.parametrize(
    ("datatype", "value"), [("BYTES", ""), ("BOOL", False), ("INT64", 0), ("FP16", 0.0), ("BF16", 0.0), ("UINT8", 0)]
)
def test_given_a_datatype_when_zeros_are_made_then_they_fit_it(datatype: str, value: Any) -> None:
    made = infer_request({"inputs": [{"name": "x", "datatype": datatype, "shape": [-1, 2]}]})
    assert made["inputs"][0]["data"] == [value, value]
    assert json.dumps(made["inputs"][0]["data"][0]) == json.dumps(value)


def test_given_a_huge_input_when_zeros_are_made_then_it_is_refused() -> None:
    with pytest.raises(WarmUpError, match=r"set runtime\.warmup\.body"):
        infer_request({"inputs": [{"name": "x", "datatype": "FP32", "shape": [4096, 4096]}]})


async def test_given_a_preview_when_synthetic_traffic_runs_then_the_rate_holds_without_the_header() -> None:
    model, now, slept, done = Model(), 0.0, [], asyncio.Event()

    async def sleep(length: float) -> None:
        nonlocal now
        now += length
        slept.append(length)
        if len(model.seen) >= 6:
            done.set()
        await asyncio.sleep(0.001)

    async with running(model) as (session, pod):
        other = PodAddress("b", "localhost", pod.port)
        traffic = Synthetic(session, version_spec(), lambda: [pod, other], 10.0, lambda: now, sleep)
        traffic.start()
        traffic.start()
        await asyncio.wait_for(done.wait(), 10)
        await traffic.stop()
        count = len(model.seen)
        await asyncio.sleep(0)
        assert len(model.seen) == count
    assert {header for _, header, _ in model.seen} == {None}
    assert all(length == pytest.approx(0.1) for length in slept)
    assert traffic.sent >= 6
    assert traffic.failed == 0


async def test_given_no_pods_or_no_rate_when_synthetic_traffic_runs_then_nothing_is_sent() -> None:
    async with aiohttp.ClientSession() as session:
        idle = Synthetic(session, version_spec(), list, 0.0)
        idle.start()
        await idle.stop()
        turns, enough = 0, asyncio.Event()

        async def sleep(_length: float) -> None:
            nonlocal turns
            turns += 1
            if turns >= 3:
                enough.set()
            await asyncio.sleep(0)

        waiting = Synthetic(session, version_spec(), list, 5.0, sleep=sleep)
        waiting.start()
        await asyncio.wait_for(enough.wait(), 10)
        await waiting.stop()
        assert (idle.sent, waiting.sent) == (0, 0)
