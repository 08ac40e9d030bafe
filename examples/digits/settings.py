"""Settings from environment variables, and log lines as JSON."""

import json
import sys
import time
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of the settings of each part: the field `drain_seconds` is read from the variable DRAIN_SECONDS."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


S = TypeVar("S", bound=Settings)


def read_settings(kind: type[S], environment: Mapping[str, str]) -> S:
    """Return the settings; an empty variable counts as unset. Raises pydantic.ValidationError naming the field."""
    given = {name: environment[name.upper()] for name in kind.model_fields if environment.get(name.upper())}
    return kind.model_validate(given)


def log(event: str, **fields: object) -> None:
    """Write one JSON line to standard error; `t` is Unix time in seconds."""
    line = json.dumps({"t": round(time.time(), 3), "event": event, **fields}, default=str)
    print(line, file=sys.stderr, flush=True)
