"""A Prometheus that is down, slow, wrong, or not a Prometheus at all."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator

import pytest

from tests.unit.evidence.fake_prometheus import Answer, FakePrometheus, scalar, vector
from weir.evidence.errors import PrometheusBadAnswer, PrometheusTimeout, PrometheusUnreachable
from weir.evidence.prometheus import Prometheus
from weir.evidence.samples import Sample


@pytest.fixture
def fake() -> Iterator[FakePrometheus]:
    fake = FakePrometheus(lambda _: vector(({"pod": "a"}, "7")))
    yield fake
    fake.close()


@pytest.fixture
def prometheus() -> Iterator[Prometheus]:
    prometheus = Prometheus(max_answer=1024 * 1024)
    yield prometheus
    prometheus.close()


async def test_given_a_vector_and_a_scalar_when_asked_then_samples(
    fake: FakePrometheus, prometheus: Prometheus
) -> None:
    assert await prometheus.query(fake.address + "/", "up", within=2) == (Sample({"pod": "a"}, 7.0),)
    fake.respond = lambda _: scalar("NaN")
    (sample,) = await prometheus.query(fake.address, "x", within=2)
    assert sample.labels == {}
    assert sample.value != sample.value
    fake.respond = lambda _: vector()
    assert await prometheus.query(fake.address, "x", within=2) == ()
    assert fake.queries == ["up", "x", "x"]


async def test_given_nobody_there_when_asked_then_unreachable(prometheus: Prometheus) -> None:
    with pytest.raises(PrometheusUnreachable, match=r"Prometheus http://127.0.0.1:1 cannot be reached: .*refused"):
        await prometheus.query("http://127.0.0.1:1", "up", within=1)
    with pytest.raises(PrometheusUnreachable, match="cannot be reached"):
        await prometheus.query("http://prometheus.invalid:9090", "up", within=1)


def _error(status: int, kind: str, message: str) -> Answer:
    return status, "application/json", json.dumps({"status": "error", "errorType": kind, "error": message}).encode()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, "text/html; charset=utf-8", b"<html>Sign in</html>"), "HTML page .HTTP 200., not as a Prometheus"),
        ((200, "text/plain", b"<!DOCTYPE html>"), "HTML page"),
        ((404, "text/plain", b"404 page not found"), "answered HTTP 404; is it the address of a Prometheus?"),
        ((302, "text/plain", b""), "redirects .HTTP 302. to https://login.example.test/"),
        ((200, "application/json", b'{"status": "ok"}'), "does not answer as a Prometheus does"),
        ((200, "application/json", b"not json"), "does not answer as a Prometheus does"),
        ((200, "application/json", b"x" * 2_000_000), "larger than 1 MB"),
        (_error(400, "bad_data", "1:5: parse error: unclosed"), "refused the query: 1:5: parse error"),
        (_error(422, "execution", "many-to-many matching"), "refused the query: many-to-many"),
    ],
)
async def test_given_a_wrong_answer_when_asked_then_the_error_says_what_is_wrong(
    fake: FakePrometheus, prometheus: Prometheus, answer: Answer, said: str
) -> None:
    fake.respond = lambda _: answer
    with pytest.raises(PrometheusBadAnswer, match=said):
        await prometheus.query(fake.address, "up", within=2)
    assert len(fake.queries) == 1


async def test_given_a_503_when_asked_then_it_is_tried_again(fake: FakePrometheus, prometheus: Prometheus) -> None:
    answers = iter([(503, "text/plain", b"starting"), vector(({}, "1"))])
    fake.respond = lambda _: next(answers)
    assert await prometheus.query(fake.address, "up", within=2) == (Sample({}, 1.0),)
    fake.respond = lambda _: (503, "text/plain", b"down")
    with pytest.raises(PrometheusUnreachable, match="HTTP 503"):
        await prometheus.query(fake.address, "up", within=2)
    fake.respond = lambda _: _error(503, "timeout", "query timed out in expression evaluation")
    with pytest.raises(PrometheusTimeout, match="gave up the query: query timed out"):
        await prometheus.query(fake.address, "up", within=2)


async def test_given_a_slow_answer_when_asked_again_then_no_second_query_is_sent(
    fake: FakePrometheus, prometheus: Prometheus
) -> None:
    hold, asked = threading.Event(), threading.Event()

    def slow(_: str) -> Answer:
        asked.set()
        hold.wait(10)
        return vector()

    fake.respond = slow
    first = asyncio.create_task(prometheus.query(fake.address, "up", within=0.3))
    await asyncio.to_thread(asked.wait, 5)
    with pytest.raises(PrometheusTimeout, match="has not answered the previous query yet"):
        await prometheus.query(fake.address, "up", within=0.3)
    began = time.monotonic()
    with pytest.raises(PrometheusTimeout, match=r"did not answer within 0.3 s"):
        await first
    assert time.monotonic() - began < 2
    assert len(fake.queries) == 1
    hold.set()
    fake.respond = lambda _: vector()
    assert await prometheus.query(fake.address, "up", within=2) == ()
