"""What the operator's own configuration says about notifications: destinations, rates and templates.

Everything comes from two mounted folders: ``config/config.yaml`` (a ConfigMap) and ``secrets/`` (a Secret, one file a
key). No Rollout can name a destination.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from weir.api.base import seconds
from weir.notify.alerts import Alert, Kind, Severity

_MAX_BYTES = 1_000_000
_SECRET_KEY = "^[-._a-zA-Z0-9]+$"
_HEADER = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_HTTP = ("http", "https")

_DEFAULT_KINDS = tuple(k for k in Kind if k not in (Kind.SUPERSEDED, Kind.REVERTED))


class ConfigError(Exception):
    """Something in the configuration cannot be used; the text says what, and holds no secret."""


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


SecretKey = Annotated[str, Field(pattern=_SECRET_KEY, max_length=253)]
"""A key of the Secret."""


class Header(_Model):
    """An HTTP header; its value is in the Secret."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    key: SecretKey

    @field_validator("name")
    @classmethod
    def _token(cls, name: str) -> str:
        if not _HEADER.fullmatch(name):
            raise ValueError("is not the name of an HTTP header")
        return name


class CloudEvents(_Model):
    """A webhook that takes CloudEvents: its address here, or in the Secret where it holds a token."""

    url: Annotated[str, Field(max_length=2048)] | None = None
    url_key: SecretKey | None = None
    headers: Annotated[tuple[Header, ...], Field(max_length=16)] = ()

    @model_validator(mode="after")
    def _one(self) -> CloudEvents:
        if (self.url is None) == (self.url_key is None):
            raise ValueError("set exactly one of url and urlKey")
        if self.url is not None:
            check_url(self.url)
        return self


class Apprise(_Model):
    """A place that the library apprise knows (slack://, mailtos://, …); its URL is a secret, and in the Secret."""

    url_key: SecretKey


class Rate(_Model):
    """Messages that a destination gets: ``burst`` at once, then so many a minute."""

    burst: Annotated[int, Field(ge=1, le=100)] = 5
    per_minute: Annotated[float, Field(gt=0, le=600)] = 10.0


class Destination(_Model):
    """Where alerts go, which of them, and how fast."""

    name: Annotated[str, Field(pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
    cloud_events: CloudEvents | None = None
    apprise: Apprise | None = None
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)] = _DEFAULT_KINDS
    namespaces: Annotated[tuple[str, ...], Field(max_length=200)] = ()
    min_severity: Severity = Severity.INFO
    rate: Rate = Rate()
    timeout: str = "10s"
    give_up_after: str = "1h"

    @model_validator(mode="after")
    def _one(self) -> Destination:
        if (self.cloud_events is None) == (self.apprise is None):
            raise ValueError("set exactly one of cloudEvents and apprise")
        return self

    @field_validator("timeout", "give_up_after")
    @classmethod
    def _duration(cls, text: str) -> str:
        if not 1 <= seconds(text) <= 86400:
            raise ValueError("must be between 1s and 24h")
        return text

    def wants(self, alert: Alert) -> bool:
        """Whether an alert goes there."""
        return (
            alert.kind in self.kinds
            and alert.severity.rank >= self.min_severity.rank
            and (not self.namespaces or alert.subject.namespace in self.namespaces)
        )


TemplateKey = Kind | Literal["default"]


class Template(_Model):
    """Jinja2 templates of a message; what is absent is Weir's own."""

    title: Annotated[str, Field(max_length=4096)] | None = None
    body: Annotated[str, Field(max_length=16384)] | None = None


class Config(_Model):
    """The file ``config.yaml``."""

    cluster: Annotated[str, Field(max_length=100)] = ""
    destinations: Annotated[tuple[Destination, ...], Field(max_length=20)] = ()
    templates: Mapping[TemplateKey, Template] = Field(default_factory=dict)

    @field_validator("destinations")
    @classmethod
    def _named_once(cls, destinations: tuple[Destination, ...]) -> tuple[Destination, ...]:
        names = [d.name for d in destinations]
        if len(set(names)) != len(names):
            raise ValueError("two destinations have the same name")
        return destinations


@dataclass(frozen=True)
class Target:
    """A destination with its secrets. Two that are equal can stand for each other."""

    destination: Destination
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Files:
    """Content of the mounted files, as read in one go; equal ones need no second look."""

    config: bytes
    secrets: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)


def read(folder: Path) -> Files:
    """Reads the mounted files. Raises OSError, also where there is no ``config.yaml``: to send nothing is to say so."""
    file, secrets = folder / "config" / "config.yaml", folder / "secrets"
    found = []
    # The kubelet's own entries begin with two dots.
    for path in sorted(secrets.iterdir()) if secrets.is_dir() else ():
        if not path.name.startswith("..") and path.is_file():
            found.append((path.name, _content(path)))
    return Files(_content(file), tuple(found))


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_BYTES)


def parse(files: Files) -> Config:
    """The configuration in the files. Raises ConfigError."""
    try:
        content = yaml.safe_load(files.config) or {}
        return Config.model_validate(content)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"config.yaml is not YAML{where}") from None
    except ValidationError as error:
        raise ConfigError(f"config.yaml: {_problems(error)}") from None


def _problems(error: ValidationError) -> str:
    """Where and why, without what was written there: it may be a secret in the wrong place."""
    details = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(str(part) for part in d['loc'])}: {d['msg']}" for d in details[:5])


def target(destination: Destination, files: Files) -> Target:
    """The destination with its secrets. Raises ConfigError where a key is missing, naming it."""
    secrets, where = dict(files.secrets), f"destination {destination.name}"

    def secret(key: str) -> str:
        try:
            value = secrets[key].decode().strip()
        except KeyError:
            raise ConfigError(f"{where}: the Secret has no key {key}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{where}: key {key} of the Secret is not text") from None
        if not value or any(ord(c) < 32 for c in value):
            raise ConfigError(f"{where}: key {key} of the Secret must hold one line")
        return value

    if destination.apprise is not None:
        return Target(destination, secret(destination.apprise.url_key))
    hook = destination.cloud_events or CloudEvents()
    url = secret(hook.url_key) if hook.url_key is not None else hook.url or ""
    try:
        check_url(url)
    except ValueError as error:
        raise ConfigError(f"{where}: the URL {error}") from None
    return Target(destination, url, tuple((h.name, secret(h.key)) for h in hook.headers))


def targets(config: Config, files: Files) -> tuple[tuple[Target, ...], Sequence[str]]:
    """Destinations that can be used, and what is wrong with the others."""
    good, problems = [], []
    for destination in config.destinations:
        try:
            good.append(target(destination, files))
        except ConfigError as error:
            problems.append(str(error))
    return tuple(good), problems


def check_url(url: str) -> None:
    """Raises ValueError unless it is an HTTP URL without user and password; the text does not repeat it."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("cannot be read") from None
    if parts.scheme not in _HTTP or not host:
        raise ValueError("must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user or a password; put an Authorization header into the Secret")
