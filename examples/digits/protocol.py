"""Open Inference Protocol V2 (REST): what a request must look like, and the answers."""

import math
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .artifact import CLASSES, PIXELS, Floats, Prediction

INPUT = "pixels"
OUTPUT_LABEL = "label"
OUTPUT_PROBABILITY = "probability"
MAX_ROWS = 256
NumericType = Literal["UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64"]


class RequestError(Exception):
    """The request is wrong; the message names the field (HTTP 400)."""


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)


class InputTensor(_Message):
    """One input; `data` may be flat (row by row) or nested like `shape`."""

    name: str
    shape: list[int]
    datatype: NumericType
    data: list[Any]


class RequestedOutput(_Message):
    """An output that the caller wants; without any, all are returned."""

    name: Literal["label", "probability"]


class InferRequest(_Message):
    """The body of an infer request."""

    id: str | None = Field(default=None, min_length=1, max_length=256)
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    outputs: list[RequestedOutput] = Field(default_factory=list, max_length=2)


class Feedback(_Message):
    """The true label (0-9) of each row of an earlier request; a request of one row may give a bare number."""

    id: str = Field(min_length=1, max_length=256)
    label: int | list[int]

    def labels(self) -> list[int]:
        """Return one label a row."""
        return [self.label] if isinstance(self.label, int) else self.label


def parse_infer(body: bytes) -> tuple[InferRequest, Floats]:
    """Return the request and its rows of 64 pixels; raises RequestError."""
    try:
        request = InferRequest.model_validate_json(body)
    except ValidationError as error:
        raise RequestError(describe(error)) from error
    return request, _rows(request.inputs[0])


def parse_feedback(body: bytes) -> Feedback:
    """Return the feedback; raises RequestError."""
    try:
        feedback = Feedback.model_validate_json(body)
    except ValidationError as error:
        raise RequestError(describe(error)) from error
    if not all(0 <= label < CLASSES for label in feedback.labels()):
        raise RequestError(f"label: must be 0 to {CLASSES - 1}")
    return feedback


def describe(error: ValidationError) -> str:
    """Return the first problem as `inputs[0].shape: what is wrong`."""
    first = error.errors(include_url=False, include_input=False)[0]
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]]
    return f"{''.join(parts).lstrip('.') or 'body'}: {first['msg']}"


def _rows(tensor: InputTensor) -> Floats:
    if tensor.name != INPUT:
        raise RequestError(f"inputs[0].name: this model takes {INPUT!r}, not {tensor.name!r}")
    if len(tensor.shape) != 2 or tensor.shape[1] != PIXELS or not 1 <= tensor.shape[0] <= MAX_ROWS:
        raise RequestError(f"inputs[0].shape: must be [rows, {PIXELS}] with 1 to {MAX_ROWS} rows, not {tensor.shape}")
    try:
        values = np.asarray(tensor.data)
    except ValueError as error:
        raise RequestError("inputs[0].data: nested lists of different lengths") from error
    # Checked before the conversion to floats, which would take the text "1" for a number.
    if values.dtype.kind not in "iuf":
        raise RequestError("inputs[0].data: must be numbers")
    if values.size != math.prod(tensor.shape) or (values.ndim > 1 and list(values.shape) != tensor.shape):
        raise RequestError(f"inputs[0].data: {values.size} values do not fit inputs[0].shape {tensor.shape}")
    with np.errstate(over="ignore"):
        rows: Floats = values.astype(np.float32).reshape(tensor.shape)
    if not np.isfinite(rows).all():
        raise RequestError("inputs[0].data: must be finite 32-bit numbers")
    return rows


def server_metadata() -> dict[str, Any]:
    """Return the answer to GET /v2."""
    return {"name": "weir-digits", "version": "1", "extensions": []}


def model_metadata(name: str, version: str) -> dict[str, Any]:
    """Return the answer to GET /v2/models/<name>."""
    return {
        "name": name,
        "versions": [version],
        "platform": "numpy_safetensors",
        "inputs": [{"name": INPUT, "datatype": "FP32", "shape": [-1, PIXELS]}],
        "outputs": [
            {"name": OUTPUT_LABEL, "datatype": "INT64", "shape": [-1]},
            {"name": OUTPUT_PROBABILITY, "datatype": "FP32", "shape": [-1, CLASSES]},
        ],
    }


def infer_response(
    request: InferRequest, request_id: str, name: str, version: str, prediction: Prediction
) -> dict[str, Any]:
    """Return the answer to an infer request, with the outputs that it asked for."""
    labels, shares = prediction.labels, prediction.probabilities
    outputs: dict[str, dict[str, Any]] = {
        OUTPUT_LABEL: {"datatype": "INT64", "shape": list(labels.shape), "data": labels.tolist()},
        OUTPUT_PROBABILITY: {
            "datatype": "FP32",
            "shape": list(shares.shape),
            "data": shares.astype(np.float64).round(6).ravel().tolist(),
        },
    }
    wanted: list[str] = [output.name for output in request.outputs] or list(outputs)
    chosen = [{"name": output, **outputs[output]} for output in wanted]
    return {"model_name": name, "model_version": version, "id": request_id, "outputs": chosen}
