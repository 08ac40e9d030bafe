"""YAML that every reader takes for the same values: parsers differ in which plain words are texts."""

from __future__ import annotations

import re
from typing import Any

import yaml

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*(?: [A-Za-z0-9_./-]+)*")
"""Begins with a letter, so it is no number or date of any version of YAML."""
_WORDS = frozenset({"y", "yes", "n", "no", "true", "false", "on", "off", "null", "none", "nan", "inf"})
"""What some reader takes for a boolean, for null or for a number."""


class _Dumper(yaml.SafeDumper):
    """Puts every text in quotes that is not plain beyond doubt."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        style = None
    else:
        # YAML 1.1 breaks lines at characters that are nothing special in 1.2; between double quotes they are escaped.
        style = "'" if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def yaml_text(value: Any, width: int = 120) -> str:
    """The value as YAML in the order of its keys; what YAML 1.1 and 1.2 read differently is in quotes."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width))
