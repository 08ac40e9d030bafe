"""How one message gets to one place: a CloudEvents webhook, or anything that the library apprise knows."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import aiohttp
from cloudevents.core.bindings.http import to_structured_event
from cloudevents.core.v1.event import CloudEvent

from weir.api.base import seconds
from weir.notify.alerts import Alert, Kind, Severity, moment
from weir.notify.config import ConfigError, Target
from weir.notify.templates import Templates, Text

if TYPE_CHECKING:
    from apprise import Apprise

T = TypeVar("T")

_REFUSED = frozenset({400, 405, 406, 410, 411, 413, 414, 415, 422, 431, 501})
"""Answers that mean the message itself is not wanted; all others may change when somebody mends the receiver."""

_TYPES = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.ERROR: "failure"}
_STATUS = re.compile(r"error=([0-9]{3})\b")


class Undelivered(Exception):
    """The message did not arrive, or nobody said so; it may be tried again. The text holds no secret."""

    def __init__(self, why: str, retry_after: float = 0.0) -> None:
        """``retry_after``: seconds that the receiver asks to wait."""
        super().__init__(why)
        self.retry_after = retry_after


class Refused(Exception):
    """The receiver does not want this message, now or ever. The text holds no secret."""


@dataclass(frozen=True)
class Message:
    """One or several alerts that go out together; ``dropped`` alerts before them had to be left out."""

    alerts: tuple[Alert, ...]
    dropped: int = 0

    @property
    def id(self) -> str:
        """The alert's, or one that follows from all of theirs."""
        if len(self.alerts) == 1:
            return self.alerts[0].id
        return sha256("\n".join(alert.id for alert in self.alerts).encode()).hexdigest()[:32]

    @property
    def severity(self) -> Severity:
        """The worst of all."""
        return max((alert.severity for alert in self.alerts), key=lambda s: s.rank)


class Sender(Protocol):
    """A way to one destination."""

    most: int
    """Alerts that one message may hold."""

    async def send(self, message: Message) -> None:
        """Returns once the receiver has it. Raises Undelivered or Refused."""
        ...


class WebhookSender:
    """Posts CloudEvents in the structured JSON mode. Redirects are not followed."""

    most = 50  # each in full; what receivers take is often limited to a megabyte

    def __init__(self, target: Target, session: aiohttp.ClientSession, cluster: str) -> None:
        self._url, self._session, self._cluster = target.url, session, cluster
        self._headers = dict(target.headers)
        self._timeout = aiohttp.ClientTimeout(total=seconds(target.destination.timeout))

    async def send(self, message: Message) -> None:
        """Any 2xx is taken for a receipt."""
        made = to_structured_event(event(message, self._cluster))
        headers = {**self._headers, **made.headers}
        try:
            async with self._session.post(
                self._url, data=made.body, headers=headers, timeout=self._timeout, allow_redirects=False
            ) as answer:
                status, after = answer.status, answer.headers.get("Retry-After", "")
        except TimeoutError:
            raise Undelivered("no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The error's text holds the URL.
            raise Undelivered(f"no connection ({type(error).__name__})") from None
        if 200 <= status < 300:
            return
        if status in _REFUSED:
            raise Refused(f"answered {status}")
        raise Undelivered(f"answered {status}", float(after) if after.isascii() and after.isdecimal() else 0.0)


_FAMILIES: Mapping[Kind, str] = MappingProxyType(
    {Kind.STALLED: "rollout", Kind.AGENT_ACTS: "agents", Kind.AGENTS_STOPPED: "agents"}
)
"""First word of an event's type, where it is not about a release."""


def event(message: Message, cluster: str) -> CloudEvent:
    """The message as a CloudEvent; several alerts become one event that holds the data of each."""
    if len(message.alerts) == 1 and not message.dropped:
        alert = message.alerts[0]
        subject, when = alert.subject, alert.at
        kind = _FAMILIES.get(alert.kind, "release") + "." + alert.kind.lower()
        plural = "agentpolicies" if alert.kind is Kind.AGENTS_STOPPED else "rollouts"
        source, data = f"/namespaces/{subject.namespace}/{plural}/{subject.name}", _data(alert, cluster)
        about = subject.name if "release" not in alert.facts else f"{subject.name}/{alert.facts['release']}"
    else:
        kind, source, about = "notifications.summary", "/weir", "summary"
        when = max(alert.at for alert in message.alerts)
        each = [_data(alert, cluster) for alert in message.alerts]
        data = {"cluster": cluster, "severity": str(message.severity), "dropped": message.dropped, "alerts": each}
    attributes = {
        "id": message.id,
        "source": source,
        "type": f"dev.weir.{kind}",
        "subject": about,
        "time": datetime.fromtimestamp(when, UTC),
        "datacontenttype": "application/json",
    }
    return CloudEvent(attributes, data)


def _data(alert: Alert, cluster: str) -> dict[str, Any]:
    return {
        "id": alert.id,
        "kind": str(alert.kind),
        "severity": str(alert.severity),
        "cluster": cluster,
        "namespace": alert.subject.namespace,
        "rollout": alert.subject.name,
        "uid": alert.subject.uid,
        "at": moment(alert.at),
        "title": alert.title,
        "text": alert.text,
        "facts": dict(alert.facts),
    }


class AppriseSender:
    """Slack, e-mail and the rest, each in a thread of its own: their clients block."""

    most = 1000  # by their titles

    def __init__(self, target: Target, templates: Templates) -> None:
        """Raises ConfigError where apprise does not know the URL."""
        self._timeout, self._templates = seconds(target.destination.timeout), templates
        self._service = _service(target)
        self._running: tuple[str, asyncio.Future[str | None]] | None = None

    async def send(self, message: Message) -> None:
        """Waits for the thread. One that hangs is waited for again: there is never more than one."""
        if self._running is not None:
            began, running = self._running
            failure = await self._result(running)
            self._running = None
            if began == message.id:
                _judge(failure)
                return
        future = in_thread(lambda: self._send(message))
        self._running = (message.id, future)
        failure = await self._result(future)
        self._running = None
        _judge(failure)

    async def _result(self, running: asyncio.Future[str | None]) -> str | None:
        try:
            return await asyncio.wait_for(asyncio.shield(running), self._timeout)
        except TimeoutError:
            raise Undelivered("no answer in time") from None

    def _send(self, message: Message) -> str | None:
        """Why it failed, None if it did not. In a thread; templates as well, since they are the user's."""
        text = self._templates.render(message.alerts, message.dropped)
        return self._notify(text, message.severity)

    def _notify(self, text: Text, severity: Severity) -> str | None:
        result = self._service.notify(
            title=text.title, body=text.body, notify_type=_TYPES[severity], body_format="text"
        )
        if result:
            return None
        said = " ".join(entry.message for service in result for entry in service.logs())
        # The rest of what apprise says may hold what is secret.
        status = _STATUS.search(said)
        if status is not None:
            return f"answered {status.group(1)}"
        return "no connection" if "onnection error" in said else "not delivered"


def _judge(failure: str | None) -> None:
    if failure is not None:
        raise Undelivered(failure)


def _service(target: Target) -> Apprise:
    # Only here: it brings a hundred plugins along, which nobody needs who does not use them.
    from apprise import Apprise, AppriseAsset

    logger = logging.getLogger("apprise")
    # What it logs may hold URLs with tokens; results carry the same, and only their status is told.
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    asset = AppriseAsset(
        app_id="Weir",
        app_desc="Weir",
        app_url="",
        image_url_mask="",  # no pictures from elsewhere
        image_url_logo="",
        async_mode=False,  # in our thread, not in a pool that all share
        service_timeout=0,
        storage_mode="memory",
        http_redirects=False,
        pgp_autogen=False,
        pem_autogen=False,
        allow_templates=False,
        secure_logging=True,
    )
    service = Apprise(asset=asset)
    name = target.destination.name
    try:
        known = service.add(target.url) and len(service) == 1
    except Exception as error:  # a plugin may raise anything for a URL that it cannot use
        raise ConfigError(f"destination {name}: apprise cannot use its URL ({type(error).__name__})") from None
    if not known:
        raise ConfigError(f"destination {name}: apprise does not know this kind of URL, or something is missing in it")
    return service


def in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Runs it in a thread that the end of the process does not wait for; to be called in the event loop."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(lambda f: f.cancelled() or f.exception())  # nobody may be left to ask

    def finish(result: T | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as raised:  # handed to whoever waits
            error = raised
        try:
            loop.call_soon_threadsafe(finish, result, error)
        except RuntimeError:
            return  # the loop has ended meanwhile

    threading.Thread(target=run, name="weir-notify", daemon=True).start()
    return future


def sender_for(target: Target, session: aiohttp.ClientSession, templates: Templates, cluster: str) -> Sender:
    """The way to that destination. Raises ConfigError."""
    if target.destination.cloud_events is not None:
        return WebhookSender(target, session, cluster)
    return AppriseSender(target, templates)
