"""Who has the other end: contract sections 5.3 and 5.4, without a kernel."""

from pathlib import Path

import pytest

from rover_core.model import ProcessKey
from rover_network.connections import Connection, End, address_text, end_text
from rover_network.host import Host
from rover_network.peers import PeerBook

CLIENT, SERVER = ProcessKey(10, 1), ProcessKey(20, 2)
LISTENING = """  sl  local_address rem_address   st tx_queue rx_queue
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000
   1: 0100007F:C000 0100007F:1F90 01 00000000:00000000
   2: 0100007F:1F91 00000000:0000 0A after the listeners nobody looks
"""
TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.1.2.0
        /24 link UNICAST
     |-- 10.1.2.3
        /32 host LOCAL
"""


def end(text: str, port: int) -> End:
    return End(bytes(10) + b"\xff\xff" + bytes(map(int, text.split("."))), port)


def connection(process: ProcessKey, local: End, remote: End, role: str = "", **more: object) -> Connection:
    known = {"inode": 1, "transport": "tcp", "netns": 1, "peer": 0, **more}
    return Connection(process, "shop", role=role, local=local, remote=remote, **known)  # type: ignore[arg-type]


@pytest.fixture
def book(tmp_path: Path) -> PeerBook:
    for pid in ("10", "20"):
        (tmp_path / pid / "net").mkdir(parents=True)
    (tmp_path / "20/net/tcp").write_text(LISTENING)
    (tmp_path / "net").mkdir()
    (tmp_path / "net/fib_trie").write_text(TRIE)
    return PeerBook(Host(tmp_path))


def test_two_ends_find_each_other_and_take_opposite_roles(book: PeerBook) -> None:
    """Broken: a connection within the host looks like two with strangers, or has two clients."""
    here, there = end("10.9.9.1", 40000), end("10.9.9.2", 80)
    mine, theirs = book.resolve([connection(CLIENT, here, there), connection(SERVER, there, here, "server")])
    assert (mine.role, mine.peer.process, mine.peer.local) == ("client", SERVER, True)
    assert (theirs.role, theirs.peer.process) == ("server", CLIENT)


def test_an_end_seen_earlier_is_still_known(book: PeerBook) -> None:
    """Broken: whether an end finds the other depends on both being counted in the same two seconds."""
    here, there = end("10.9.9.1", 40000), end("10.9.9.2", 80)
    book.resolve([connection(CLIENT, here, there, "client")])
    (theirs,) = book.resolve([connection(SERVER, there, here)])
    assert (theirs.role, theirs.peer.process) == ("server", CLIENT)


def test_loopback_is_of_one_namespace(book: PeerBook) -> None:
    """Broken: 127.0.0.1 in two containers is taken for one address."""
    here, there = end("127.0.0.1", 40000), end("127.0.0.1", 80)
    mine, _ = book.resolve([connection(CLIENT, here, there, netns=1), connection(SERVER, there, here, netns=2)])
    assert mine.peer.process is None
    assert mine.peer.local


def test_what_listens_is_a_server_and_others_are_clients(book: PeerBook) -> None:
    """Broken: connections that were there before the task have the wrong role."""
    far = end("93.184.216.34", 50000)
    served, own = book.resolve(
        [connection(SERVER, end("10.1.2.3", 8080), far), connection(CLIENT, end("10.1.2.3", 41000), far)]
    )
    assert (served.role, served.peer.address, served.peer.port) == ("server", "93.184.216.34", 0)
    assert (own.role, own.peer.address, own.peer.port) == ("client", "93.184.216.34", 50000)
    assert not own.peer.local


def test_addresses_of_the_host_are_local(book: PeerBook) -> None:
    """Broken: a process that nobody watches looks like another host's."""
    (flow,) = book.resolve([connection(CLIENT, end("127.0.0.1", 1), end("10.1.2.3", 9), "client")])
    assert flow.peer.local


def test_unix_sockets_find_each_other_from_either_side(book: PeerBook) -> None:
    """Broken: a client that was counted before its connection was accepted never gets its peer."""
    nowhere = End(bytes(16), 0)
    unix = {"transport": "unix"}
    mine, theirs = book.resolve(
        [
            connection(CLIENT, nowhere, nowhere, "client", inode=7, peer=0, **unix),
            connection(SERVER, nowhere, nowhere, "server", inode=8, peer=7, **unix),
        ]
    )
    assert (mine.peer.process, theirs.peer.process) == (SERVER, CLIENT)


@pytest.mark.parametrize(
    ("address", "text"),
    [(end("10.0.0.1", 80), "10.0.0.1:80"), (End(bytes(15) + b"\1", 53), "[::1]:53"), (End(bytes(16), 1), "")],
)
def test_addresses_as_people_write_them(address: End, text: str) -> None:
    """Broken: v4-mapped addresses are shown as IPv6, or a port cannot be told from an address."""
    assert end_text(address) == text
    if text:
        assert address_text(address.address) in text
