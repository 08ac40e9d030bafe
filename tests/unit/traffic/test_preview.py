from typing import Any

from tests.unit.traffic.builders import A, B, only, seen, stored
from tests.unit.workload.builders import owned, rollout
from weir.release.observation import RolloutView
from weir.traffic.adapter import Backend
from weir.traffic.preview import preview_writes

CANDIDATE = Backend(B, 0, "v-b")


def blue_green(hostname: str | None) -> RolloutView:
    preview = {"hostname": hostname} if hostname else {}
    return rollout(strategy={"blueGreen": {"preview": preview}})


def test_given_a_hostname_when_previewed_then_service_and_route_lead_to_the_candidate() -> None:
    view = blue_green("next.example")
    service, route = preview_writes(view, CANDIDATE, seen())
    assert service.body["metadata"]["name"] == route.body["metadata"]["name"] == "digits-preview"
    assert service.body["spec"]["selector"] == {"weir.dev/pool": B}
    assert route.body["spec"]["hostnames"] == ["next.example"]
    (backend,) = route.body["spec"]["rules"][0]["backendRefs"]
    assert (backend["name"], backend["weight"]) == (B, 100)


def live(view: RolloutView) -> Any:
    service, route = preview_writes(view, CANDIDATE, seen())
    services = {"digits-preview": owned("Service", "digits-preview", view, spec=service.body["spec"])}
    return seen(services=services, routes={"digits-preview": stored(route.body)})


def test_given_a_preview_that_is_there_when_previewed_then_nothing_is_written() -> None:
    view = blue_green("next.example")
    assert preview_writes(view, CANDIDATE, live(view)) == ()
    assert len(preview_writes(view, Backend(A, 0, "v-a"), live(view))) == 2


def test_given_the_switch_is_over_when_previewed_then_both_go() -> None:
    view = blue_green("next.example")
    assert [(w.verb, w.resource.kind) for w in preview_writes(view, None, live(view))] == [
        ("delete", "Service"),
        ("delete", "HTTPRoute"),
    ]


def test_given_no_hostname_when_previewed_then_only_a_service() -> None:
    assert only(preview_writes(blue_green(None), CANDIDATE, seen())).resource.kind == "Service"
    assert preview_writes(blue_green(None), None, seen()) == ()


def test_given_objects_of_others_when_previewed_then_they_are_left_alone() -> None:
    view, other = blue_green("next.example"), rollout("other")
    objects = seen(
        services={"digits-preview": owned("Service", "digits-preview", other, spec={})},
        routes={"digits-preview": owned("HTTPRoute", "digits-preview", other, spec={})},
    )
    assert preview_writes(view, CANDIDATE, objects) == ()
    assert preview_writes(view, None, objects) == ()


def test_given_a_user_run_pool_when_previewed_then_only_the_route_is_needed() -> None:
    external = Backend("mine", 0, "v", 9, external=True)
    write = only(preview_writes(blue_green("next.example"), external, seen()))
    assert write.resource.kind == "HTTPRoute"
    assert write.body["spec"]["rules"][0]["backendRefs"][0]["port"] == 9
