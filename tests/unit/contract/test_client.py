"""The part that model servers copy: what it shows, and that it can be trusted with any value."""

from __future__ import annotations

import ast
import json
import sys
import threading
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families

from weir.contract import client
from weir.contract.client import Fingerprint
from weir.contract.profile import ColumnProfile, Profile, TableProfile

AMOUNT = ColumnProfile(edges=("10", "20.5", "1e+03"), counts=(4, 3, 2, 1))
COUNTRY = ColumnProfile(top=(("DE", 6), ("true", 3)), other=3)
PROFILE = Profile({"orders": TableProfile(12, {"amount": AMOUNT, "country": COUNTRY})})
TEXT = PROFILE.to_json()


class Shown:
    """What a watch shows."""

    def __init__(self, **options: object) -> None:
        self.registry = CollectorRegistry()
        self.watch = Fingerprint.load(TEXT, registry=self.registry, **options)

    def amounts(self) -> list[float]:
        values = [self.value("bucket", le=le) for le in ("10.0", "20.5", "1000.0", "+Inf")]
        return [value - before for before, value in zip([0.0, *values], values, strict=False)]

    def value(self, name: str, of: str = "orders.amount", **labels: str) -> float:
        found = self.registry.get_sample_value(f"weir_feature_value_{name}", {"property": of, **labels})
        assert found is not None
        return found


def test_given_nothing_observed_when_shown_then_every_series_is_there_with_zero() -> None:
    shown = Shown()
    assert shown.amounts() == [0, 0, 0, 0]
    assert shown.value("null_total") == 0
    assert shown.value("top_total", "orders.country", value="DE") == 0
    assert shown.value("other_total", "orders.country") == 0
    assert shown.watch.properties == ("orders.amount", "orders.country")


def test_given_numbers_when_observed_then_an_edge_belongs_to_the_bin_below_it() -> None:
    shown = Shown()
    for value in (-5, 10, 10.000001, 20.5, 21, 1000, 1001.0, float("inf"), float("-inf"), True, np.float32(20.5), "12"):
        shown.watch.observe({"orders.amount": value})
    assert shown.amounts() == [4, 4, 2, 2]
    assert shown.value("null_total") == 0


def test_given_no_value_when_observed_then_it_is_a_null() -> None:
    shown = Shown()
    for value in (None, float("nan"), np.float64("nan"), "abc", [1], 10**400, object()):
        shown.watch.observe({"orders.amount": value})
    for value in (None, float("nan")):
        shown.watch.observe({"orders.country": value})
    assert shown.amounts() == [0, 0, 0, 0]
    assert shown.value("null_total") == 7
    assert shown.value("null_total", "orders.country") == 2


def test_given_values_when_observed_then_what_is_not_listed_is_other() -> None:
    shown = Shown()
    for value in ("DE", "DE", True, "true", "de", 5, ""):
        shown.watch.observe({"orders.country": value})
    assert shown.value("top_total", "orders.country", value="DE") == 2
    assert shown.value("top_total", "orders.country", value="true") == 2
    assert shown.value("other_total", "orders.country") == 3


def test_given_unknown_and_absent_properties_when_observed_then_they_are_ignored() -> None:
    shown = Shown()
    shown.watch.observe({"orders.amount": 5, "orders.password": "secret", "customers.amount": 5})
    assert shown.amounts() == [1, 0, 0, 0]
    assert shown.value("null_total", "orders.country") == 0
    assert b"secret" not in generate_latest(shown.registry)


@pytest.mark.parametrize(
    "value",
    [
        datetime(1970, 1, 1, 0, 0, 15),
        datetime(1970, 1, 1, 0, 0, 15, tzinfo=UTC),
        datetime(1970, 1, 1, 1, 0, 15, tzinfo=timezone(timedelta(hours=1))),
        15.0,
    ],
)
def test_given_times_when_observed_then_they_are_seconds_since_1970(value: object) -> None:
    shown = Shown()
    shown.watch.observe({"orders.amount": value})
    assert shown.amounts() == [0, 1, 0, 0]
    shown.watch.observe({"orders.amount": date(1970, 1, 1)})
    assert shown.amounts() == [1, 1, 0, 0]


def test_given_some_properties_and_another_metric_when_loaded_then_only_those_are_shown() -> None:
    registry = CollectorRegistry()
    watch = Fingerprint.load(TEXT, properties=["orders.country"], metric="mine", registry=registry)
    watch.observe({"orders.amount": 5, "orders.country": "DE"})
    page = generate_latest(registry).decode()
    assert 'mine_top_total{property="orders.country",value="DE"} 1.0' in page
    assert "orders.amount" not in page
    assert "weir_feature_value" not in page


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text; version=1.0.0"])
def test_given_either_format_when_shown_then_it_can_be_parsed_and_holds_no_sum(accept: str) -> None:
    shown = Shown()
    shown.watch.observe({"orders.amount": 5})
    encode, _ = choose_encoder(accept)
    page = encode(shown.registry).decode()
    names = {sample.name for family in text_string_to_metric_families(page) for sample in family.samples}
    assert {"weir_feature_value_bucket", "weir_feature_value_null_total"} <= names
    assert "_sum" not in page


def test_given_a_file_a_text_or_parsed_json_when_loaded_then_it_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(TEXT)
    for source in (path, str(path), TEXT, "  " + TEXT, json.loads(TEXT)):
        assert Fingerprint.load(source, registry=None).properties == ("orders.amount", "orders.country")
    with pytest.raises(OSError):
        Fingerprint.load(tmp_path / "none", registry=None)


@pytest.mark.parametrize("text", ["{}", '{"tables": 5}', '{"tables": {"t": {"columns": {"c": {"counts": [1]}}}}}', "{"])
def test_given_something_else_when_loaded_then_it_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Fingerprint.load(text, registry=None)


def test_given_a_property_that_the_profile_lacks_when_asked_for_then_the_error_names_those_that_it_has() -> None:
    with pytest.raises(ValueError, match=r"no property 'orders.total'; it has: orders.amount, orders.country"):
        Fingerprint.load(TEXT, properties=["orders.total"], registry=None)


def test_given_many_threads_when_they_observe_then_no_row_is_lost() -> None:
    shown, switch = Shown(), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [
            threading.Thread(
                target=lambda: [shown.watch.observe({"orders.amount": 5, "orders.country": "DE"}) for _ in range(3000)]
            )
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        pages = [generate_latest(shown.registry) for _ in range(5)]
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switch)
    assert len(pages) == 5
    assert shown.amounts() == [18_000, 0, 0, 0]
    assert shown.value("top_total", "orders.country", value="DE") == 18_000


def test_given_the_module_when_copied_alone_then_it_needs_only_prometheus_client() -> None:
    tree = ast.parse(Path(client.__file__).read_text())
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names) == {"prometheus_client"}
