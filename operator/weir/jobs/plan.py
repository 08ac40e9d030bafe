"""What one check is to do: everything that the pod needs to know, in one immutable file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from weir.api.base import ApiModel, Digest, Label, Name, Time
from weir.api.datacontract import DataContractSpec

GIBIBYTE = 1 << 30


class Plan(ApiModel):
    """One check of one revision of a contract.

    Keys are camelCase in the file (``memoryLimit``, ``dataRoot``); the Python names are read as well.
    """

    check: Name = Field(description="check: name of the ContractCheck that gets the result.")
    namespace: Name = Field(description="namespace of it.")
    contract: Name = Field(description="contract: name of the DataContract.")
    digest: Digest = Field(description="digest of the revision that is checked.")
    odcs: dict[str, Any] = Field(description="odcs: the document.")
    spec: DataContractSpec = Field(
        default_factory=lambda: DataContractSpec(roles=["Features"]),
        description="spec of the DataContract without its document.",
    )
    servers: list[Label] = Field(default_factory=list, description="servers to check; empty for all.")
    purpose: Literal["Request", "Schedule", "Release", "Reference"] = Field(
        default="Request", description="purpose of the check."
    )
    now: Time = Field(description="now: the time that ages are measured from.")
    reference: dict[str, Any] | None = Field(
        default=None, description="reference profile, whose bins the profile of this check takes over."
    )
    memory_limit: Annotated[int, Field(ge=64 << 20)] = Field(
        default=GIBIBYTE, description="memoryLimit of the container in bytes."
    )
    data_root: str = Field(default="/data", description="dataRoot: folder with one folder for each server of files.")

    @classmethod
    def read(cls, path: Path) -> Self:
        """The plan in a file.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not a plan; the message names the field (pydantic.ValidationError).
        """
        return cls.model_validate_json(path.read_bytes())

    def to_json(self) -> str:
        """The text of the file."""
        return self.model_dump_json(by_alias=True, exclude_none=True)
