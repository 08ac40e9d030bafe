"""Templates: what they may use, what happens when they fail, and that a Rollout's text stays text."""

from __future__ import annotations

import pytest

from tests.unit.notify.support import alert, own_texts
from weir.notify.alerts import Kind
from weir.notify.config import Template
from weir.notify.metrics import NotifyMetrics
from weir.notify.templates import MAX_BODY, MAX_TITLE, VARIABLES, Templates


def test_given_no_templates_then_the_alert_is_told_in_our_own_words() -> None:
    text = Templates({}, "prod").render([alert()])

    assert text.title == "[prod] team/demo: v1 was promoted"
    assert text.body == "Release 1: v1 serves all traffic."


def test_given_templates_then_the_kinds_own_wins_over_the_default() -> None:
    texts = own_texts(
        default=Template(title="default {{ kind }}", body="default {{ facts.version }}"),
        Promoted=Template(title="{{ rollout }} in {{ namespace }}: {{ version }}"),
    )

    assert texts.problems == ()
    assert texts.render([alert()]).title == "demo in team: v1"
    assert texts.render([alert()]).body == "default v1"
    assert texts.render([alert(kind=Kind.HELD)]).title == "default Held"


def test_given_every_variable_that_is_named_then_each_can_be_used() -> None:
    texts = own_texts(default=Template(body="".join(f"[{name}={{{{ {name} }}}}]" for name in sorted(VARIABLES))))

    body = texts.render([alert()]).body

    assert not texts.problems
    assert all(f"[{name}=" in body for name in VARIABLES)


@pytest.mark.parametrize(
    "source",
    ["{{ title", "{% if %}", "{{ titel }}", "{% include 'x' %}{{ self.a.b }}{{ nothing }}", "{{ title|nosuch }}"],
)
def test_given_a_template_that_cannot_be_read_then_it_is_named_and_ours_is_sent(source: str) -> None:
    texts = own_texts(Promoted=Template(title=source))

    assert texts.problems[0].startswith("template Promoted.title: ")
    assert texts.render([alert()]).title == "team/demo: v1 was promoted"


@pytest.mark.parametrize(
    "source",
    [
        "{{ 1 / 0 }}",
        "{{ facts.version.nothing.more }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ range(10**9) | list }}",
        "{% include 'other' %}",
        "{{ '' }}",
        "{{ '{0.__class__.__mro__}'.format(title) }}",
    ],
)
def test_given_a_template_that_fails_or_reaches_out_then_ours_is_sent_and_counted(source: str) -> None:
    metrics = NotifyMetrics()
    texts = Templates({"default": Template(body=source)}, "", metrics)

    assert texts.render([alert()]).body == "Release 1: v1 serves all traffic."
    assert metrics.template_errors.labels("Promoted")._value.get() == 1


def test_given_a_template_in_the_text_of_a_rollout_then_it_is_not_evaluated() -> None:
    hostile = "{{ 7 * 7 }}{% for x in range(9) %}x{% endfor %}"
    texts = own_texts(default=Template(title="{{ title }}", body="{{ facts.message }}"))

    text = texts.render([alert(title=hostile, facts={"message": hostile})])

    assert (text.title, text.body) == (hostile, hostile)


@pytest.mark.parametrize("hostile", ["@everyone", "@here", "@channel!", "@ALL", "<!channel>", "<@U123>", "<!here|x>"])
def test_given_a_mention_in_the_text_of_a_rollout_then_it_wakes_nobody(hostile: str) -> None:
    texts = own_texts(default=Template(body="<!here> {{ facts.message }}"))

    text = texts.render([alert(title=hostile, facts={"message": hostile})])
    many = texts.render([alert(title=hostile), alert(2)])

    # What the template's author wrote stays.
    assert text.body.startswith("<!here> ")
    for told in (text.title, text.body.removeprefix("<!here> "), many.body):
        assert hostile not in told
        assert hostile in told.replace("\N{WORD JOINER}", "")


def test_given_an_address_that_looks_like_a_mention_then_it_can_be_copied() -> None:
    assert Templates({}).render([alert(title="by ann@all.example.com")]).title == "by ann@all.example.com"


def test_given_endless_text_then_it_is_cut() -> None:
    text = Templates({}).render([alert(title="x" * 10_000, text="y" * 100_000)])

    assert (len(text.title), len(text.body)) == (MAX_TITLE, MAX_BODY)


def test_given_a_title_over_several_lines_then_it_becomes_one() -> None:
    assert own_texts(default=Template(title="a\r\nBcc: b\n{{ kind }}")).render([alert()]).title == "a Bcc: b Promoted"


def test_given_many_alerts_then_one_message_lists_them() -> None:
    text = Templates({}, "prod").render([alert(n) for n in range(25)], dropped=3)

    assert text.title == "[prod] 25 notifications, 3 more were dropped"
    assert "- team/demo: v0 was promoted (2027-01-15T08:00:00Z)" in text.body
    assert "… and 5 more" in text.body
    assert "3 older ones were dropped" in text.body
