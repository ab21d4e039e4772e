"""`rover doctor --backend` says what is wrong, and what to do."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from certificates import Authority
from skywalking_backend import Backend, BackendThread

from rover_core.api import Diagnostic, Health
from rover_core.config.loading import load_settings
from rover_exporter_skywalking.health import check_backend
from rover_exporter_skywalking.settings import SECTIONS

Check = Callable[..., list[Diagnostic]]


@pytest.fixture
def served() -> Iterator[Backend]:
    with BackendThread(Backend(authentication="s3cret")) as thread:
        yield thread.backend


def check(address: str | None, **keys: str) -> list[Diagnostic]:
    overrides = {"core.backend.addr": address, "core.backend.check_period": "1"} if address else {}
    overrides |= {f"core.backend.{key}": value for key, value in keys.items()}
    return list(check_backend(load_settings(SECTIONS, overrides=overrides, environ={})))


def test_a_backend_that_answers(served: Backend) -> None:
    """Broken: a healthy backend is called ill; or asking takes tasks from agents."""
    name, answer = check(served.address, authentication="s3cret")
    assert (name.health, answer.health) == (Health.OK, Health.OK)
    assert f"{served.address} answered within " in answer.detail
    assert answer.detail.endswith("(no TLS)")
    (query,) = served.calls["queryTasks"].requests
    assert query.latestUpdateTime > 1_700_000_000_000
    assert not served.processes


def test_a_backend_that_refuses_the_authentication(served: Backend) -> None:
    """Broken: the person looks at the network for what is a wrong password."""
    problem = check(served.address, authentication="wrong")[-1]
    assert problem.health is Health.PROBLEM
    assert "UNAUTHENTICATED" in problem.detail
    assert "core.backend.authentication" in problem.remedy
    assert "wrong" not in problem.detail


def test_something_else_at_that_address(served: Backend) -> None:
    """Broken: any gRPC server passes for a backend."""
    served.calls["queryTasks"].failure = grpc.StatusCode.UNIMPLEMENTED
    assert "no SkyWalking backend" in check(served.address, authentication="s3cret")[-1].remedy


def test_nobody_at_that_address() -> None:
    """Broken: doctor waits for ever, or says nothing of where it looked."""
    problem = check("localhost:1")[-1]
    assert problem.health is Health.PROBLEM
    assert problem.detail == "no connection to localhost:1 within 1 s"


def test_no_such_name() -> None:
    """Broken: a slip in the name looks like a firewall."""
    (problem,) = check("backend.invalid:11800")
    assert (problem.name, problem.health) == ("backend name", Health.PROBLEM)
    assert "backend.invalid" in problem.detail


def test_no_backend_is_no_problem() -> None:
    """Broken: doctor fails on hosts that stand alone."""
    (line,) = check(None)
    assert line.health is Health.WARNING
    assert "ROVER_BACKEND_ADDR" in line.remedy


def test_tls_is_said(tmp_path: Any) -> None:
    """Broken: nobody can tell whether what is sent is encrypted."""
    authority = Authority(tmp_path)
    with BackendThread(Backend(), authority.server(authority.sign("server"))) as thread:
        address, root = thread.backend.address, str(authority.own.certificate)
        assert check(address, enable_TLS="true", ca_pem_path=root)[-1].detail.endswith("(TLS)")
        assert check(address, enable_TLS="true", insecure_skip_verify="true")[-1].detail.endswith("(TLS, unverified)")
        assert check(address, enable_TLS="true")[-1].health is Health.PROBLEM
        assert check(address)[-1].health is Health.PROBLEM


def test_it_can_be_asked_again() -> None:
    """Broken: a second event loop finds gRPC tied to the first."""
    for _ in range(2):
        assert check("localhost:1")[-1].health is Health.PROBLEM
    assert asyncio.run(asyncio.sleep(0, "fine")) == "fine"
