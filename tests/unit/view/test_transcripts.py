"""What people read in each situation, kept word for word.

The objects in ``situations/NAME.yaml`` come from the real release machine (``situations.py``). After a change that is meant
to change them or the texts, write everything anew and read the difference as somebody who has never seen the tool:

    WEIR_GOLDEN=write PYTHONPATH=operator:hack:. python -m pytest tests/unit/view/test_transcripts.py
"""

from __future__ import annotations

import json
import os
import re

import pytest
import yaml

from tests.unit.view.rendering import info_of, printed, transcripts
from tests.unit.view.situations import FOLDER, SITUATIONS, recorded, text_of
from weir.cli.show import history, table
from weir.view.commands import VERBS, VIEWS
from weir.view.why import explain

WRITE = os.environ.get("WEIR_GOLDEN") == "write"
NAMES = sorted(SITUATIONS)
OTHER_COMMANDS = ("lint", "backtest", "replay", "version")


@pytest.mark.parametrize("name", NAMES)
def test_given_a_situation_when_it_is_played_again_then_the_recorded_objects_come_out(name: str) -> None:
    path, played = FOLDER / f"{name}.yaml", text_of(SITUATIONS[name]())
    if WRITE:
        path.write_text(played, encoding="utf-8")
    assert played == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_given_a_situation_when_it_is_shown_then_people_read_what_was_agreed(name: str) -> None:
    for kind, text in transcripts(recorded(name)).items():
        path = FOLDER / f"{name}.{kind}.txt"
        if WRITE:
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")


def test_given_the_folder_then_it_holds_the_situations_and_nothing_else() -> None:
    assert {path.name.split(".")[0] for path in FOLDER.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_given_any_situation_then_every_command_that_is_offered_exists(name: str) -> None:
    offered = [move.command for move in explain(info_of(recorded(name))).moves if move.command]
    for command in offered:
        program, *words = command.split()
        assert program == "kubectl", command
        if words[:2] == ["weir", "contract"]:
            assert words[2] in ("check", "diff", "explain", "init"), command
            assert words[3] in ("digits-features", "digits-request"), command
            assert words[4:] == ["-n", "team-a"], command
        elif words[0] == "weir":
            assert words[1] in (*VERBS, *VIEWS, *OTHER_COMMANDS), command
            assert words[1] == "get" or words[2:5] == ["digits", "-n", "team-a"], command
        else:
            assert words[0] in ("get", "describe", "edit", "patch", "logs"), command


@pytest.mark.parametrize("name", NAMES)
def test_given_any_situation_then_it_says_what_to_do_and_leaves_no_gap(name: str) -> None:
    explanation = explain(info_of(recorded(name)))
    assert explanation.moves
    assert all(move.command or move.text for move in explanation.moves)
    text = printed(json.dumps(explanation.to_dict()))
    assert not re.search(r"None|nan|inf\b|\{\w*\}|  - \.|\(\)", text)


@pytest.mark.parametrize("name", NAMES)
def test_given_a_narrow_terminal_then_nothing_is_cut_off_or_sticks_out(name: str) -> None:
    wide, narrow = transcripts(recorded(name), 100), transcripts(recorded(name), 80)
    for kind, text in narrow.items():
        assert max(len(line) for line in text.splitlines()) <= 80, kind
    # Commands are folded and words move to other lines, but all of them are there.
    assert _words(narrow["why"]) == _words(wide["why"])


def _words(text: str) -> list[str]:
    return [word for word in text.split() if word != "\\"]


def test_given_colours_then_they_only_add_to_the_words() -> None:
    for name in NAMES:
        info = info_of(recorded(name))
        plain, coloured = printed(table([info])), printed(table([info]), colour=True)
        assert re.sub(r"\x1b\[[0-9;]*m", "", coloured).split() == plain.split()


def test_given_any_situation_then_data_can_be_read_back_from_json_and_yaml() -> None:
    for name in NAMES:
        info = info_of(recorded(name))
        for data in (info.to_dict(), explain(info).to_dict()):
            assert json.loads(json.dumps(data)) == data
            assert yaml.safe_load(yaml.safe_dump(data)) == data


def test_given_every_situation_then_the_history_tells_how_releases_ended() -> None:
    text = printed(history(info_of(recorded("aborted"))))
    assert "Release 2 of v2: Aborted" in text
    assert "complaints about wrong answers (by bob)" in text
    assert "Release 1 of v1: Promoted" in text
