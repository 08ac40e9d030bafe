"""Asks Prometheus servers: bounded in time and size, never twice the same question at once."""

from __future__ import annotations

import asyncio
import datetime
import io
import json
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import requests
from prometheus_api_client import PrometheusConnect
from requests.exceptions import JSONDecodeError, RequestException, Timeout
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.util.retry import Retry

from weir.evidence.errors import PrometheusBadAnswer, PrometheusTimeout, PrometheusUnreachable, ReadError
from weir.evidence.samples import Sample

MAX_ANSWER = 32 * 1024 * 1024
_CHUNK = 65536


T = TypeVar("T")


@dataclass(frozen=True)
class Span:
    """Time from ``start`` to ``end`` (seconds since the epoch) in steps of so many seconds."""

    start: float
    end: float
    step: float


@dataclass(frozen=True)
class Track:
    """One series over time: (seconds since the epoch, value)."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


class Prometheus:
    """Queries to any number of servers, in a few threads of their own. Close it when done."""

    def __init__(self, *, workers: int = 4, max_answer: int = MAX_ANSWER) -> None:
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="prometheus")
        self._local = threading.local()
        self._max_answer = max_answer
        self._asking: set[Hashable] = set()

    async def query(
        self, address: str, query: str, *, within: float, key: Hashable | None = None
    ) -> tuple[Sample, ...]:
        """Samples that the query yields now; a scalar is one sample without labels.

        ``key`` names the question: while one with the same key is unanswered, no other is sent (PrometheusTimeout).
        ``within`` is in seconds, for one attempt; a refused connection or a 5xx is tried three times.
        Raises PrometheusUnreachable, PrometheusTimeout or PrometheusBadAnswer.
        """
        asked = (address, query) if key is None else (address, key)
        return await self._answer(address, asked, within, _samples, lambda connection: connection.custom_query(query))

    async def query_raw(
        self, address: str, query: str, *, within: float, key: Hashable | None = None
    ) -> tuple[Track, ...]:
        """Samples as they were scraped, of a query that is a range of a selector; raises as ``query`` does."""
        asked = (address, query) if key is None else (address, key)
        return await self._answer(address, asked, within, _tracks, lambda connection: connection.custom_query(query))

    async def query_range(
        self, address: str, query: str, span: Span, *, within: float, key: Hashable | None = None
    ) -> tuple[Track, ...]:
        """What the query yielded at every step of the span, by series; raises as ``query`` does."""
        asked = (address, query) if key is None else (address, key)
        start, end = (datetime.datetime.fromtimestamp(t, datetime.UTC) for t in (span.start, span.end))

        def ask(connection: PrometheusConnect) -> object:
            return connection.custom_query_range(query, start, end, f"{span.step:g}")

        return await self._answer(address, asked, within, _tracks, ask)

    async def _answer(
        self,
        address: str,
        key: Hashable,
        within: float,
        parse: Callable[[str, object], T],
        ask: Callable[[PrometheusConnect], object],
    ) -> T:
        if key in self._asking:
            raise PrometheusTimeout(f"Prometheus {address} has not answered the previous query yet")
        self._asking.add(key)
        future = self._executor.submit(lambda: parse(address, self._ask(address, within, ask)))
        future.add_done_callback(lambda _: self._asking.discard(key))
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), 3 * within + 2)
        except TimeoutError:
            raise PrometheusTimeout(f"Prometheus {address} did not answer within {within:g} s") from None

    def _ask(self, address: str, timeout: float, ask: Callable[[PrometheusConnect], object]) -> object:
        try:
            return ask(self._connection(address, timeout))
        except ReadError:
            raise
        except (Timeout, ReadTimeoutError):
            raise PrometheusTimeout(f"Prometheus {address} did not answer within {timeout:g} s") from None
        except JSONDecodeError as error:
            raise PrometheusBadAnswer(f"{address} does not answer as a Prometheus does: no JSON ({error})") from error
        except (RequestException, HTTPError) as error:
            raise PrometheusUnreachable(f"Prometheus {address} cannot be reached: {_cause(error)}") from error
        except Exception as error:
            raise PrometheusBadAnswer(f"{address} does not answer as a Prometheus does: {error!r}"[:300]) from error

    def _connection(self, address: str, timeout: float) -> PrometheusConnect:
        known: dict[tuple[str, float], PrometheusConnect] = self._local.__dict__.setdefault("known", {})
        connection = known.get((address, timeout))
        if connection is None:
            # A slow answer is not asked for again: the next evaluation does that.
            retry = Retry(
                total=2,
                read=False,
                status_forcelist=(429, 502, 503, 504),
                backoff_factor=0.2,
                raise_on_status=False,
            )
            session = _BoundedSession(address, timeout, self._max_answer)
            connection = PrometheusConnect(url=address.rstrip("/"), retry=retry, session=session, timeout=timeout)
            known[address, timeout] = connection
        return connection

    def close(self) -> None:
        """Ask no more; questions on their way end by themselves within their timeout."""
        self._executor.shutdown(wait=False, cancel_futures=True)


class _BoundedSession(requests.Session):
    """Reads an answer within a total time and size, and refuses what no Prometheus would say."""

    def __init__(self, address: str, seconds: float, max_answer: int) -> None:
        super().__init__()
        self._address = address
        self._seconds = seconds
        self._max_answer = max_answer

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send, and read the whole answer before returning it."""
        deadline = time.monotonic() + self._seconds
        # A redirect leads to a login page far more often than to a Prometheus; the error names where it leads.
        kwargs.update(stream=True, allow_redirects=False)
        response = super().send(request, **kwargs)
        with response:
            body = self._body(response, deadline)
        # The library's own error for a bad status or an HTML page shows raw bytes; say it in words instead.
        kind = response.headers.get("Content-Type", "").split(";")[0].strip()
        if kind == "text/html" or body[:64].lstrip().lower().startswith((b"<!doctype", b"<html")):
            raise PrometheusBadAnswer(
                f"{self._address} answered with an HTML page (HTTP {response.status_code}), not as a Prometheus does;"
                " check the address, and whether a login or a path prefix is in the way"
            )
        if response.status_code != 200:
            raise _refusal(self._address, response.status_code, body, response.headers.get("Location"))
        return _with_content(response, body)

    def _body(self, response: requests.Response, deadline: float) -> bytes:
        body = bytearray()
        # One byte at least has arrived within the socket's timeout; the deadline stops an answer that only trickles.
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > self._max_answer:
                limit = self._max_answer / 1048576
                raise PrometheusBadAnswer(f"the answer of {self._address} is larger than {limit:g} MB")
            if time.monotonic() > deadline:
                raise PrometheusTimeout(f"Prometheus {self._address} did not answer within {self._seconds:g} s")
        return bytes(body)


def _with_content(response: requests.Response, body: bytes) -> requests.Response:
    whole = requests.Response()
    whole.status_code, whole.headers, whole.url = response.status_code, response.headers, response.url
    whole.request, whole.encoding = response.request, "utf-8"
    whole.raw = io.BytesIO(body)
    return whole


def _refusal(address: str, status: int, body: bytes, location: str | None) -> ReadError:
    if location:
        return PrometheusBadAnswer(f"{address} redirects (HTTP {status}) to {location[:200]}; give the final address")
    try:
        answer = json.loads(body)
        message = str(answer["error"])
    except (ValueError, KeyError, TypeError):
        if status in (502, 503, 504):
            return PrometheusUnreachable(f"Prometheus {address} cannot be reached: HTTP {status}")
        return PrometheusBadAnswer(f"{address} answered HTTP {status}; is it the address of a Prometheus?")
    if answer.get("errorType") == "timeout":
        return PrometheusTimeout(f"Prometheus {address} gave up the query: {message}"[:300])
    return PrometheusBadAnswer(f"Prometheus {address} refused the query: {message}"[:300])


def _cause(error: BaseException) -> str:
    """The innermost cause, in few words: the outer layers only repeat addresses of objects."""
    seen = error
    while True:
        inner = getattr(seen, "reason", None) or (seen.args[0] if seen.args else None)
        if not isinstance(inner, BaseException):
            break
        seen = inner
    text = str(seen)
    return text.rsplit(": ", 1)[-1][:200] if ": " in text else text[:200]


def _samples(address: str, result: object) -> tuple[Sample, ...]:
    try:
        if isinstance(result, list) and len(result) == 2 and isinstance(result[1], str):
            return (Sample({}, float(result[1])),)
        return tuple(
            Sample(row["metric"], float(row["value"][1]))
            for row in result  # type: ignore[attr-defined]
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise PrometheusBadAnswer(f"{address} answered with something that is no vector: {error!r}"[:300]) from error


def _tracks(address: str, result: object) -> tuple[Track, ...]:
    try:
        return tuple(
            Track(row["metric"], tuple((float(at), float(value)) for at, value in row["values"]))
            for row in result  # type: ignore[attr-defined]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise PrometheusBadAnswer(f"{address} answered with something that is no matrix: {error!r}"[:300]) from error
