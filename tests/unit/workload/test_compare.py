import pytest

from weir.workload.compare import covers


@pytest.mark.parametrize(
    ("live", "wanted"),
    [
        ({"a": 1, "default": True}, {"a": 1}),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, {"limits": {"cpu": "1000m", "memory": "1024Mi"}}),
        ({"requests": {"cpu": "2"}}, {"requests": {"cpu": 2}}),
        ({"env": [{"name": "B"}, {"name": "A", "value": "1"}]}, {"env": [{"name": "A", "value": "1"}]}),
        ({"env": [{"name": "A"}]}, {"env": [{"name": "A", "value": ""}]}),
        ({}, {"labels": {}}),
        ({"emptyDir": {}}, {"emptyDir": {}}),
    ],
)
def test_given_equal_meaning_when_compared_then_no_write_is_needed(live, wanted) -> None:
    assert covers(live, wanted)


@pytest.mark.parametrize(
    ("live", "wanted"),
    [
        ({"a": 1}, {"a": 2}),
        ({}, {"a": 1}),
        ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "2"}}),
        ({"limits": {}}, {"limits": {"cpu": "2"}}),
        ({"args": ["a", "b"]}, {"args": ["a"]}),
        ({"env": [{"name": "A", "value": "2"}]}, {"env": [{"name": "A", "value": "1"}]}),
        ({"value": "1.0"}, {"value": "1.00"}),
        (None, {"a": 1}),
    ],
)
def test_given_another_meaning_when_compared_then_a_write_is_needed(live, wanted) -> None:
    assert not covers(live, wanted)
