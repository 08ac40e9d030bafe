"""Whether requesters can be trusted is asked of the API server, seldom, and never guessed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from tests.unit.runtime.fakes import FakeClock, settle
from weir.api.actionrequest import ActionRequestSpec
from weir.controller.guardrails import EVERY, LASTS, PATIENCE, REQUESTER_RULE, AdmissionProbe
from weir.runtime.errors import ApiError, Forbidden, Invalid, Unavailable
from weir.runtime.resources import ACTION_REQUESTS, KubeObject, Resource

DENIED = Invalid(f"POST /x: ValidatingAdmissionPolicy 'weir' denied request: {REQUESTER_RULE}", status=422)


@dataclass
class Server:
    """Answers every create alike; ``answer`` None takes it."""

    answer: ApiError | None = DENIED
    asked: list[KubeObject] = field(default_factory=list)
    hang: asyncio.Event | None = None

    async def create(self, resource: Resource, body: KubeObject, *, dry_run: bool = False) -> KubeObject:
        assert (resource, dry_run) == (ACTION_REQUESTS, True)
        self.asked.append(body)
        await asyncio.sleep(0)
        if self.hang is not None:
            await self.hang.wait()
        if self.answer is not None:
            raise self.answer
        return body


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def woken() -> list[str]:
    return []


@pytest.fixture
def probe(server: Server, clock: FakeClock, woken: list[str]) -> AdmissionProbe:
    return AdmissionProbe(server, woken.append, clock)


async def test_given_no_answer_yet_then_nobody_is_trusted_and_the_answer_wakes(
    probe: AdmissionProbe, woken: list[str]
) -> None:
    assert "being checked" in str(probe.problem("team"))
    assert not probe.settled("team")
    assert woken == []

    await settle()

    assert probe.problem("team") is None
    assert probe.settled("team")
    assert woken == ["team"]


async def test_given_a_first_answer_that_is_about_to_come_then_it_is_worth_a_short_wait(
    probe: AdmissionProbe, clock: FakeClock, server: Server
) -> None:
    assert not probe.imminent("team")
    server.hang = asyncio.Event()
    probe.problem("team")
    assert probe.imminent("team")
    await clock.advance(PATIENCE)
    assert not probe.imminent("team")

    server.hang.set()
    await settle()
    assert probe.settled("team")
    assert not probe.imminent("team")
    await clock.advance(EVERY)
    probe.problem("team")
    assert not probe.imminent("team")


async def test_given_a_forged_request_that_gets_through_then_it_is_told_apart_from_a_check_that_failed(
    probe: AdmissionProbe, server: Server, clock: FakeClock
) -> None:
    server.answer = None
    probe.problem("team")
    assert not probe.open("team")
    await settle()
    assert probe.open("team")

    server.answer = Forbidden("no right to create", status=403)
    await clock.advance(EVERY)
    probe.problem("team")
    await settle()
    assert probe.problem("team")
    assert not probe.open("team")


async def test_given_a_check_then_it_is_a_valid_request_in_another_name(probe: AdmissionProbe, server: Server) -> None:
    probe.problem("team")
    await settle()
    [asked] = server.asked
    spec = ActionRequestSpec.model_validate(asked["spec"])
    assert spec.requester
    assert not spec.requester.startswith("system:")
    assert asked["metadata"]["namespace"] == "team"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "not in force"),
        (Forbidden('POST /x: User "weir" cannot create resource "actionrequests"', status=403), "cannot create"),
        (Forbidden("POST /x: exceeded quota: objects", status=403), "exceeded quota"),
        (Invalid("POST /x: admission webhook said no", status=400), "said no"),
    ],
    ids=["taken", "rbac", "quota", "webhook"],
)
async def test_given_any_other_answer_then_it_is_a_problem_that_names_it(
    probe: AdmissionProbe, server: Server, answer: ApiError | None, said: str
) -> None:
    server.answer = answer
    probe.problem("team")
    await settle()
    assert said in str(probe.problem("team"))
    assert probe.settled("team")


async def test_given_an_answer_then_it_is_asked_again_only_after_a_minute_and_for_each_namespace(
    probe: AdmissionProbe, server: Server, clock: FakeClock, woken: list[str]
) -> None:
    for _ in range(3):
        probe.problem("team")
        await settle()
    assert len(server.asked) == 1
    probe.problem("other")
    await settle()
    assert len(server.asked) == 2

    await clock.advance(EVERY)
    assert probe.problem("team") is None
    await settle()

    assert len(server.asked) == 3
    assert woken == ["team", "other"]


async def test_given_policies_that_were_removed_then_the_next_check_finds_out_and_wakes(
    probe: AdmissionProbe, server: Server, clock: FakeClock, woken: list[str]
) -> None:
    probe.problem("team")
    await settle()
    server.answer = None
    await clock.advance(EVERY)
    probe.problem("team")
    await settle()
    assert "not in force" in str(probe.problem("team"))
    assert woken == ["team", "team"]


async def test_given_an_answer_that_is_too_old_then_nobody_is_trusted_until_the_next(
    probe: AdmissionProbe, clock: FakeClock
) -> None:
    probe.problem("team")
    await settle()
    await clock.advance(LASTS)
    assert probe.problem("team") is not None
    assert not probe.settled("team")
    await settle()
    assert probe.problem("team") is None


async def test_given_an_api_server_that_is_away_then_the_last_answer_holds_for_its_time_and_it_is_asked_again_soon(
    probe: AdmissionProbe, server: Server, clock: FakeClock
) -> None:
    probe.problem("team")
    await settle()
    server.answer = Unavailable("POST /x: no answer")
    await clock.advance(EVERY)
    probe.problem("team")
    await settle()
    assert probe.problem("team") is None

    await clock.advance(LASTS - EVERY)
    probe.problem("team")
    await settle()
    assert "no answer" in str(probe.problem("team"))
    assert not probe.settled("team")

    server.answer = DENIED
    await clock.advance(5)
    probe.problem("team")
    await settle()
    assert probe.problem("team") is None
