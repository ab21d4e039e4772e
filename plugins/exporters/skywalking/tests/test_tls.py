"""TLS: whom the agent believes, as whom it comes, and what it says when that does not work."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from living_agent import NAME, living, until
from skywalking_backend import Backend

from rover_core.errors import UsageError

ON = {"core.backend.enable_TLS": "true"}


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


async def serve(credentials: Any) -> Backend:
    backend = Backend()
    await backend.start(credentials)
    return backend


async def works(backend: Backend, settings: Any) -> None:
    """Processes are reported, a task runs, its data arrives."""
    async with living(settings):
        await until(lambda: backend.id_of(NAME))
        backend.order("t", [backend.id_of(NAME)])
        await until(lambda: backend.total("t"))
    await backend.stop()


async def does_not_work(backend: Backend, settings: Any) -> None:
    """The agent goes on, and reaches nobody."""
    async with living(settings) as live:
        await asyncio.sleep(0.7)
        assert not live.running.done()
        assert not backend.processes
    await backend.stop()


def trusting(authority: Authority, **more: Any) -> dict[str, str]:
    return {**ON, "core.backend.ca_pem_path": str(authority.own.certificate), **more}


async def test_a_backend_that_is_who_it_says(authority: Authority, settings_for: Any) -> None:
    """Broken: nobody who encrypts can use Rover."""
    backend = await serve(authority.server(authority.sign("server")))
    await works(backend, settings_for(backend, **trusting(authority)))


async def test_mutual_tls(authority: Authority, settings_for: Any) -> None:
    """Broken: a backend that wants to know its agents refuses this one."""
    backend = await serve(authority.server(authority.sign("server"), ask_clients=True))
    own = authority.sign("agent", "agent")
    pair = {"core.backend.client_pem_path": str(own.certificate), "core.backend.client_key_path": str(own.key)}
    await works(backend, settings_for(backend, **trusting(authority, **pair)))


async def test_a_backend_that_wants_a_certificate_and_gets_none(
    authority: Authority, settings_for: Any, capsys: Any
) -> None:
    """Broken: a backend that asks for certificates takes data from anyone; or nobody is told why not."""
    backend = await serve(authority.server(authority.sign("server"), ask_clients=True))
    await does_not_work(backend, settings_for(backend, **trusting(authority)))
    assert "backend did not answer" in "".join(capsys.readouterr())


@pytest.mark.parametrize("wrong", ["authority", "name", "no TLS there"])
async def test_a_backend_that_is_not_who_it_says(
    wrong: str, authority: Authority, settings_for: Any, tmp_path: Path, capsys: Any
) -> None:
    """Broken: data goes to whoever answers."""
    host = "elsewhere.example" if wrong == "name" else "localhost"
    signer = Authority(tmp_path, "other") if wrong == "authority" else authority
    credentials = None if wrong == "no TLS there" else signer.server(signer.sign("imposter", host))
    backend = await serve(credentials)
    await does_not_work(backend, settings_for(backend, **trusting(authority)))
    assert "backend did not answer" in "".join(capsys.readouterr())


@pytest.mark.parametrize("wrong", ["authority", "name", "date"])
async def test_skipping_verification_believes_anything(
    wrong: str, authority: Authority, settings_for: Any, tmp_path: Path
) -> None:
    """Broken: core.backend.insecure_skip_verify verifies something after all; or the client's certificate is lost."""
    signer = Authority(tmp_path, "other")
    server = signer.sign("server", "elsewhere" if wrong == "name" else "localhost", 0 if wrong == "date" else 1)
    own = signer.sign("agent", "agent")
    backend = await serve(signer.server(server, ask_clients=True))
    pair = {"core.backend.client_pem_path": str(own.certificate), "core.backend.client_key_path": str(own.key)}
    await works(backend, settings_for(backend, **ON, **pair, **{"core.backend.insecure_skip_verify": "true"}))


async def test_skipping_verification_survives_a_restart(authority: Authority, settings_for: Any) -> None:
    """Broken: the tunnel works for one connection only, or its absence ends the agent."""
    credentials = authority.server(authority.sign("server"))
    backend = await serve(credentials)
    skipping = {**ON, "core.backend.insecure_skip_verify": "true"}
    async with living(settings_for(backend, **skipping)) as live:
        await until(lambda: backend.id_of(NAME))
        backend.order("t", [backend.id_of(NAME)])
        await until(lambda: backend.total("t"))
        await backend.stop()
        seen = live.seen
        await until(lambda: live.seen > seen + 5)
        await backend.start(credentials)
        await live.settle(lambda: backend.total("t"))
        await live.end()
    assert backend.total("t") == live.seen
    await backend.stop()


@pytest.mark.parametrize("key", ["ca_pem_path", "client_pem_path", "client_key_path"])
def test_files_that_hold_nothing_are_said_at_the_start(
    key: str, authority: Authority, settings_for: Any, tmp_path: Path
) -> None:
    """Broken: an agent with an empty secret mounted starts, and fails for hours."""
    empty = tmp_path / "empty.pem"
    empty.write_text("\n")
    backend = Backend()
    backend.port = 11800
    with pytest.raises(UsageError, match=f"core.backend.{key}: .*empty.pem is empty"):
        settings_for(backend, **ON, **{f"core.backend.{key}": str(empty)})
    with pytest.raises(UsageError, match=f"core.backend.{key}: .*none.pem cannot be read: No such file"):
        settings_for(backend, **ON, **{f"core.backend.{key}": str(tmp_path / "none.pem")})
    settings_for(backend, **{f"core.backend.{key}": str(empty)})  # not used, so not looked at


async def test_files_that_hold_nonsense_do_not_end_the_agent(settings_for: Any, tmp_path: Path) -> None:
    """Broken: a certificate in the wrong format is a traceback."""
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("not a certificate")
    backend = await serve(None)
    await does_not_work(backend, settings_for(backend, **ON, **{"core.backend.ca_pem_path": str(nonsense)}))
