"""Which version a Rollout asks for, what would run for it, and what its objects are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from weir.api.base import format_time
from weir.api.modelversion import ModelVersionSpec, canonical, sha256, version_digest
from weir.api.rollout import RolloutSpec
from weir.release.observation import Problem, Target
from weir.runtime.resources import KubeObject
from weir.workload.writes import bounded

_RULE = 1
"""Number of the rule by which revisions are made; a new rule must not make every running version look new."""

_MAX_BASE = 50
_MAX_POD_BASE = 58
_LONGEST_SUFFIX = len("-12345678-1234567890-")
_SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


def revision(digest: str, template: Mapping[str, Any] | None) -> str:
    """Identity of what would run: the version's digest together with the pod template it is merged into."""
    return sha256(canonical({"rule": _RULE, "digest": digest, "template": template or None}))


def pool_name(rollout: str, revision: str) -> str:
    """Name of a pool's Deployment and Service: the Rollout's name and eight hexadecimal digits; a valid label, too."""
    return f"{_base(rollout)}-{_short_hash(rollout, revision)}"


def pod_pattern(rollout: str) -> str:
    """Regular expression (RE2, for a whole name) of the pods of all pools that a Rollout ever had.

    ``<pool>-<hash of the ReplicaSet>-<five characters>``; Kubernetes cuts a pod's name before the last five characters
    at 58, so that of a long one only a part of the pool's digits is sure to be there.
    """
    base = _base(rollout)
    if len(base) + _LONGEST_SUFFIX <= _MAX_POD_BASE:
        return f"{base}-[0-9a-f]{{8}}-[a-z0-9]+-[a-z0-9]{{5}}"
    return f"{base}-[0-9a-f]{{7}}[-a-z0-9]+"


def derived_name(rollout: str, suffix: str = "") -> str:
    """``<rollout>-<suffix>`` as a name that a Service and a label may have.

    A Rollout's name may hold dots, start with a digit or be 253 characters long; such a name is shortened and gets a
    hash, so that two Rollouts never share a derived name.
    """
    name = f"{rollout}-{suffix}" if suffix else rollout
    if len(name) <= 63 and _SERVICE_NAME.fullmatch(name):
        return name
    base = f"{_base(rollout)[:40].rstrip('-')}-{_short_hash(rollout)}"
    return f"{base}-{suffix}" if suffix else base


def label_value(text: str) -> str:
    """The text as a label's value: unchanged where it is one, else shortened, with a hash."""
    if len(text) <= 63 and _LABEL_VALUE.fullmatch(text):
        return text
    cleaned = re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:_MAX_BASE].strip("-_.") or "x"
    return f"{cleaned}-{_short_hash(text)}"


def short_revision(revision: str) -> str:
    """First twelve hexadecimal digits of a revision, for labels and people."""
    return revision.removeprefix("sha256:")[:12]


def _base(rollout: str) -> str:
    cleaned = re.sub(r"[^a-z0-9-]", "-", rollout.lower()).strip("-")
    if not cleaned or not cleaned[0].isalpha():
        cleaned = f"r{cleaned}"
    return cleaned[:_MAX_BASE].rstrip("-")


def _short_hash(*parts: str) -> str:
    return sha256("\n".join(parts)).removeprefix("sha256:")[:8]


def target(
    rollout: str,
    spec: RolloutSpec,
    version: KubeObject | None,
    now: float,
    pools_in_use: Mapping[str, str] | None = None,
    *,
    name: str | None = None,
) -> tuple[Target | None, Problem | None]:
    """The version that the spec asks for, and what is wrong with it; exactly one of the two is None.

    Args:
        rollout: name of the Rollout.
        spec: its spec.
        version: the ModelVersion object of that name, None where there is none.
        now: seconds since the epoch, for ``support.retiredAfter``.
        pools_in_use: pool → revision of the versions that have traffic; two versions must not share one Service.
        name: of the ModelVersion that is wanted, by default the one that ``spec.versionRef`` names.
    """
    named = spec.version_ref.name
    name = name or named
    if version is None:
        why = "spec.versionRef.name" if name == named else f"asked for in place of {named}"
        return None, Problem("ModelVersionNotFound", f"no ModelVersion {name} in this namespace ({why})")
    if version["metadata"].get("deletionTimestamp"):
        return None, Problem("ModelVersionDeleting", f"ModelVersion {name} is being deleted")
    try:
        content = ModelVersionSpec.model_validate(version.get("spec") or {})
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return None, Problem(
            "ModelVersionInvalid", bounded(f"ModelVersion {name}: spec.{where}: {first['msg']}"), terminal=True
        )
    retired = content.support.retired_after if content.support else None
    if retired is not None and now >= retired:
        return None, Problem("ModelVersionRetired", _retired(name, content, retired), terminal=True)
    digest = version_digest(content)
    made = revision(digest, spec.template)
    pool = content.runtime.service_ref.name if content.runtime.service_ref else pool_name(rollout, made)
    other = (pools_in_use or {}).get(pool)
    if other is not None and other != made:
        return None, Problem(
            "ServiceShared",
            f"ModelVersion {name} names Service {pool}, which already serves another version of this Rollout: "
            "no share of traffic could tell them apart; give each version a Service of its own",
            terminal=True,
        )
    return Target(version=name, label=content.version, digest=digest, revision=made, pool=pool), None


def _retired(name: str, content: ModelVersionSpec, since: float) -> str:
    instead = content.support.replaced_by if content.support else None
    hint = f"; use {instead}" if instead else ""
    return f"ModelVersion {name} was retired at {format_time(since)} (spec.support.retiredAfter){hint}"
