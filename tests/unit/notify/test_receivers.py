"""Real receivers on the loopback interface: what arrives, and what happens when they misbehave."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiosmtpd.controller import Controller
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event

from tests.unit.notify.support import alert, destination, own_texts, service
from tests.unit.runtime.fakes import until
from weir.notify.alerts import Kind, Severity
from weir.notify.config import ConfigError, Target, Template
from weir.notify.destination import Courier
from weir.notify.metrics import NotifyMetrics
from weir.notify.sender import AppriseSender, Message, Refused, Undelivered, WebhookSender
from weir.notify.templates import Templates
from weir.runtime.clock import SystemClock
from weir.runtime.telemetry import _LIBRARY_LOGGERS

HOSTILE = "<!channel> <https://evil.example|click> *b* & {{ 7*7 }} <script>alert(1)</script>"


@dataclass
class Receiver:
    """A web server that notes what it gets."""

    status: int = 200
    hang: asyncio.Event | None = None
    headers: dict[str, str] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        self.seen.append(dict(request.headers))
        self.paths.append(request.path)
        if self.hang is not None:
            await self.hang.wait()
        # What Slack's webhooks say; others do not look.
        return web.Response(status=self.status, headers=self.headers, text="ok")

    @property
    def address(self) -> str:
        return self.url.removeprefix("http://")

    def body(self, number: int = 0) -> Any:
        return json.loads(self.bodies[number])


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    async with serve(made):
        yield made


class serve:  # noqa: N801 - reads as the verb it is
    """Runs a receiver; a server that hangs is not waited for."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", receiver.answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def __aenter__(self) -> Receiver:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._receiver.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self._receiver

    async def __aexit__(self, *_: object) -> None:
        if self._receiver.hang is not None:
            self._receiver.hang.set()
        await self._runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(trust_env=False) as made:
        yield made


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What reaches the operator's log, at the level that shows most."""
    found = list[str]()

    class Log(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # The receiver's own log is none of ours.
            if record.name != "aiohttp.access":
                found.append(record.getMessage())

    root, handler = logging.getLogger(), Log()
    levels = {name: logging.getLogger(name).level for name in ("", *_LIBRARY_LOGGERS)}
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for name in _LIBRARY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield found
    finally:
        root.removeHandler(handler)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def hook(receiver: Receiver, *headers: tuple[str, str], timeout: str = "5s") -> Target:
    return Target(destination(timeout=timeout), f"{receiver.url}/in", headers)


def one(**changes: Any) -> Message:
    return Message((alert(**changes),))


# CloudEvents


async def test_given_a_webhook_then_it_gets_a_cloudevent_that_any_reader_understands(
    receiver: Receiver, session: aiohttp.ClientSession
) -> None:
    sender = WebhookSender(hook(receiver, ("Authorization", "Bearer x")), session, "prod")

    await sender.send(one(kind=Kind.ROLLED_BACK, severity=Severity.ERROR))

    assert receiver.seen[0]["Content-Type"] == "application/cloudevents+json"
    assert receiver.seen[0]["Authorization"] == "Bearer x"
    event = from_structured_event(HTTPMessage({"content-type": "application/cloudevents+json"}, receiver.bodies[0]))
    assert event.get_type() == "dev.weir.release.rolledback"
    assert event.get_source() == "/namespaces/team/rollouts/demo"
    assert (event.get_id(), event.get_subject()) == ("id-0001", "demo/1")
    when = event.get_time()
    assert when is not None
    assert when.timestamp() == 1_800_000_000
    data = receiver.body()["data"]
    assert (data["kind"], data["severity"], data["cluster"], data["facts"]["version"]) == (
        "RolledBack",
        "Error",
        "prod",
        "v1",
    )


@pytest.mark.parametrize(
    ("kind", "type_", "source"),
    [
        (Kind.STALLED, "dev.weir.rollout.stalled", "/namespaces/team/rollouts/demo"),
        (Kind.AWAITING_APPROVAL, "dev.weir.release.awaitingapproval", "/namespaces/team/rollouts/demo"),
        (Kind.AGENT_ACTS, "dev.weir.agents.agentacts", "/namespaces/team/rollouts/demo"),
        (Kind.AGENTS_STOPPED, "dev.weir.agents.agentsstopped", "/namespaces/team/agentpolicies/demo"),
    ],
)
async def test_given_what_is_no_end_of_a_release_then_the_event_says_what_it_is_about(
    receiver: Receiver, session: aiohttp.ClientSession, kind: Kind, type_: str, source: str
) -> None:
    await WebhookSender(hook(receiver), session, "").send(one(kind=kind))
    assert (receiver.body()["type"], receiver.body()["source"]) == (type_, source)


async def test_given_several_alerts_then_the_event_holds_all_of_them(
    receiver: Receiver, session: aiohttp.ClientSession
) -> None:
    await WebhookSender(hook(receiver), session, "").send(Message((alert(1), alert(2)), dropped=3))

    event = receiver.body()
    assert (event["type"], event["source"]) == ("dev.weir.notifications.summary", "/weir")
    assert [a["id"] for a in event["data"]["alerts"]] == ["id-0001", "id-0002"]
    assert event["data"]["dropped"] == 3


def test_given_the_same_alerts_then_their_summary_has_the_same_id() -> None:
    assert Message((alert(1), alert(2))).id == Message((alert(1), alert(2))).id
    assert Message((alert(1), alert(2))).id != Message((alert(1), alert(3))).id


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_given_a_webhook_that_does_not_want_it_then_it_is_refused(
    receiver: Receiver, session: aiohttp.ClientSession, status: int
) -> None:
    receiver.status = status
    with pytest.raises(Refused, match=f"answered {status}"):
        await WebhookSender(hook(receiver), session, "").send(one())


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 503])
async def test_given_a_webhook_that_may_want_it_later_then_it_is_to_be_tried_again(
    receiver: Receiver, session: aiohttp.ClientSession, status: int
) -> None:
    receiver.status, receiver.headers = status, {"Retry-After": "7"}
    with pytest.raises(Undelivered, match=f"answered {status}") as caught:
        await WebhookSender(hook(receiver), session, "").send(one())
    assert caught.value.retry_after == 7.0


async def test_given_a_redirect_then_it_is_not_followed(receiver: Receiver, session: aiohttp.ClientSession) -> None:
    receiver.status, receiver.headers = 307, {"Location": f"{receiver.url}/elsewhere"}
    with pytest.raises(Undelivered, match="answered 307"):
        await WebhookSender(hook(receiver), session, "").send(one())
    assert receiver.paths == ["/in"]


async def test_given_nobody_there_then_the_url_is_not_in_the_error(session: aiohttp.ClientSession) -> None:
    with pytest.raises(Undelivered) as caught:
        await WebhookSender(Target(destination(), "http://127.0.0.1:9/T0KEN"), session, "").send(one())
    assert "no connection" in str(caught.value)
    assert "T0KEN" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


async def test_given_a_webhook_that_hangs_then_it_is_left_in_time(
    receiver: Receiver, session: aiohttp.ClientSession
) -> None:
    receiver.hang = asyncio.Event()
    with pytest.raises(Undelivered, match="no answer in time"):
        await WebhookSender(hook(receiver, timeout="1s"), session, "").send(one())


# Through apprise


def local(receiver: Receiver, path: str = "", **changes: Any) -> Target:
    return service(f"json://{receiver.address}/{path}", **changes)


async def test_given_any_service_then_title_text_and_severity_arrive(receiver: Receiver) -> None:
    await AppriseSender(local(receiver), Templates({}, "prod")).send(one(severity=Severity.ERROR))

    sent = receiver.body()
    assert sent["title"] == "[prod] team/demo: v1 was promoted"
    assert sent["message"] == "Release 1: v1 serves all traffic."
    assert sent["type"] == "failure"
    assert not sent.get("attachments")


async def test_given_slack_then_a_rollouts_text_is_neither_a_link_nor_a_mention(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apprise.plugins.slack import NotifySlack

    monkeypatch.setattr(NotifySlack, "webhook_url", f"{receiver.url}/services")
    sender = AppriseSender(service("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts"), Templates({}))

    await sender.send(one(title=HOSTILE, text=HOSTILE))

    assert receiver.paths == ["/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"]
    said = json.dumps(receiver.body(), ensure_ascii=False)
    assert "{{ 7*7 }}" in said
    assert "49" not in receiver.body()["attachments"][0]["text"]
    for active in ("<!channel>", "<https:", "<script>"):
        assert active not in said
    assert receiver.body()["mrkdwn"] is False


class Mailbox:
    """A mail server that notes what it gets."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 taken"


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield box, port
    finally:
        controller.stop()


async def test_given_a_mail_server_then_the_mail_arrives_and_text_stays_text(mailbox: tuple[Mailbox, int]) -> None:
    box, port = mailbox
    url = f"mailto://127.0.0.1:{port}?from=weir@example.com&to=oncall@example.com&mode=insecure"

    await AppriseSender(service(url), Templates({}, "prod")).send(
        one(title="v1\r\nBcc: spy@example.com", text=f"{HOSTILE}\nüñí")
    )

    (mail,) = box.mails
    assert mail["To"] == "oncall@example.com"
    assert mail["Bcc"] is None
    assert mail["Subject"] == "[prod] v1 Bcc: spy@example.com"
    html, plain = mail.get_body(("html",)), mail.get_body(("plain",))
    assert plain is not None
    assert "üñí" in plain.get_content()
    if html is not None:
        assert "<script>" not in html.get_content()
        assert "&lt;script&gt;" in html.get_content()


async def test_given_a_template_of_the_users_then_it_is_used(receiver: Receiver) -> None:
    texts = own_texts(Promoted=Template(title="{{ version }} is live", body="<!here> {{ facts.release }}"))

    await AppriseSender(local(receiver), texts).send(one())

    assert (receiver.body()["title"], receiver.body()["message"]) == ("v1 is live", "<!here> 1")


@pytest.mark.parametrize(("status", "said"), [(403, "answered 403"), (500, "answered 500")])
async def test_given_a_service_that_refuses_then_its_answer_is_told_and_no_secret(
    receiver: Receiver, logged: list[str], status: int, said: str
) -> None:
    receiver.status = status
    with pytest.raises(Undelivered, match=said) as caught:
        await AppriseSender(local(receiver, "T0KEN"), Templates({})).send(one())
    assert "T0KEN" not in "".join([str(caught.value), *logged])


async def test_given_nobody_at_a_service_then_that_is_told() -> None:
    with pytest.raises(Undelivered, match="no connection"):
        await AppriseSender(service("json://127.0.0.1:9/"), Templates({})).send(one())


@pytest.mark.parametrize("url", ["nosuch://T0KEN", "slack://T0KEN", "T0KEN", "json://", "mailto://"])
def test_given_a_url_that_apprise_cannot_use_then_that_is_said_without_it(url: str, logged: list[str]) -> None:
    with pytest.raises(ConfigError, match="destination chat: apprise") as caught:
        AppriseSender(service(url), Templates({}))
    assert "T0KEN" not in str(caught.value)
    assert "T0KEN" not in "".join(logged)


# Slow ones


async def test_given_a_service_that_hangs_then_one_thread_waits_for_it_and_it_is_not_told_twice(
    receiver: Receiver,
) -> None:
    receiver.hang = asyncio.Event()
    sender = AppriseSender(local(receiver, "?rto=30", timeout="1s"), Templates({}))
    for _ in range(2):
        with pytest.raises(Undelivered, match="no answer in time"):
            await sender.send(one())
    assert len(receiver.bodies) == 1
    assert sum(t.name == "weir-notify" for t in threading.enumerate()) == 1

    receiver.hang.set()
    await sender.send(one())  # the answer to the first attempt
    receiver.hang = None
    await sender.send(one(number=2))

    assert [b["message"] for b in map(json.loads, receiver.bodies)] == [
        "Release 1: v1 serves all traffic.",
        "Release 2: v2 serves all traffic.",
    ]


async def test_given_receivers_that_hang_then_neither_the_others_nor_the_loop_wait(
    receiver: Receiver, session: aiohttp.ClientSession
) -> None:
    stuck = Receiver(hang=asyncio.Event())
    async with serve(stuck):
        senders = {
            "stuck-hook": WebhookSender(hook(stuck, timeout="30s"), session, ""),
            "stuck-chat": AppriseSender(local(stuck, "?rto=30", timeout="30s"), Templates({})),
            "hook": WebhookSender(hook(receiver), session, ""),
            "chat": AppriseSender(local(receiver), Templates({})),
        }
        couriers = [
            Courier(
                Target(destination(name), "http://127.0.0.1:9/"),
                sender,
                lambda _name, _alerts: None,
                clock=SystemClock(),
                metrics=NotifyMetrics(),
            )
            for name, sender in senders.items()
        ]
        tasks = [asyncio.create_task(c.run()) for c in couriers]
        began, longest = time.monotonic(), 0.0
        for courier in couriers:
            for number in range(3):
                courier.offer(alert(number))
        offered = time.monotonic() - began
        while len(receiver.bodies) < 6:
            turn = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - turn)
            assert time.monotonic() - began < 10
        await until(lambda: len(stuck.bodies) == 2)
        await until(lambda: [len(c.pending) for c in couriers] == [3, 3, 0, 0])

        assert offered < 0.5
        # Far below what hangs, far above what a busy machine may take.
        assert longest < 2.0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_given_a_template_that_takes_long_then_the_loop_does_not_wait(receiver: Receiver) -> None:
    slow = "{% for a in range(300) %}{% for b in range(3000) %}{% endfor %}{% endfor %}done"
    sender = AppriseSender(local(receiver, timeout="60s"), own_texts(default=Template(body=slow)))
    turns = 0
    task = asyncio.create_task(sender.send(one()))
    while not task.done():
        await asyncio.sleep(0.001)
        turns += 1
    await task

    assert receiver.body()["message"] == "done"
    assert turns > 3
