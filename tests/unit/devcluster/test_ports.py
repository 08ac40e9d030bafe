"""Ports that are given to programs which begin to listen a little later."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from devcluster import ports


def test_given_many_who_ask_at_once_then_no_port_is_given_twice() -> None:
    with ThreadPoolExecutor(8) as pool:
        found = [port for some in pool.map(ports.free_ports, [3] * 30) for port in some]
    assert len(set(found)) == 90


def test_given_a_port_that_is_listened_on_then_it_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    [port, other] = ports.free_ports(2)
    monkeypatch.setattr(ports, "_given", set())
    monkeypatch.setattr(ports, "_RANGE", [port, other])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert ports.free_ports(1) == [other]


def test_given_too_few_ports_then_it_says_so_and_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    [port] = ports.free_ports(1)
    monkeypatch.setattr(ports, "_given", set())
    monkeypatch.setattr(ports, "_RANGE", range(port, port + 1))
    with pytest.raises(OSError, match="no 2 ports are free"):
        ports.free_ports(2)
    assert ports.free_ports(1) == [port]


def test_given_a_kernel_as_installed_then_it_takes_none_of_them_for_connections() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    if first < 30_000:
        pytest.skip(f"outgoing connections begin at port {first} here")
    assert max(ports.free_ports(5)) < first
