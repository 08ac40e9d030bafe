"""Settings of the operator process, from its environment."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from weir.api.base import seconds

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class Settings:
    """What the chart sets; every field has a default that works outside a cluster."""

    image: str
    """Image that the fetching init containers run: the operator's own."""
    namespaces: tuple[str, ...]
    """Namespaces to serve; empty for all."""
    lease_namespace: str
    identity: str
    """Unique name of this process."""
    log_level: str
    port: int
    """Port of /healthz, /readyz and /metrics."""
    keep_requests: float = 168 * 3600.0
    """Seconds that finished ActionRequests are kept; 0 is for ever."""
    notifications: Path | None = None
    """Folder with the configuration and the secrets of notifications; without one there are none."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Reads the WEIR_* variables that the chart sets, and the pod's own name and namespace.

        Raises ValueError where a value cannot be used, naming the variable.
        """
        port = environ.get("WEIR_HTTP_PORT", "8080")
        if not (port.isascii() and port.isdecimal()) or int(port) > 65535:
            raise ValueError(f"WEIR_HTTP_PORT must be a port number, not {port!r}")
        namespaces = tuple(sorted({n.strip() for n in environ.get("WEIR_NAMESPACES", "").split(",") if n.strip()}))
        own = environ.get("WEIR_LEASE_NAMESPACE") or environ.get("POD_NAMESPACE") or _own_namespace()
        pod = environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"
        return cls(
            image=environ.get("WEIR_IMAGE", "weir-operator"),
            namespaces=namespaces,
            lease_namespace=own,
            identity=pod,
            log_level=environ.get("WEIR_LOG_LEVEL", "INFO"),
            port=int(port),
            keep_requests=_length(environ, "WEIR_ACTION_REQUESTS_KEEP_FOR", "168h"),
            notifications=Path(environ["WEIR_NOTIFICATIONS"]) if environ.get("WEIR_NOTIFICATIONS") else None,
        )


def _length(environ: Mapping[str, str], name: str, default: str) -> float:
    try:
        return seconds(environ.get(name) or default)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _own_namespace() -> str:
    return _NAMESPACE_FILE.read_text().strip() if _NAMESPACE_FILE.exists() else "default"
