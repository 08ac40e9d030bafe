"""Where the API server is and as whom to speak to it: a kubeconfig, or the pod's own service account.

The `kubernetes` package reads all of a kubeconfig but whom its user stands in for (`as`), so this is read here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kubernetes.aio import config as kube_config
from kubernetes.aio.client import Configuration
from kubernetes.aio.config.kube_config import KubeConfigLoader, KubeConfigMerger

from .errors import ApiError

Headers = tuple[tuple[str, str], ...]
"""Names and values of headers; a name may occur more than once."""


async def load(kubeconfig: str | None, context: str | None) -> Configuration:
    """How to reach the cluster of `kubeconfig`, else $KUBECONFIG, else the pod's own, else ~/.kube/config.

    Raises:
        ApiError: no usable configuration was found; the message says where it looked.
    """
    configuration = Configuration()
    path = _path(kubeconfig, context)
    try:
        if path is None:
            load_service_account: Any = kube_config.load_incluster_config
            load_service_account(client_configuration=configuration)
            return configuration
        # persist_config would write refreshed tokens into the user's file.
        load_file: Any = kube_config.load_kube_config
        await load_file(config_file=path, context=context, client_configuration=configuration, persist_config=False)
    except (kube_config.ConfigException, OSError, ValueError, TypeError) as exc:
        raise ApiError(f"cannot connect to a cluster with {path or 'the service account'}: {exc}") from exc
    return configuration


def stands_in(kubeconfig: str | None, context: str | None) -> Headers:
    """Headers for whom the kubeconfig's user stands in (`as`, `as-uid`, `as-groups`, `as-user-extra`); empty: nobody.

    Raises:
        ApiError: it names groups, a uid or extras but no user, or something that is no text.
    """
    path = _path(kubeconfig, context)
    if path is None:
        return ()
    try:
        told = tuple(_headers(_user(path, context)))
    except (kube_config.ConfigException, OSError, ValueError, TypeError, AttributeError) as exc:
        raise ApiError(f"cannot tell whom the user of {path} stands in for: {exc}") from exc
    if told and not any(name == "Impersonate-User" for name, _ in told):
        raise ApiError(f"the user of {path} has as-uid, as-groups or as-user-extra, but no `as`: name a user there")
    return told


def _path(kubeconfig: str | None, context: str | None) -> str | None:
    """The kubeconfig to read; None where the pod's service account is meant."""
    path = kubeconfig or os.environ.get("KUBECONFIG")
    if path is None and context is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        return None
    return path or str(Path.home() / ".kube" / "config")


def _user(path: str, context: str | None) -> Mapping[str, Any]:
    """What the kubeconfig says of the user of the context; empty where the context names none."""
    merge: Any = KubeConfigMerger
    merged = merge(path).config
    loader: Any = KubeConfigLoader
    name = loader(config_dict=merged, active_context=context).current_context["context"].get("user")
    found = merged["users"].get_with_name(name, safe=True) if name and "users" in merged else None
    return found.value.get("user") or {} if found is not None else {}


def _headers(user: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, header in (("as", "Impersonate-User"), ("as-uid", "Impersonate-Uid")):
        if user.get(key):
            yield header, _text(key, user[key])
    for group in user.get("as-groups") or ():
        yield "Impersonate-Group", _text("as-groups", group)
    for key, values in (user.get("as-user-extra") or {}).items():
        for value in values:
            yield f"Impersonate-Extra-{quote(str(key), safe='')}", _text("as-user-extra", value)


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError(f"{key} must be text in one line")
    return value
