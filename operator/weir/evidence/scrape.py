"""Reads the metrics pages of pods: bounded in size, time and concurrency, and only the lines that are needed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from weir.evidence.errors import DataError, PodTimeout, PodUnreachable
from weir.evidence.samples import Sample

MAX_PAGE = 5 * 1024 * 1024
MAX_LINES = 10_000
TIMEOUT = 2.0
_PROCESS = "process_start_time_seconds"
_IN_THREAD = 64 * 1024
_ACCEPT = "text/plain;version=0.0.4;q=0.9, application/openmetrics-text;version=1.0.0;q=0.5, */*;q=0.1"


@dataclass(frozen=True)
class Page:
    """The wanted part of a metrics page.

    ``families`` has an entry for each wanted metric that the page mentions, with or without samples. ``process`` tells
    one process from its successor; it is compared, never read as a time.
    """

    families: Mapping[str, tuple[Sample, ...]] = field(default_factory=dict)
    process: float | None = None


def parse_page(body: bytes, wanted: Collection[str]) -> Page:
    """The samples of the ``wanted`` metrics (by name of the sample, such as ``x_bucket``).

    Raises DataError for a page that is not in a Prometheus text format, and for one with too many series of a metric.
    """
    head = body[:512].lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DataError("the answer is an HTML page, not metrics; check port and path")
    families: dict[str, tuple[Sample, ...]] = {}
    for name in wanted:
        lines = _lines(body, name)
        if len(lines) > MAX_LINES:
            raise DataError(f"{len(lines)} series of {name}; at most {MAX_LINES} are read: drop labels")
        if lines or _mentioned(body, name):
            families[name] = _samples(lines)
    if not families and not _looks_like_metrics(body):
        raise DataError(f"the answer is not a metrics page; it begins with {body[:60]!r}")
    process = _samples(_lines(body, _PROCESS)[:2])
    return Page(families, process[0].value if len(process) == 1 else None)


def _lines(body: bytes, name: str) -> list[bytes]:
    return list(_starting(body, name.encode(), b" \t{"))


def _mentioned(body: bytes, name: str) -> bool:
    # OpenMetrics names a counter without its _total; every format names a histogram without _bucket.
    base = re.sub(r"_(total|bucket)$", "", name)
    starts = [f"# {word} {metric}".encode() for word in ("TYPE", "HELP") for metric in {base, name}]
    return any(next(_starting(body, start, b" \t\r\n"), None) is not None for start in starts)


def _starting(body: bytes, start: bytes, then: bytes) -> Iterator[bytes]:
    """Lines that begin with ``start`` and one byte of ``then``; much cheaper than looking at every line of a page."""
    at = 0 if body.startswith(start) else body.find(b"\n" + start) + 1 or -1
    while at >= 0:
        end = body.find(b"\n", at)
        line = body[at:] if end < 0 else body[at:end]
        if (line + b"\n")[len(start)] in then:
            yield line
        at = -1 if end < 0 else body.find(b"\n" + start, end) + 1 or -1


def _looks_like_metrics(body: bytes) -> bool:
    line = next((ln for ln in body[:4096].splitlines() if ln.strip()), b"")
    return (
        not line or re.match(rb"#( |$)|[a-zA-Z_:][\w:]*(\{.*\})?[ \t]+[-+]?[0-9NI]|\{\"[^\"]+\"[,}]", line) is not None
    )


def _samples(lines: list[bytes]) -> tuple[Sample, ...]:
    try:
        text = b"\n".join(lines).decode()
        families = text_string_to_metric_families(text)
        return tuple(Sample(s.labels, float(s.value)) for family in families for s in family.samples)
    except (ValueError, IndexError) as error:
        raise DataError(f"the metrics page cannot be read: {error or 'a line is garbled'}"[:300]) from error


class Scraper:
    """Reads pages over HTTP; at most ``concurrency`` at once. Close it when done."""

    def __init__(self, *, concurrency: int = 32, timeout: float = TIMEOUT, max_page: int = MAX_PAGE) -> None:
        self._slots = asyncio.Semaphore(concurrency)
        self._timeout = timeout
        self._max_page = max_page
        self._session: aiohttp.ClientSession | None = None

    async def read(self, url: str, wanted: Collection[str]) -> Page:
        """The wanted samples of the page at ``url``.

        Raises PodTimeout, PodUnreachable (no connection, HTTP error) or DataError (too large, HTML, garbage).
        """
        async with self._slots:
            body = await self._fetch(url)
            if len(body) < _IN_THREAD:
                return parse_page(body, wanted)
            return await asyncio.to_thread(parse_page, body, wanted)

    async def _fetch(self, url: str) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
                headers={"Accept": _ACCEPT, "User-Agent": "weir"},
            )
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise PodUnreachable(f"{url} answered HTTP {response.status}")
                return await self._body(url, response)
        except TimeoutError:
            raise PodTimeout(f"{url} did not answer within {self._timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise PodUnreachable(f"{url} cannot be read: {error or type(error).__name__}"[:300]) from error

    async def _body(self, url: str, response: aiohttp.ClientResponse) -> bytes:
        if response.content_type == "text/html":
            raise DataError(f"{url} is an HTML page, not metrics; check port and path")
        announced = response.content_length
        if announced is not None and announced > self._max_page:
            raise DataError(self._too_large(url, f"{announced / 1048576:.0f} MB"))
        body = bytearray()
        async for chunk in response.content.iter_chunked(65536):
            body += chunk
            if len(body) > self._max_page:
                raise DataError(self._too_large(url, f"more than {self._max_page / 1048576:g} MB"))
        return bytes(body)

    def _too_large(self, url: str, size: str) -> str:
        return f"the metrics page {url} has {size}; at most {self._max_page / 1048576:g} MB are read: drop labels"

    async def close(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
