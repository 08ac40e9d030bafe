"""Plain requests to an API server, and a mirror of one of its collections that follows its changes."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import requests
import urllib3
from kubernetes import client, config

from weir.runtime.resources import KubeObject, Resource

urllib3.disable_warnings()

_TIMEOUT = 20.0
_INITIALIZING = "storage is (re)initializing"  # 429: nothing was read or written yet

T = TypeVar("T")


class Failure(Exception):
    """An answer of 400 or more; ``status`` is 0 where there was none."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Api:
    """An API server, as the user of a kubeconfig. Not for several threads."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        settings = client.Configuration()
        load: Any = config.load_kube_config
        load(str(kubeconfig), client_configuration=settings, persist_config=False)
        self.url = settings.host
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = settings.ssl_ca_cert or False
        if settings.cert_file and settings.key_file:
            self.session.cert = (settings.cert_file, settings.key_file)
        token = settings.get_api_key_with_prefix("authorization") or settings.get_api_key_with_prefix("BearerToken")
        if token:
            self.session.headers["Authorization"] = token

    def acting_as(self, user: str, group: str = "") -> Api:
        """The same API server as another user, by impersonation."""
        other = Api(self.kubeconfig)
        other.session.headers["Impersonate-User"] = user
        if group:
            other.session.headers["Impersonate-Group"] = group
        return other

    def user(self) -> str:
        """The user that the API server takes this one for."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        found = self.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
        return str(found["status"]["userInfo"]["username"])

    def call(
        self, verb: str, path: str, body: Any = None, content: str = "application/json", **query: str
    ) -> KubeObject:
        """The answer to one request, asked again while the server fills its cache of a kind; raises Failure."""
        deadline = time.monotonic() + _TIMEOUT
        while True:
            try:
                return self._once(verb, path, body, content, query)
            except Failure as failure:
                if _INITIALIZING not in failure.message or time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def _once(self, verb: str, path: str, body: Any, content: str, query: Mapping[str, str]) -> KubeObject:
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content, "Accept": "application/json"}
        try:
            answer = self.session.request(
                verb, self.url + path, params=query, data=data, headers=headers, timeout=_TIMEOUT
            )
        except requests.RequestException as error:
            raise Failure(0, str(error)) from error
        if answer.status_code >= 400:
            raise Failure(answer.status_code, _message(answer))
        found: KubeObject = answer.json()
        return found

    def get(self, resource: Resource, namespace: str | None, name: str) -> KubeObject:
        """One object."""
        return self.call("GET", resource.path(namespace, name))

    def find(self, resource: Resource, namespace: str | None, name: str) -> KubeObject | None:
        """One object, or None."""
        try:
            return self.get(resource, namespace, name)
        except Failure as failure:
            if failure.status == 404:
                return None
            raise

    def list(self, resource: Resource, namespace: str | None = None, selector: str = "") -> list[KubeObject]:
        """Objects of a namespace or of all."""
        query = {"labelSelector": selector} if selector else {}
        return list(self.call("GET", resource.path(namespace), **query)["items"])

    def create(self, resource: Resource, body: Mapping[str, Any]) -> KubeObject:
        """Create, strictly checked."""
        path = resource.path(body["metadata"].get("namespace"))
        return self.call("POST", path, {**_kind(resource), **body}, fieldValidation="Strict")

    def merge(
        self, resource: Resource, namespace: str | None, name: str, patch: Any, *, status: bool = False
    ) -> KubeObject:
        """Merge a patch into an object, or into its status."""
        path = resource.path(namespace, name, "status" if status else None)
        return self.call("PATCH", path, patch, "application/merge-patch+json")

    def delete(self, resource: Resource, namespace: str | None, name: str) -> None:
        """Delete an object."""
        self.call("DELETE", resource.path(namespace, name))


def _kind(resource: Resource) -> dict[str, str]:
    return {"apiVersion": resource.api_version, "kind": resource.kind}


def _message(answer: requests.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:300]


class Mirror:
    """Keeps a copy of a collection and tells of every change, until stopped; a lost connection is made anew."""

    def __init__(
        self,
        api: Api,
        resource: Resource,
        changed: Callable[[KubeObject], None] = lambda _: None,
        *,
        selector: str = "",
    ) -> None:
        self._api = api
        self._resource = resource
        self._changed = changed
        self._selector = {"labelSelector": selector} if selector else {}
        self._objects: dict[tuple[str, str], KubeObject] = {}
        self._stopped = threading.Event()
        threading.Thread(target=self._run, daemon=True, name=f"mirror {resource.plural}").start()

    def objects(self) -> list[KubeObject]:
        """What there is now."""
        return list(self._objects.values())

    def get(self, namespace: str, name: str) -> KubeObject | None:
        """One object, if it is there."""
        return self._objects.get((namespace, name))

    def stop(self) -> None:
        """Follow no more."""
        # The stream is left to end by itself: closing it from here would wait for its next line.
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(requests.RequestException, Failure, ValueError, AttributeError, OSError):
                self._follow()
            self._stopped.wait(0.2)

    def _follow(self) -> None:
        listed = self._api.call("GET", self._resource.path(None), **self._selector)
        items = {_key(item): item for item in listed["items"]}
        for gone in self._objects.keys() - items.keys():
            self._objects.pop(gone, None)
        for item in items.values():
            self._put(item)
        query = {"watch": "1", "resourceVersion": listed["metadata"]["resourceVersion"], **self._selector}
        url = self._api.url + self._resource.path(None)
        with self._api.session.get(url, params=query, stream=True, timeout=(5, 300)) as answer:
            for line in answer.iter_lines(chunk_size=None):
                if self._stopped.is_set():
                    return
                event = json.loads(line)
                if event["type"] == "DELETED":
                    self._objects.pop(_key(event["object"]), None)
                elif event["type"] in ("ADDED", "MODIFIED"):
                    self._put(event["object"])
                else:
                    return

    def _put(self, item: KubeObject) -> None:
        self._objects[_key(item)] = item
        self._changed(item)


def _key(item: KubeObject) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def eventually(look: Callable[[], T], what: str, *, within: float = 30.0, every: float = 0.05) -> T:
    """The first true answer of ``look``; fails with its last answer after ``within`` seconds."""
    ends = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < ends, f"not within {within:g} s: {what}; last seen: {found!r}"
        time.sleep(every)
