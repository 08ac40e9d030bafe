"""Metrics pages as the world serves them: huge, slow, HTML, garbage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from weir.evidence.errors import DataError, PodTimeout, PodUnreachable
from weir.evidence.samples import Sample
from weir.evidence.scrape import Scraper, parse_page

NAME = "http_requests_total"
PAGE = b"""# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{code="200",path="/a b,c}"} 12.0
http_requests_total{code="500",path="x\\"y"} 3
http_requests_total_other 99
my_http_requests_total 98
process_start_time_seconds 1.7e+09
"""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers: list[TestServer] = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_get("/metrics", handler)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        return str(server.make_url("/metrics"))

    yield start
    for server in servers:
        await server.close()


@pytest.fixture
async def scraper() -> AsyncIterator[Scraper]:
    scraper = Scraper(timeout=20)
    yield scraper
    await scraper.close()


def answer(body: bytes, content_type: str = "text/plain", status: int = 200) -> Handler:
    async def handle(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=content_type, status=status)

    return handle


async def test_given_a_page_when_read_then_only_the_wanted_series_are_there(serve: Serve, scraper: Scraper) -> None:
    page = await scraper.read(await serve(answer(PAGE)), [NAME, "missing_bucket"])
    assert {s.labels["path"]: s.value for s in page.families[NAME]} == {"/a b,c}": 12.0, 'x"y': 3.0}
    assert "missing_bucket" not in page.families
    assert page.process == 1.7e9


def test_given_a_metric_without_samples_when_parsed_then_it_is_known_to_exist() -> None:
    assert parse_page(b"# TYPE http_requests_total counter\nup 1\n", [NAME]).families == {NAME: ()}
    assert parse_page(b"# TYPE http_requests counter\nup 1\n# EOF\n", [NAME]).families == {NAME: ()}
    assert parse_page(b"up 1\n", [NAME]).families == {}
    assert parse_page(b"", [NAME]).families == {}
    assert parse_page(b"http_requests_total 4", [NAME]).families == {NAME: (Sample({}, 4.0),)}
    assert parse_page(b"http_requests_total_more 4\nhttp_requests_total\t5", [NAME]).families == {
        NAME: (Sample({}, 5.0),)
    }


def test_given_openmetrics_with_exemplars_when_parsed_then_the_values_are_right() -> None:
    text = (
        b"# TYPE lat histogram\n"
        b'lat_bucket{le="0.25"} 8 # {trace_id="a b"} 0.2 1700000000.5\n'
        b'lat_bucket{le="+Inf"} 11.0 # {trace_id="x"} 0.67\n'
        b"lat_created 1.7e9\n# EOF\n"
    )
    page = parse_page(text, ["lat_bucket"])
    assert {s.labels["le"]: s.value for s in page.families["lat_bucket"]} == {"0.25": 8.0, "+Inf": 11.0}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "HTML page"),
        (b'{"status": "ok"}', "not a metrics page"),
        (b"\x00\x01\x02\xff" * 50, "not a metrics page"),
        (b'http_requests_total{code="200 12\n', "cannot be read"),
        (b"http_requests_total twelve\n", "cannot be read"),
        (b'http_requests_total{code="\xff"} 1\n', "cannot be read"),
    ],
)
def test_given_garbage_when_parsed_then_the_error_says_so(body: bytes, said: str) -> None:
    with pytest.raises(DataError, match=said):
        parse_page(body, [NAME])


def test_given_too_many_series_when_parsed_then_the_error_says_what_to_do() -> None:
    body = b"".join(b'http_requests_total{path="%d"} 1\n' % i for i in range(10_001))
    with pytest.raises(DataError, match="10001 series of http_requests_total; at most 10000 are read: drop labels"):
        parse_page(body, [NAME])


async def test_given_html_when_read_then_the_error_names_the_page(serve: Serve, scraper: Scraper) -> None:
    url = await serve(answer(b"hello", "text/html"))
    with pytest.raises(DataError, match="is an HTML page"):
        await scraper.read(url, [NAME])


async def test_given_a_page_of_50_mb_when_read_then_reading_stops_at_the_limit(serve: Serve, scraper: Scraper) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        for _ in range(800):
            await response.write(b"a_metric 1\n" * 5958)
            sent += 65538
        return response

    url = await serve(endless)
    with pytest.raises(DataError, match="has more than 5 MB; at most 5 MB are read"):
        await scraper.read(url, [NAME])
    assert sent < 25_000_000


async def test_given_an_announced_size_when_too_large_then_nothing_is_read(serve: Serve, scraper: Scraper) -> None:
    url = await serve(answer(b"x" * (50 * 1024 * 1024)))
    with pytest.raises(DataError, match="has 50 MB; at most 5 MB are read: drop labels"):
        await scraper.read(url, [NAME])


async def test_given_a_slow_page_when_read_then_the_error_names_the_limit(serve: Serve) -> None:
    scraper = Scraper(timeout=0.1)

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(PAGE)
        await asyncio.Event().wait()
        return response

    try:
        with pytest.raises(PodTimeout, match=r"did not answer within 0\.1 s"):
            await scraper.read(await serve(slow), [NAME])
    finally:
        await scraper.close()


async def test_given_errors_of_the_pod_when_read_then_it_is_unreachable(serve: Serve, scraper: Scraper) -> None:
    with pytest.raises(PodUnreachable, match="answered HTTP 503"):
        await scraper.read(await serve(answer(b"", status=503)), [NAME])
    with pytest.raises(PodUnreachable, match="cannot be read"):
        await scraper.read("http://127.0.0.1:1/metrics", [NAME])


async def test_given_many_reads_when_started_at_once_then_few_run_together(serve: Serve) -> None:
    scraper, running, most = Scraper(concurrency=3), 0, 0

    async def count(_: web.Request) -> web.StreamResponse:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return web.Response(body=PAGE)

    url = await serve(count)
    try:
        await asyncio.gather(*(scraper.read(url, [NAME]) for _ in range(20)))
    finally:
        await scraper.close()
    assert most <= 3
