"""Texts of others: cut to size, cleaned, and never a reason to fail."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from weir.mcp.denial import denials_of
from weir.mcp.results import LONGEST, MOST, plain, quoted
from weir.runtime.errors import error_from_response

WORDS = st.sampled_from(
    [
        "ValidatingAdmissionPolicy 'weir-permits' with binding 'weir-permits' denied request: ",
        'admission webhook "x" denied the request: ',
        "MaxStep: ",
        "spec.weight",
        "metadata.name",
        "exceeded quota",
        ": ",
        "'",
    ]
)
TEXTS = st.lists(st.one_of(WORDS, st.text(max_size=30)), max_size=8).map("".join)


@given(st.text(max_size=2 * LONGEST))
@example("a\u202eb\u200b\U000e0041\x1b[0m\r\n\tc")
def test_given_any_text_when_it_is_quoted_then_it_is_one_short_line_that_hides_nothing(text: str) -> None:
    line = plain(text)
    assert len(line) <= LONGEST
    assert not {unicodedata.category(c) for c in line} & {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
    words = "".join(c if c.isprintable() else " " for c in text).split()
    assert line == " ".join(words) or line.endswith("…")


@given(st.lists(st.text(min_size=1, max_size=5), max_size=3 * MOST))
def test_given_many_texts_when_they_are_quoted_then_the_list_is_cut_and_says_so(texts: list[str]) -> None:
    told = quoted(many_lines=texts)
    if not texts:
        assert told is None
        return
    assert told is not None
    lines = told["manyLines"]
    assert isinstance(lines, list)
    assert len(lines) == min(len(texts), MOST) + (len(texts) > MOST)
    assert (len(texts) > MOST) == (lines[-1] == f"{len(texts) - MOST} more were left out")


@given(
    st.sampled_from([400, 401, 403, 404, 409, 410, 413, 422, 429, 500, 503]),
    TEXTS,
    st.lists(
        st.fixed_dictionaries({"field": st.sampled_from(["", "spec", "spec.weight"]), "message": TEXTS}), max_size=12
    ),
)
def test_given_any_answer_of_an_api_server_when_it_is_told_then_there_is_a_rule_and_an_advice(
    status: int, message: str, causes: list[dict[str, str]]
) -> None:
    body = {"kind": "Status", "message": message, "details": {"causes": causes}}
    error = error_from_response(status, json.dumps(body).encode(), verb="POST", target="/x")
    denials = denials_of(error)
    assert 1 <= len(denials) <= 8
    for denial in denials:
        assert denial.rule.isalnum()
        assert denial.advice
