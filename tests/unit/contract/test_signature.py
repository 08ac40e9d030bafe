"""What a model says of itself, beside what its contracts declare."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from weir.contract.model import Column, Document, Table
from weir.contract.revision import Revision
from weir.contract.signature import SignatureError, metadata_findings, mlmodel_signature


def revision(*columns: Column, name: str = "orders-request", table: str = "orders") -> Revision:
    document = Document(id=name, version="1.0.0", standard="v3.2.0", tables=(Table(table, columns=columns),))
    return Revision(name, "sha256:" + "a" * 64, document)


def tensor(name: str, datatype: str, *shape: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape), **more}


def judged(
    *, inputs: Any = (), outputs: Any = (), request: Revision | None = None, response: Revision | None = None
) -> list[tuple[str, str, str]]:
    """(change, path, effect) of every finding."""
    found = metadata_findings({"inputs": inputs, "outputs": outputs}, request, response)
    assert all(f.rule == "Metadata" and f.path in f.message for f in found)
    return [(f.change, f.path, f.effect) for f in found]


AMOUNT = Column("amount", logical_type="number", required=True)
COUNTRY = Column("country", physical_name="ctry", logical_type="string")
PIXELS = Column("pixels", logical_type="array", items=Column("pixel", logical_type="number"))


def test_given_tensors_named_as_the_columns_when_types_and_shapes_fit_then_nothing_is_found() -> None:
    inputs = [tensor("amount", "FP32", -1), tensor("ctry", "BYTES", -1, 1)]
    assert judged(inputs=inputs, request=revision(AMOUNT, COUNTRY)) == []


def test_given_a_column_that_the_model_does_not_read_then_nothing_is_found() -> None:
    assert judged(inputs=[tensor("amount", "FP64", -1)], request=revision(AMOUNT, COUNTRY)) == []


@pytest.mark.parametrize(
    ("side", "logical", "datatype", "fits"),
    [
        ("inputs", "number", "FP32", True),
        ("inputs", "number", "INT64", False),
        ("outputs", "number", "INT64", True),
        ("inputs", "integer", "INT32", True),
        ("inputs", "integer", "FP32", True),
        ("outputs", "integer", "FP32", False),
        ("inputs", "boolean", "BOOL", True),
        ("inputs", "boolean", "INT8", False),
        ("inputs", "string", "BYTES", True),
        ("inputs", "string", "TYPE_STRING", True),
        ("inputs", "string", "FP32", False),
        ("outputs", "timestamp", "BYTES", True),
        ("outputs", "timestamp", "INT64", False),
        ("outputs", "object", "BYTES", True),
        ("inputs", "number", "", True),
        ("inputs", None, "BYTES", True),
    ],
)
def test_given_a_type_when_the_model_has_another_then_only_what_fits_passes(
    side: str, logical: Any, datatype: str, fits: bool
) -> None:
    contract = revision(Column("x", logical_type=logical), Column("y", logical_type="string"))
    given: dict[str, Any] = {side: [tensor("x", datatype, -1), tensor("y", "BYTES", -1)]}
    given["request" if side == "inputs" else "response"] = contract
    assert judged(**given) == ([] if fits else [("metadataTypeChanged", "orders.x", "BlockPromotion")])


def test_given_a_type_that_does_not_fit_then_the_message_has_both_sides_and_the_way_out() -> None:
    contract = revision(AMOUNT, COUNTRY)
    (found,) = metadata_findings({"inputs": [tensor("country", "INT64", -1)]}, contract, None)
    assert found.judgement == "Fail"
    assert found.contract == "orders-request"
    assert found.message == (
        "contract orders-request, orders.country: the contract says string, the model takes INT64; change the "
        "property's logicalType in a new version of the contract, or release a model that takes BYTES or STRING"
    )


def test_given_an_input_that_is_not_declared_then_the_requests_of_clients_would_lack_it() -> None:
    inputs = [tensor("amount", "FP32", -1), tensor("age", "FP32", -1)]
    assert judged(inputs=inputs, request=revision(AMOUNT, COUNTRY)) == [
        ("metadataPropertyMissing", "orders.age", "BlockPromotion")
    ]


def test_given_an_optional_input_that_is_not_declared_then_nothing_is_found() -> None:
    inputs = [tensor("amount", "FP32", -1), tensor("age", "FP32", -1, required=False)]
    assert judged(inputs=inputs, request=revision(AMOUNT, COUNTRY)) == []


def test_given_an_input_that_the_model_requires_and_the_contract_does_not_then_it_is_found() -> None:
    inputs = [tensor("country", "BYTES", -1, required=True), tensor("amount", "FP32", -1, required=True)]
    assert judged(inputs=inputs, request=revision(AMOUNT, COUNTRY)) == [
        ("metadataRequired", "orders.country", "BlockPromotion")
    ]


def test_given_a_promised_answer_that_the_model_does_not_give_then_it_is_found_and_an_optional_one_is_not() -> None:
    contract = revision(Column("label", logical_type="string", required=True), COUNTRY, name="answers")
    outputs = [tensor("score", "FP32", -1), tensor("extra", "FP32", -1)]
    assert judged(outputs=outputs, response=contract) == [("metadataPropertyMissing", "orders.label", "BlockPromotion")]


@pytest.mark.parametrize(
    ("low", "high", "shape", "found"),
    [
        (64, 64, (-1, 64), []),
        (64, 64, (-1, 8, 8), []),
        (64, 64, (-1, -1), []),
        (64, 64, (64,), []),
        (64, 128, (-1, 64), [("metadataShapeChanged", "orders.pixels", "BlockPromotion")]),
        (10, 10, (-1, 64), [("metadataShapeChanged", "orders.pixels", "BlockPromotion")]),
        (None, None, (-1, 64), [("metadataShapeOpen", "orders.pixels", "Warn")]),
    ],
)
def test_given_an_array_when_the_model_fixes_its_length_then_the_contract_must_say_the_same(
    low: int | None, high: int | None, shape: tuple[int, ...], found: list[Any]
) -> None:
    column = Column("pixels", logical_type="array", items=PIXELS.items, min_items=low, max_items=high)
    assert judged(inputs=[tensor("pixels", "FP32", *shape)], request=revision(column)) == found


def test_given_an_array_of_texts_when_the_model_takes_numbers_then_the_type_is_found() -> None:
    column = Column("words", logical_type="array", items=Column("word", logical_type="string"))
    assert judged(inputs=[tensor("words", "FP32", -1, -1)], request=revision(column)) == [
        ("metadataTypeChanged", "orders.words", "BlockPromotion")
    ]


def test_given_one_value_a_row_when_the_model_takes_many_then_the_shape_is_found() -> None:
    assert judged(inputs=[tensor("amount", "FP32", -1, 12)], request=revision(AMOUNT, COUNTRY)) == [
        ("metadataShapeChanged", "orders.amount", "BlockPromotion")
    ]


@pytest.mark.parametrize(
    ("dimensions", "element", "found"),
    [
        (384, "float32", []),
        (384, "", []),
        (768, "float32", ["metadataShapeChanged"]),
        (384, "int8", ["metadataTypeChanged"]),
        (768, "uint8", ["metadataShapeChanged", "metadataTypeChanged"]),
    ],
)
def test_given_an_embedding_when_dimensions_or_elements_differ_then_they_are_found(
    dimensions: int, element: str, found: list[str]
) -> None:
    column = Column("embedding", logical_type="vector", dimensions=dimensions, element_type=element, required=True)
    outputs = [tensor("embedding", "FP32", -1, 384)]
    assert [change for change, _, _ in judged(outputs=outputs, response=revision(column))] == found


@pytest.mark.parametrize(("width", "found"), [(2, []), (-1, []), (3, ["metadataShapeChanged"])])
def test_given_one_matrix_for_all_columns_then_its_width_is_their_number(width: int, found: list[str]) -> None:
    contract = revision(AMOUNT, Column("age", logical_type="integer"))
    inputs = [tensor("input-0", "FP32", -1, width)]
    assert [change for change, _, _ in judged(inputs=inputs, request=contract)] == found


def test_given_one_column_and_a_tensor_of_another_name_then_it_is_no_matrix() -> None:
    assert judged(inputs=[tensor("other", "FP32", -1, 1)], request=revision(AMOUNT)) == [
        ("metadataPropertyMissing", "orders.other", "BlockPromotion")
    ]
    assert judged(inputs=[tensor("orders", "FP32", -1, 1)], request=revision(AMOUNT)) == []


@pytest.mark.parametrize(
    ("low", "high", "datatype", "found"),
    [
        (Decimal(-1), Decimal(10), "UINT8", 1),
        (Decimal(0), Decimal(255), "UINT8", 0),
        (Decimal(-1), Decimal(256), "UINT8", 2),
        (Decimal(-1), Decimal(256), "FP32", 0),
        (None, None, "UINT8", 0),
    ],
)
def test_given_limits_that_the_models_integers_cannot_hold_then_each_is_found(
    low: Decimal | None, high: Decimal | None, datatype: str, found: int
) -> None:
    column = Column("age", logical_type="integer", minimum=low, maximum=high)
    changes = [c for c, _, _ in judged(inputs=[tensor("age", datatype, -1)], request=revision(column, COUNTRY))]
    assert changes == ["metadataRangeChanged"] * found


@pytest.mark.parametrize("metadata", [{}, {"inputs": None}, {"inputs": []}, {"inputs": "x"}, {"inputs": [1, "x"]}])
def test_given_metadata_without_inputs_then_it_cannot_be_compared_and_only_warns(metadata: dict[str, Any]) -> None:
    (found,) = metadata_findings(metadata, revision(AMOUNT), None)
    assert (found.judgement, found.effect, found.change) == ("Unknown", "Warn", "metadataMissing")


def test_given_nothing_declared_then_nothing_is_found() -> None:
    assert judged(inputs=[tensor("x", "FP32", -1)], outputs=[tensor("y", "FP32", -1)]) == []


def mlmodel(inputs: Any, outputs: Any = ()) -> dict[str, Any]:
    return {"flavors": {}, "signature": {"inputs": json.dumps(inputs), "outputs": json.dumps(list(outputs))}}


def test_given_columns_of_mlflow_then_types_and_what_is_required_are_kept() -> None:
    found = mlmodel_signature(
        mlmodel(
            [
                {"type": "double", "name": "amount", "required": True},
                {"type": "long", "name": "age", "optional": True},
                {"type": "array", "items": {"type": "array", "items": {"type": "float"}}, "name": "grid"},
                {"type": "datetime", "name": "at"},
                {"type": "object", "name": "payload", "properties": {}},
            ],
            [{"type": "string"}],
        )
    )
    assert found["inputs"] == [
        {"name": "amount", "datatype": "FP64", "shape": [-1], "required": True},
        {"name": "age", "datatype": "INT64", "shape": [-1], "required": False},
        {"name": "grid", "datatype": "FP32", "shape": [-1, -1, -1]},
        {"name": "at", "datatype": "DATETIME", "shape": [-1]},
        {"name": "payload", "datatype": "OBJECT", "shape": [-1]},
    ]
    assert found["outputs"] == [{"name": "", "datatype": "BYTES", "shape": [-1]}]


def test_given_a_tensor_of_mlflow_when_it_has_no_name_then_it_is_the_only_column() -> None:
    spec = [{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 64]}}]
    found = mlmodel_signature(mlmodel(spec, spec))
    assert found["inputs"] == [{"name": "", "datatype": "FP32", "shape": [-1, 64]}]
    column = Column("pixels", logical_type="array", items=PIXELS.items, min_items=64, max_items=64)
    assert metadata_findings(found, revision(column), None) == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"flavors": {}}, "no signature"),
        ({"signature": {"inputs": "{"}}, "signature.inputs of the MLmodel file is no JSON"),
        ({"signature": {"inputs": '{"a": 1}'}}, "no list of columns or tensors"),
    ],
)
def test_given_an_mlmodel_file_that_cannot_be_read_then_the_error_says_why(content: dict[str, Any], said: str) -> None:
    with pytest.raises(SignatureError, match=said):
        mlmodel_signature(content)
