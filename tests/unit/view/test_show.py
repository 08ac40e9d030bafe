"""What terminals show: tables, histories, and messages as they are."""

from __future__ import annotations

import copy

from tests.unit.view.rendering import info_of, printed
from tests.unit.view.situations import AGENT, SITUATIONS, recorded
from weir.cli.decisions import table as decisions
from weir.cli.show import history, status, table
from weir.view.words import duration, percent, rough, sentence, span, when


def test_given_many_rollouts_then_each_has_one_line_that_says_what_it_waits_for() -> None:
    names = ["low-traffic", "paused", "waits-for-approval", "rolled-back", "promoted", "operator-silent"]
    text = printed(table([info_of(recorded(name)) for name in names], namespaces=True), 140)
    header, *lines = text.splitlines()
    assert header.split()[:3] == ["NAMESPACE", "NAME", "PHASE"]
    assert len(lines) == len(names)
    for line, phrase in zip(
        lines,
        (
            "gate http-errors (Insufficient)",
            "a resume (paused by alice, until 1 h 48 min from now)",
            "consent: 1 of 2 (group sre)",
            "another version, or a retry",
            "-",
            "the operator (not running?)",
        ),
        strict=True,
    ):
        assert line.rstrip().endswith(phrase)


def test_given_a_narrow_terminal_then_every_rollout_still_has_one_line() -> None:
    infos = [info_of(recorded(name)) for name in sorted(SITUATIONS)]
    lines = printed(table(infos), 80).splitlines()
    for info, line in zip(infos, lines[1:], strict=True):
        assert line.split()[:2] == ["digits", info.phase or "-"]
        assert (info.stage.name if info.stage is not None else "-") in line
    assert len(lines) == len(SITUATIONS) + 1
    assert max(len(line) for line in lines) <= 80


def test_given_a_message_with_brackets_then_it_is_shown_as_it_is() -> None:
    objects = copy.deepcopy(recorded("metrics-broken"))
    said = "query [red]sum(rate(x[5m]))[/red] failed"
    objects["rollout"]["status"]["gates"][0]["message"] = said
    assert said in printed(status(info_of(objects)), 140)


def test_given_a_drill_that_is_over_then_the_history_tells_how_long_it_took() -> None:
    objects = copy.deepcopy(recorded("rolled-back"))
    objects["rollout"]["status"]["history"][0]["timeToStable"] = "2.5"
    objects["records"] = []
    text = printed(history(info_of(objects)))
    assert "2.5 s from the decision until the gateway had taken weight 0" in text


def test_given_an_agent_that_acted_then_the_history_tells_under_what_and_its_long_name_hides_nothing() -> None:
    info = info_of(recorded("serving-instead"))
    told = f"requested by {AGENT} (permit release; approved by alice)"
    assert told in printed(history(info))
    text = printed(decisions(info.history[0].decisions), 100)
    assert "permit release; approved by alice" in " ".join(text.split())
    assert all(column in text.splitlines()[0] for column in ("WEIGHT", "REASON", "MESSAGE"))


def test_given_no_release_yet_then_the_history_says_so() -> None:
    assert printed(history(info_of(recorded("operator-never-there")))) == "No release has finished yet.\n"


def test_given_a_running_release_then_the_history_shows_its_decisions() -> None:
    text = printed(history(info_of(recorded("evidence-on-its-way"))))
    assert text.startswith("Release 2 of v2 is running.")
    assert "entering Traffic(25)" in text


def test_given_lengths_of_time_then_they_are_as_exact_as_people_need() -> None:
    assert [duration(s) for s in (0, 45, 60, 99, 100, 3600, 5400, 7200, 172800)] == [
        "0 s", "45 s", "1 min", "99 s", "2 min", "1 h", "90 min", "2 h", "2 days",
    ]  # fmt: skip
    assert [rough(s) for s in (3, 70, 110, 1500, 5000, 40000, 200000)] == [
        "10 seconds", "1 minute", "2 minutes", "25 minutes", "85 minutes", "11 hours", "2 days",
    ]  # fmt: skip


def test_given_a_range_then_it_reads_as_people_say_it() -> None:
    assert span(60, 130) == "1 to 2 minutes"
    assert span(20, 130) == "20 seconds to 2 minutes"
    assert span(100, 130) == "about 2 minutes"
    assert span(10 * 86400, 20 * 86400) == "several days"


def test_given_words_then_names_keep_their_spelling() -> None:
    assert sentence("gate http-errors: fine") == "Gate http-errors: fine."
    assert sentence("digits-v2 is gone") == "digits-v2 is gone."
    assert sentence("really?") == "Really?"
    assert percent(0.054794) == "5.48 %"
    assert when(1_800_000_240.0, 1_800_000_000.0) == "08:04:00 UTC (in 4 min)"
    assert when(1_799_990_000.0, 1_800_000_000.0) == "05:13:20 UTC (2 h 47 min ago)"
