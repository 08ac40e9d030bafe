"""Settings of the operator process, from its environment."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from weir.api.base import seconds

_KINDS = ("jobs.batch",)
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
    check_image: str = "weir-check"
    """Image that runs contract checks where a contract names none."""
    check_role: str = "weir-check"
    """ClusterRole that lets the pods of checks write their results."""
    checks_at_once: int = 2
    """Contract checks that run at once in a namespace."""
    keep_checks: int = 5
    """Ended checks that are kept of each contract."""
    contract_sources: tuple[str, ...] = ()
    """URL prefixes (oci://, https://) that documents of contracts may be read from; none by default."""
    guardrails: Path | None = None
    """File with the admission policies that must be in force, as the chart renders them."""
    template_kinds: tuple[str, ...] = _KINDS
    """Kinds that templates of AgentPolicies may make or patch, each as plural.group."""
    require_cluster_policy: bool = False
    """Whether agents may do nothing but go back while there is no ClusterAgentPolicy."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Reads the WEIR_* variables that the chart sets, and the pod's own name and namespace.

        Raises ValueError where a value cannot be used, naming the variable.
        """
        port = environ.get("WEIR_HTTP_PORT", "8080")
        if not (port.isascii() and port.isdecimal()) or int(port) > 65535:
            raise ValueError(f"WEIR_HTTP_PORT must be a port number, not {port!r}")
        own = environ.get("WEIR_LEASE_NAMESPACE") or environ.get("POD_NAMESPACE") or _own_namespace()
        pod = environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"
        return cls(
            image=environ.get("WEIR_IMAGE", "weir-operator"),
            namespaces=_list(environ, "WEIR_NAMESPACES"),
            lease_namespace=own,
            identity=pod,
            log_level=environ.get("WEIR_LOG_LEVEL", "INFO"),
            port=int(port),
            keep_requests=_length(environ, "WEIR_ACTION_REQUESTS_KEEP_FOR", "168h"),
            notifications=Path(environ["WEIR_NOTIFICATIONS"]) if environ.get("WEIR_NOTIFICATIONS") else None,
            check_image=environ.get("WEIR_CHECK_IMAGE") or "weir-check",
            check_role=environ.get("WEIR_CHECK_ROLE") or "weir-check",
            checks_at_once=_count(environ, "WEIR_CHECKS_AT_ONCE", "2"),
            keep_checks=_count(environ, "WEIR_CONTRACT_CHECKS_KEEP", "5"),
            contract_sources=_list(environ, "WEIR_CONTRACT_SOURCES"),
            guardrails=Path(environ["WEIR_GUARDRAILS"]) if environ.get("WEIR_GUARDRAILS") else None,
            template_kinds=_list(environ, "WEIR_TEMPLATE_KINDS") if "WEIR_TEMPLATE_KINDS" in environ else _KINDS,
            require_cluster_policy=_truth(environ, "WEIR_REQUIRE_CLUSTER_POLICY"),
        )


def _list(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(sorted({part.strip() for part in environ.get(name, "").split(",") if part.strip()}))


def _count(environ: Mapping[str, str], name: str, default: str) -> int:
    text = environ.get(name) or default
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 1000):
        raise ValueError(f"{name} must be a number from 1 to 1000, not {text!r}")
    return int(text)


def _truth(environ: Mapping[str, str], name: str) -> bool:
    text = environ.get(name) or "false"
    if text not in ("true", "false"):
        raise ValueError(f"{name} must be true or false, not {text!r}")
    return text == "true"


def _length(environ: Mapping[str, str], name: str, default: str) -> float:
    try:
        return seconds(environ.get(name) or default)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _own_namespace() -> str:
    return _NAMESPACE_FILE.read_text().strip() if _NAMESPACE_FILE.exists() else "default"
