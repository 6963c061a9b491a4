"""Ports for programs that are started later."""

import socket
from pathlib import Path

import pytest

from infscale.demo.child_processes import free_ports
from infscale.errors import StartError

OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_free_ports_can_be_listened_on_and_no_outgoing_connection_takes_them() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass
    if OUTGOING.exists():
        lowest, highest = map(int, OUTGOING.read_text().split())
        assert not [port for port in ports if lowest <= port <= highest]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.7"])
def test_a_port_that_somebody_listens_on_is_not_free(address: str) -> None:
    (taken,) = free_ports(1)
    with socket.create_server((address, taken)):
        assert taken not in free_ports(9_000)


def test_more_ports_than_there_are_is_an_error() -> None:
    with pytest.raises(StartError, match="fewer than 20000 ports between"):
        free_ports(20_000)
