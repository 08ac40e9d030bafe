"""The configuration: what is refused, how it is named, and that no secret is in what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.notify.support import DEMO, Folder, alert, destination
from weir.notify.alerts import Kind, Severity
from weir.notify.config import Config, ConfigError, Files, parse, read, targets


def config(*destinations: dict[str, Any], **more: Any) -> Config:
    return parse(files({"destinations": list(destinations), **more}))


def files(content: dict[str, Any] | str, **secrets: str) -> Files:
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    return Files(text.encode(), tuple((k, v.encode()) for k, v in secrets.items()))


HOOK = {"name": "hook", "cloudEvents": {"url": "https://events.example.com/in"}}
CHAT = {"name": "chat", "apprise": {"urlKey": "slack"}}


def test_given_little_then_the_defaults_hold() -> None:
    (found,) = config(HOOK).destinations

    assert (found.rate.burst, found.rate.per_minute, found.timeout, found.give_up_after) == (5, 10.0, "10s", "1h")
    assert set(Kind) - set(found.kinds) == {Kind.SUPERSEDED, Kind.REVERTED}
    assert config().destinations == parse(files("")).destinations == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("destinations: [", "config.yaml is not YAML, line 1"),
        ("- a", "config.yaml: : Input should be"),
        ({"destination": []}, "destination: Extra inputs are not permitted"),
        ({"destinations": [HOOK, HOOK]}, "two destinations have the same name"),
        ({"destinations": [{**HOOK, **CHAT}]}, "set exactly one of cloudEvents and apprise"),
        ({"destinations": [{"name": "x"}]}, "set exactly one of cloudEvents and apprise"),
        ({"destinations": [{**HOOK, "kinds": ["Promotion"]}]}, "destinations.0.kinds.0"),
        ({"destinations": [{**HOOK, "timeout": "soon"}]}, "is not a duration"),
        ({"destinations": [{**HOOK, "giveUpAfter": "48h"}]}, "must be between 1s and 24h"),
        ({"destinations": [{**HOOK, "rate": {"perMinute": 0}}]}, "destinations.0.rate.perMinute"),
        ({"destinations": [{"name": "X!", "apprise": {"urlKey": "a"}}]}, "destinations.0.name"),
        ({"destinations": [{"name": "x", "apprise": {"urlKey": "../token"}}]}, "destinations.0.apprise.urlKey"),
        ({"destinations": [{"name": "x", "cloudEvents": {"url": "file:///etc/passwd"}}]}, "must begin with http"),
        ({"destinations": [{"name": "x", "cloudEvents": {"urlKey": "a", "url": "http://x"}}]}, "exactly one of url"),
        ({"templates": {"Promotd": {"title": "x"}}}, "templates"),
    ],
)
def test_given_a_mistake_then_it_is_named(content: dict[str, Any] | str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse(files(content))


@pytest.mark.parametrize(
    "content",
    [
        {"destinations": [{"name": "x", "apprise": {"urlKey": "slack://TOKEN/b/c"}}]},
        {"destinations": [{"name": "x", "apprise": "slack://TOKEN/b/c"}]},
        {"destinations": [{"name": "x", "cloudEvents": {"url": "https://me:TOKEN@example.com"}}]},
        "destinations: [{name: x, apprise: {urlKey: 'slack://TOKEN'\n",
    ],
)
def test_given_a_secret_in_the_wrong_place_then_it_is_not_repeated(content: dict[str, Any] | str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(files(content))
    assert "TOKEN" not in str(caught.value)


def test_given_a_key_that_is_missing_then_the_other_destinations_are_used() -> None:
    found = files({"destinations": [CHAT, HOOK]})

    good, problems = targets(parse(found), found)

    assert [t.destination.name for t in good] == ["hook"]
    assert problems == ["destination chat: the Secret has no key slack"]


@pytest.mark.parametrize("value", ["", "\n", "slack://a\nslack://b", "\x00"])
def test_given_a_secret_that_is_not_one_line_then_it_is_refused_without_being_shown(value: str) -> None:
    found = files({"destinations": [CHAT]}, slack=value)

    good, problems = targets(parse(found), found)

    assert not good
    assert problems == ["destination chat: key slack of the Secret must hold one line"]


def test_given_secrets_then_they_are_read_and_do_not_show() -> None:
    hook = {"name": "hook", "cloudEvents": {"urlKey": "where", "headers": [{"name": "Authorization", "key": "token"}]}}
    found = files({"destinations": [hook]}, where="https://example.com/T0KEN\n", token="Bearer T0KEN\n")

    (target,), problems = targets(parse(found), found)

    assert not problems
    assert (target.url, target.headers) == ("https://example.com/T0KEN", (("Authorization", "Bearer T0KEN"),))
    assert "T0KEN" not in repr(target)
    assert "T0KEN" not in repr(found)


def test_given_mounted_folders_then_the_kubelets_own_entries_are_left_out(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write({"destinations": []}, slack="slack://x")
    (tmp_path / "secrets" / "..2026_data").mkdir()
    (tmp_path / "secrets" / "..data").symlink_to("..2026_data")

    assert [name for name, _ in read(tmp_path).secrets] == ["slack"]


def test_given_no_file_then_that_is_an_error_and_not_an_empty_configuration(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path)


def test_given_a_destination_for_some_then_it_gets_no_others() -> None:
    some = destination(kinds=["RolledBack", "Promoted"], namespaces=["team"], minSeverity="Warning")

    assert some.wants(alert(kind=Kind.ROLLED_BACK, severity=Severity.ERROR))
    assert not some.wants(alert(kind=Kind.ROLLED_BACK, severity=Severity.INFO))
    assert not some.wants(alert(kind=Kind.HELD, severity=Severity.ERROR))
    other = alert(kind=Kind.ROLLED_BACK, severity=Severity.ERROR, subject=type(DEMO)("other", "demo", "uid-2"))
    assert not some.wants(other)
