from typing import Any

import pytest

from weir.runtime.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    FieldConflict,
    Forbidden,
    Invalid,
    NotFound,
    Unavailable,
)
from weir.runtime.resources import DEPLOYMENTS, HTTP_ROUTES
from weir.workload.writes import Write, bounded, execute, problem_of

APPLY = Write("apply", DEPLOYMENTS, "ml", "d", {"metadata": {"name": "d", "namespace": "ml"}}, "weir-workload")
PATCH = Write("json_patch", HTTP_ROUTES, "ml", "r", [{"op": "test"}], "weir-traffic")
DELETE = Write("delete", DEPLOYMENTS, "ml", "e", uid="u")


class Client:
    """Records calls; answers or fails as told."""

    def __init__(self, error: ApiError | None = None, fail_at: int = 0) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._error, self._fail_at = error, fail_at

    def _note(self, *call: Any) -> dict[str, Any]:
        self.calls.append(call)
        if self._error is not None and len(self.calls) > self._fail_at:
            raise self._error
        return {"kind": call[0]}

    async def apply(self, resource: Any, body: Any, *, field_manager: str, force: bool, dry_run: bool) -> Any:
        return self._note("apply", resource, body, field_manager, force, dry_run)

    async def json_patch(self, resource: Any, name: str, ops: Any, namespace: str, **kwargs: Any) -> Any:
        return self._note("json_patch", resource, name, ops, namespace, kwargs)

    async def delete(self, resource: Any, name: str, namespace: str, **kwargs: Any) -> Any:
        return self._note("delete", resource, name, namespace, kwargs)


async def run(client: Client, *writes: Write, **kwargs: Any) -> list[dict[str, Any]]:
    return await execute(client, writes, **kwargs)  # type: ignore[arg-type]


async def test_given_writes_when_executed_then_each_goes_to_its_verb_in_order() -> None:
    client = Client()
    assert len(await run(client, APPLY, PATCH, DELETE, dry_run=True)) == 3
    assert client.calls == [
        ("apply", DEPLOYMENTS, APPLY.body, "weir-workload", True, True),
        ("json_patch", HTTP_ROUTES, "r", PATCH.body, "ml", {"field_manager": "weir-traffic", "dry_run": True}),
        ("delete", DEPLOYMENTS, "e", "ml", {"uid": "u", "dry_run": True}),
    ]


async def test_given_two_writes_to_one_object_when_only_tried_then_the_first_alone_can_be() -> None:
    client, second = Client(), Write("apply", DEPLOYMENTS, "ml", "d", {"spec": {"replicas": 2}}, "weir-scale")
    await run(client, APPLY, second, PATCH, dry_run=True)
    assert [(call[0], call[2]) for call in client.calls] == [("apply", APPLY.body), ("json_patch", "r")]
    await run(client, APPLY, second)
    assert len(client.calls) == 4


async def test_given_a_failure_when_executed_then_the_rest_is_not_tried() -> None:
    client = Client(Unavailable("down"), fail_at=1)
    with pytest.raises(Unavailable):
        await run(client, APPLY, PATCH, DELETE)
    assert len(client.calls) == 2


@pytest.mark.parametrize("error", [NotFound("gone"), Conflict("another uid")])
async def test_given_nothing_of_ours_to_delete_when_executed_then_it_is_done(error: ApiError) -> None:
    assert await run(Client(error), DELETE) == [{}]


@pytest.mark.parametrize(
    ("error", "reason", "terminal"),
    [
        (Invalid("PATCH /apis/apps/v1/namespaces/ml/deployments/d: spec.template: bad"), "DeploymentRejected", True),
        (Forbidden("may not patch deployments"), "Forbidden", False),
        (FieldConflict("conflict", causes=("spec.rules: helm",)), "FieldConflict", False),
    ],
)
def test_given_a_refusal_when_explained_then_it_is_a_problem(error: ApiError, reason: str, terminal: bool) -> None:
    problem = problem_of(error, APPLY)
    assert problem is not None
    assert (problem.reason, problem.terminal) == (reason, terminal)
    assert problem.message.startswith("Deployment d: ")
    assert "/apis/" not in problem.message


@pytest.mark.parametrize("error", [Conflict("stale"), Unavailable("down"), AlreadyExists("x"), NotFound("x")])
def test_given_what_passes_by_itself_when_explained_then_there_is_no_problem(error: ApiError) -> None:
    assert problem_of(error, APPLY) is None


def test_given_a_long_message_with_a_pods_name_when_bounded_then_it_is_short_and_stable() -> None:
    assert bounded('pods "a-x7z" is\n forbidden') == bounded('pods "a-abc" is forbidden')
    assert len(bounded("x" * 999)) == 300
