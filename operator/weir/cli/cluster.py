"""The cluster that a command speaks to: which one, as whom, and what is there."""

from __future__ import annotations

import asyncio
import difflib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weir.cli.failure import INTERRUPTED, CliError, told
from weir.runtime.resources import (
    ACTION_REQUESTS,
    LEASES,
    MODEL_VERSIONS,
    OPERATOR_LEASE,
    ROLLOUT_RECORDS,
    ROLLOUTS,
    KubeObject,
    Resource,
)

if TYPE_CHECKING:
    from weir.runtime.client import KubeClient

_WHO_AM_I = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False)
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_SHOWN = 8


@dataclass(frozen=True)
class Where:
    """What the options say about the place; empty is the kubeconfig's choice."""

    namespace: str = ""
    context: str = ""
    kubeconfig: str = ""

    def files(self) -> list[Path]:
        """Kubeconfig files that are there."""
        named = self.kubeconfig or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        return [Path(name) for name in named.split(os.pathsep) if name and Path(name).is_file()]

    def contexts(self) -> tuple[dict[str, Any], str]:
        """Contexts of the kubeconfig by name, and the name of the current one."""
        import yaml

        found: dict[str, Any] = {}
        current = ""
        for file in self.files():
            content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
            current = current or str(content.get("current-context") or "")
            for entry in content.get("contexts") or []:
                found.setdefault(str(entry["name"]), entry.get("context") or {})
        return found, current

    @property
    def in_pod(self) -> bool:
        """Whether the pod's own service account is used: nothing names another cluster."""
        named = self.kubeconfig or self.context or os.environ.get("KUBECONFIG")
        return not named and "KUBERNETES_SERVICE_HOST" in os.environ

    def resolved(self) -> Where:
        """The same with the namespace that it stands for.

        Raises:
            CliError: there is no kubeconfig, it cannot be read, or it has no such context.
        """
        if self.in_pod:
            own = _POD_NAMESPACE.read_text(encoding="utf-8").strip() if _POD_NAMESPACE.is_file() else ""
            return Where(self.namespace or own or "default")
        if not self.files():
            named = self.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
            raise CliError(f"no kubeconfig at {named}; name one with --kubeconfig or KUBECONFIG")
        contexts, current = self._readable()
        chosen = self.context or current
        if chosen not in contexts:
            raise CliError(_no_context(chosen, sorted(contexts)))
        namespace = self.namespace or str(contexts[chosen].get("namespace") or "") or "default"
        return Where(namespace, self.context, self.kubeconfig)

    def _readable(self) -> tuple[dict[str, Any], str]:
        try:
            return self.contexts()
        except Exception as error:
            # YAML errors, odd types, odd encodings: the file is the user's, and all of it means the same.
            names = os.pathsep.join(str(file) for file in self.files())
            raise CliError(f"cannot read the kubeconfig {names}: {' '.join(str(error).split())}") from error


def _no_context(chosen: str, there: Sequence[str]) -> str:
    if not chosen:
        return f"the kubeconfig has no current context; use --context with one of {_some(there)}"
    return f"no context {chosen!r} in the kubeconfig{_meant(chosen, there)}"


def _meant(name: str, there: Sequence[str]) -> str:
    """What else could have been meant, to be put behind a sentence."""
    near = difflib.get_close_matches(name, there, n=3, cutoff=0.5)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; there is {_some(there)}" if there else ""


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


class Cluster:
    """What commands read, in one namespace."""

    def __init__(self, client: KubeClient, where: Where) -> None:
        self.client = client
        self.where = where
        self.namespace = where.namespace

    async def rollout(self, name: str) -> KubeObject:
        """The Rollout of that name; without a name the only one of the namespace.

        Raises:
            CliError: there is none; names what could have been meant.
        """
        from weir.runtime.errors import NotFound

        if not name:
            return await self._only()
        try:
            return await self.client.get(ROLLOUTS, name, self.namespace)
        except NotFound:
            raise CliError(await self._not_there(name)) from None

    async def _only(self) -> KubeObject:
        found = await self.rollouts()
        if len(found) == 1:
            return found[0]
        names = sorted(item["metadata"]["name"] for item in found)
        if names:
            raise CliError(f"namespace {self.namespace} has {len(names)} Rollouts; name one: {_some(names)}")
        raise CliError(
            f"no Rollout in namespace {self.namespace}; use -n NAMESPACE, or see all with: kubectl weir get -A"
        )

    async def _not_there(self, name: str) -> str:
        """Why a Rollout was not found, and what to do."""
        from weir.runtime.errors import ApiError

        names = sorted(item["metadata"]["name"] for item in await self.rollouts())
        missing = f"no Rollout {name!r} in namespace {self.namespace}"
        with suppress(ApiError):
            everywhere = (await self.client.list(ROLLOUTS)).items
            places = sorted({i["metadata"]["namespace"] for i in everywhere if i["metadata"]["name"] == name})
            if places:
                return f"{missing}, but in {_some(places)}: use -n {places[0]}"
        return missing + _meant(name, names)

    async def rollouts(self, *, everywhere: bool = False) -> list[KubeObject]:
        """Rollouts of the namespace, or of all.

        Raises:
            CliError: the cluster does not know the kind.
        """
        from weir.runtime.errors import NotFound

        try:
            return (await self.client.list(ROLLOUTS, None if everywhere else self.namespace)).items
        except NotFound:
            raise CliError(not_installed(self.where)) from None

    async def requests(self, name: str) -> list[KubeObject]:
        """ActionRequests that name this Rollout; none where they may not be read."""
        return [r for r in await self._optional(ACTION_REQUESTS) if refers_to(r, name)]

    async def records(self, name: str) -> list[KubeObject]:
        """RolloutRecords of this Rollout; none where they may not be read."""
        found = await self._optional(ROLLOUT_RECORDS)
        return [r for r in found if (r.get("spec") or {}).get("rollout") == name]

    async def versions(self) -> list[KubeObject]:
        """ModelVersions of the namespace; none where they may not be read."""
        return await self._optional(MODEL_VERSIONS)

    async def leases(self) -> list[KubeObject]:
        """The operators' Leases, in whatever namespace they run; none, where they may not be read, says nothing."""
        from weir.runtime.errors import Forbidden, NotFound

        with suppress(Forbidden, NotFound):
            return (await self.client.list(LEASES, field_selector=f"metadata.name={OPERATOR_LEASE}")).items
        return []

    async def _optional(self, resource: Resource) -> list[KubeObject]:
        from weir.runtime.errors import Forbidden, NotFound

        with suppress(Forbidden, NotFound):
            return (await self.client.list(resource, self.namespace)).items
        return []

    async def user(self) -> str:
        """Who the API server takes us for; empty where it does not say."""
        from weir.runtime.errors import Forbidden, NotFound

        body = {"apiVersion": _WHO_AM_I.api_version, "kind": _WHO_AM_I.kind, "metadata": {}}
        with suppress(Forbidden, NotFound):
            answer = await self.client.create(_WHO_AM_I, body)
            return str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "")
        return ""


def refers_to(request: KubeObject, rollout: str) -> bool:
    """Whether an ActionRequest is for that Rollout."""
    return bool(((request.get("spec") or {}).get("rolloutRef") or {}).get("name") == rollout)


def not_installed(where: Where) -> str:
    """What to say where the API server does not know the kinds."""
    named = f" (context {where.context})" if where.context else ""
    return (
        f"Weir is not installed in this cluster{named}: it has no Rollouts of weir.dev; "
        "install the Helm chart charts/weir, or use another --context"
    )


@asynccontextmanager
async def connected(where: Where, *, seconds: float = 10.0) -> AsyncIterator[Cluster]:
    """The cluster of these options; ``seconds``: how long a request may take."""
    from weir.runtime.client import KubeClient

    found = where.resolved()
    client = await KubeClient.connect(
        kubeconfig=found.kubeconfig or None,
        context=found.context or None,
        field_manager="kubectl-weir",
        request_seconds=seconds,
    )
    async with client:
        yield Cluster(client, found)


def run(where: Where, work: Callable[[Cluster], Awaitable[int]]) -> int:
    """The exit code of ``work`` in that cluster.

    Raises:
        CliError: what to tell the user, instead of an error of the API server.
    """
    from weir.runtime.errors import ApiError

    async def main() -> int:
        async with connected(where) as cluster:
            return await work(cluster)

    try:
        return asyncio.run(main())
    except ApiError as error:
        raise told(error) from error
    except KeyboardInterrupt:
        return INTERRUPTED
