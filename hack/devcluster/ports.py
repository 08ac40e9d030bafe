"""Ports for programs that are started here."""

from __future__ import annotations

import random
import socket
import threading

_RANGE = range(20_000, 30_000)
"""Below the ports that Linux gives to outgoing connections, and below those of Services of type NodePort."""

_given: set[int] = set()
_lock = threading.Lock()


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; this process gives each of them once.

    No outgoing connection takes one of them before its program listens, nor while that is started again.

    Raises:
        OSError: so many are not free.
    """
    with _lock:
        found: list[int] = []
        for port in random.sample(_RANGE, len(_RANGE)):
            if len(found) == count:
                break
            if port not in _given and _is_free(port):
                found.append(port)
        if len(found) < count:
            raise OSError(f"no {count} ports are free between {_RANGE.start} and {_RANGE.stop - 1}")
        _given.update(found)
        return found


def _is_free(port: int) -> bool:
    with socket.socket() as opened:
        try:
            opened.bind(("", port))
        except OSError:
            return False
    return True
