"""The network profiler passes the suite for all profilers."""

import socket

import pytest

from rover_core.testing import ProfilerConformance
from rover_network.profiler import NetworkProfiler, create
from rover_network.settings import NetworkSettings


@pytest.mark.kernel
class TestNetwork(ProfilerConformance):
    def make(self) -> NetworkProfiler:
        return create(NetworkSettings())

    def work(self) -> None:
        """What this profiler sees is not work but talk."""
        here, there = socket.socketpair()
        with here, there:
            for _ in range(20):
                here.send(b"hello")
                there.recv(100)
