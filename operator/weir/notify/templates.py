"""Messages for people from templates: Jinja2 in a sandbox, with a text of our own wherever a template fails."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Template as Compiled
from jinja2 import TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from weir.notify.alerts import Alert, Kind, moment, one_line
from weir.notify.config import Template, TemplateKey
from weir.notify.metrics import NotifyMetrics

_log = logging.getLogger(__name__)

TITLE = "{% if cluster %}[{{ cluster }}] {% endif %}{{ title }}"
BODY = "{{ text }}"
VARIABLES = frozenset(
    {"id", "kind", "severity", "cluster", "namespace", "rollout", "at", "title", "text", "release", "version", "facts"}
)
"""What a template may use."""

MAX_TITLE = 250
MAX_BODY = 8000
_MAX_LISTED = 20

# Chat services wake everybody for these; only a template may say them, never a Rollout's text.
_MENTION = re.compile(r"@(?=(?:everyone|here|channel|all)\b(?![.-]?\w))|(?<=<)(?=[!@#])", re.IGNORECASE)
_NOTHING = "\N{WORD JOINER}"


@dataclass(frozen=True)
class Text:
    """A message as people read it."""

    title: str
    body: str


class Templates:
    """Templates by kind of alert. What does not compile is left out, and named in ``problems``."""

    def __init__(
        self, given: Mapping[TemplateKey, Template], cluster: str = "", metrics: NotifyMetrics | None = None
    ) -> None:
        """``given``: what the configuration says, by kind, or for all others under ``default``."""
        self._environment = ImmutableSandboxedEnvironment(autoescape=False)
        self._cluster, self._metrics = cluster, metrics if metrics is not None else NotifyMetrics()
        self._own = (self._environment.from_string(TITLE), self._environment.from_string(BODY))
        self._given: dict[tuple[str, str], Compiled] = {}
        problems = []
        for kind, template in given.items():
            for part, source in (("title", template.title), ("body", template.body)):
                if source is None:
                    continue
                try:
                    self._given[str(kind), part] = self._compiled(source)
                except (TemplateError, RecursionError) as error:
                    problems.append(f"template {kind}.{part}: {one_line(str(error))[:300]}")
        self.problems: Sequence[str] = tuple(problems)

    def _compiled(self, source: str) -> Compiled:
        unknown = meta.find_undeclared_variables(self._environment.parse(source)) - VARIABLES
        if unknown:
            raise TemplateError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(sorted(VARIABLES))}")
        return self._environment.from_string(source)

    def render(self, alerts: Sequence[Alert], dropped: int = 0) -> Text:
        """The message for one alert, or one that sums up several. ``dropped``: how many had to be left out."""
        if len(alerts) == 1 and not dropped:
            return self._one(alerts[0])
        title = f"{len(alerts)} notifications" + (f", {dropped} more were dropped" if dropped else "")
        context = {"cluster": defused(self._cluster), "title": title}
        lines = [f"- {defused(alert.title)} ({moment(alert.at)})" for alert in alerts[:_MAX_LISTED]]
        if len(alerts) > _MAX_LISTED:
            lines.append(f"… and {len(alerts) - _MAX_LISTED} more: kubectl weir get --all-namespaces")
        if dropped:
            lines.append(f"{dropped} older ones were dropped, because too many waited.")
        return Text(_cut(_line(self._own[0].render(context)), MAX_TITLE), _cut("\n".join(lines), MAX_BODY))

    def _one(self, alert: Alert) -> Text:
        context = self._context(alert)
        title = self._part(alert.kind, "title", context, self._own[0])
        body = self._part(alert.kind, "body", context, self._own[1])
        return Text(_cut(_line(title), MAX_TITLE), _cut(body.strip(), MAX_BODY))

    def _part(self, kind: Kind, part: str, context: Mapping[str, Any], own: Compiled) -> str:
        template = self._given.get((kind, part)) or self._given.get(("default", part))
        if template is not None:
            try:
                made = template.render(context)
                if made.strip():
                    return made
                why = "it gave no text"
            except Exception as error:  # a template of the user's may raise anything; the alert must not get lost
                why = f"{type(error).__name__}: {one_line(str(error))[:300]}"
            self._metrics.template_errors.labels(str(kind)).inc()
            _log.warning("a template failed, Weir's own text is sent", extra={"template": f"{kind}.{part}", "why": why})
        return own.render(context)

    def _context(self, alert: Alert) -> dict[str, Any]:
        facts = {name: defused(value) for name, value in alert.facts.items()}
        return {
            "id": alert.id,
            "kind": str(alert.kind),
            "severity": str(alert.severity),
            "cluster": defused(self._cluster),
            "namespace": alert.subject.namespace,
            "rollout": alert.subject.name,
            "at": moment(alert.at),
            "title": defused(alert.title),
            "text": defused(alert.text),
            "release": facts.get("release", ""),
            "version": facts.get("version", ""),
            "facts": facts,
        }


def defused(text: str) -> str:
    """Text that wakes nobody: mentions of chat services are broken by a character that is not seen."""
    return _MENTION.sub(lambda found: found.group() + _NOTHING, text)


def _line(text: str) -> str:
    return " ".join(text.split())


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
