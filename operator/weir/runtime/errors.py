"""What the API server (or the way to it) can answer, as types that say what to do next."""

import json
from collections.abc import Mapping
from typing import Any

_JSON_PATCH = "application/json-patch+json"
# The API server turns a failed `test` of a JSON patch into this text and hides the operation that failed.
_PATCH_NOT_APPLICABLE = ("due to an error in our request", "test failed", "testing value", "remove operation does not")
# What an API server that has just started answers (with 422) until it has found the kinds that admission policies read.
_NOT_READY = ("failed to find resource referenced by paramKind", "not yet synced to use for admission")


class ApiError(Exception):
    """A request that did not succeed.

    Attributes:
        status: HTTP status, 0 when there was no answer.
        reason: the API server's CamelCase reason, or a class of failure such as `Timeout`.
        message: one line for people, with the API server's field causes.
        causes: the API server's causes, `field: message` each.
        retry_after: seconds that the server asks to wait, if it does.
    """

    terminal = False
    """True when the same request will fail again until somebody changes its content."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        causes: tuple[str, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes
        self.retry_after = retry_after


class NotFound(ApiError):
    """404: the object, or its kind, does not exist."""


class Conflict(ApiError):
    """409, or a JSON patch whose `test` failed: somebody else wrote first; read again and decide again, silently."""


class FieldConflict(Conflict):
    """409 of a server-side apply without force: another field manager holds a field; `causes` names both."""


class AlreadyExists(ApiError):
    """409 on create: an object of that name is there."""


class Invalid(ApiError):
    """400, 413 or 422: schema, CEL or admission refused the content; the same request will never pass."""

    terminal = True


class Forbidden(ApiError):
    """403: RBAC, quota or an admission webhook says no; the message names verb and resource."""


class NamespaceEnding(Forbidden):
    """403: the namespace is being deleted; nothing can be created in it any more, and all that is there will go."""


class Unauthorized(ApiError):
    """401: the credentials are not (or no longer) accepted."""


class Expired(ApiError):
    """410: the continue token or resourceVersion is too old; list again."""


class Throttled(ApiError):
    """429: the server is busy; wait `retry_after` seconds if given."""


class Unavailable(ApiError):
    """5xx, no connection, timeout, or an answer that is not JSON; a write may have happened or not: read again."""


class Starting(Unavailable):
    """The API server has just started and refuses all that admission policies guard, for up to half a minute."""


class Fenced(ApiError):
    """The write was not sent, because this process does not hold the leadership any more."""


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    410: Expired,
    413: Invalid,
    422: Invalid,
    429: Throttled,
}


def error_from_response(
    status: int, body: bytes, *, verb: str, target: str, content_type: str = "", retry_after: str | None = None
) -> ApiError:
    """The typed error for an HTTP answer.

    Args:
        status: the HTTP status, >= 400.
        body: the answer; a `Status` object, or anything at all from a proxy in between.
        verb: the method, for the message.
        target: what was asked for, for the message.
        content_type: of the request; a JSON patch is judged differently.
        retry_after: the header of that name.
    """
    answer = _status_object(body)
    details = answer.get("details") or {}
    raw_causes = [cause for cause in details.get("causes") or [] if isinstance(cause, dict)]
    causes = tuple(_cause_text(cause) for cause in raw_causes)
    reason = str(answer.get("reason") or "")
    text = str(answer.get("message") or body[:200].decode("utf-8", "replace").strip() or "no message")
    missing_causes = [cause for cause in causes if cause.split(": ", 1)[-1] not in text]
    message = f"{verb} {target}: {text}" + (f" ({'; '.join(missing_causes)})" if missing_causes else "")
    seconds = _seconds(retry_after) if retry_after is not None else _seconds(details.get("retryAfterSeconds"))
    kind = _kind_of(status, reason, text, raw_causes, content_type)
    return kind(message, status=status, reason=reason, causes=causes, retry_after=seconds)


def _kind_of(status: int, reason: str, text: str, causes: list[dict[str, Any]], content_type: str) -> type[ApiError]:
    if status == 409:
        if reason == "AlreadyExists":
            return AlreadyExists
        managed = any(cause.get("reason") == "FieldManagerConflict" for cause in causes)
        return FieldConflict if managed else Conflict
    if status == 403 and any(cause.get("reason") == "NamespaceTerminating" for cause in causes):
        return NamespaceEnding
    if status in (403, 422) and any(part in text for part in _NOT_READY):
        return Starting
    patched = status == 422 and content_type == _JSON_PATCH and not causes
    if patched and any(part in text for part in _PATCH_NOT_APPLICABLE):
        return Conflict
    if status >= 500:
        # An apply with a field that the schema does not know is answered with 500; retrying it would never end.
        return Invalid if "failed to create typed patch object" in text else Unavailable
    return _BY_STATUS.get(status, ApiError)


def _cause_text(cause: dict[str, Any]) -> str:
    field, message = cause.get("field"), str(cause.get("message") or cause.get("reason") or "")
    return f"{field}: {message}" if field else message


def _status_object(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _seconds(value: object) -> float | None:
    try:
        return max(0.0, float(str(value))) if value is not None else None
    except ValueError:
        return None
