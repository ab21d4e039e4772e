"""Programs that speak HTTPS, none of which is ours but for what they are asked: nginx, Node, Python."""

import subprocess
from pathlib import Path

from end_to_end import until
from nginx import free_port

NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 1024; }}
http {{
    log_format account '$status $request_method $uri $remote_port $bytes_sent $connection_requests $server_protocol';
    access_log {folder}/log account; keepalive_requests 100000; keepalive_timeout 60;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl; listen 127.0.0.1:{http2} ssl http2;
        ssl_certificate {folder}/certificate; ssl_certificate_key {folder}/key;
        ssl_protocols TLSv1.2 TLSv1.3; root {folder};
    }}
}}
"""
NODE = """
const https = require("https"), fs = require("fs"), {URL} = require("url"), [folder, port] = process.argv.slice(2);
const keys = {key: fs.readFileSync(folder + "/key"), cert: fs.readFileSync(folder + "/certificate")};
const server = https.createServer(keys, (request, response) => {
    const size = Number(new URL(request.url, "https://x").searchParams.get("size") || 2);
    response.statusCode = request.url.startsWith("/absent") ? 404 : 200;
    response.end("n".repeat(size));
});
server.keepAliveTimeout = 60000;
server.listen(Number(port), "127.0.0.1", () => console.log("ready"));
"""
"""Answers with as many bytes as it is asked for: /any?size=100."""
NODE_CLIENT = """
const https = require("https"), [port, rounds] = process.argv.slice(2).map(Number);
const agent = new https.Agent({keepAlive: true, maxSockets: 64, rejectUnauthorized: false});
const ask = id => new Promise(done => https.get({port, host: "127.0.0.1", path: `/id${id}?size=${1000 + id}`, agent},
    response => { let size = 0; response.on("data", part => size += part.length);
                  response.on("end", () => done(size == 1000 + id ? 1 : 0)); }));
console.log("ready");
process.stdin.once("data", async () => {
    let right = 0;
    for (let round = 0; round < rounds; round++)
        for (const one of await Promise.all([...Array(64).keys()].map(at => ask(64 * round + at)))) right += one;
    console.log(right);
});
"""
NODE_HTTP2 = """
const http2 = require("http2"), fs = require("fs"), [folder, port] = process.argv.slice(2);
const keys = {key: fs.readFileSync(folder + "/key"), cert: fs.readFileSync(folder + "/certificate")};
http2.createSecureServer(keys, (request, response) => {
    const size = Number(new URL(request.url, "https://x").searchParams.get("size"));
    setImmediate(() => response.end("n".repeat(size)));
}).listen(Number(port), "127.0.0.1", () => console.log("ready"));
"""
NODE_HTTP2_CLIENT = """
const http2 = require("http2"), [port, rounds] = process.argv.slice(2).map(Number);
const options = {rejectUnauthorized: false};
const sessions = [...Array(8)].map(() => http2.connect(`https://127.0.0.1:${port}`, options));
const ask = id => new Promise(done => {
    const stream = sessions[id % 8].request({":path": `/id${id}?size=${1000 + id}`});
    let size = 0;
    stream.on("data", part => size += part.length).on("end", () => done(size == 1000 + id ? 1 : 0)).end();
});
Promise.all(sessions.map(each => new Promise(done => each.once("remoteSettings", done))))
    .then(() => Promise.all([...Array(64).keys()].map(at => ask(9000 + at)))).then(() => console.log("ready"));
process.stdin.once("data", async () => {
    let right = 0;
    for (let round = 0; round < rounds; round++)
        for (const one of await Promise.all([...Array(64).keys()].map(at => ask(64 * round + at)))) right += one;
    console.log(right);
});
"""
"""Eight streams at a time in each of eight sessions, which have been used before it says `ready`."""
ASYNCIO = """
import asyncio, ssl, sys
folder, port = sys.argv[1], int(sys.argv[2])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder + "/certificate", folder + "/key")

async def serve(reader, writer):
    try:
        while head := await reader.readuntil(b"\\r\\n\\r\\n"):
            size = int(head.split()[1].partition(b"size=")[2] or 2)
            writer.write(b"HTTP/1.1 200 Fine\\r\\nContent-Length: %d\\r\\n\\r\\n" % size + b"p" * size)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
    print("ready", flush=True)
    await server.serve_forever()

asyncio.run(main())
"""
ASYNCIO_CLIENT = """
import asyncio, ssl, sys
port, rounds = map(int, sys.argv[1:])
context = ssl._create_unverified_context()

async def ask(reader, writer, number):
    writer.write(b"GET /id%d?size=%d HTTP/1.1\\r\\nHost: here\\r\\n\\r\\n" % (number, 1000 + number))
    head = await reader.readuntil(b"\\r\\n\\r\\n")
    size = int(head.lower().partition(b"content-length: ")[2].split()[0])
    return len(await reader.readexactly(size)) == 1000 + number

async def main():
    ends = await asyncio.gather(*[asyncio.open_connection("127.0.0.1", port, ssl=context) for _ in range(64)])
    await asyncio.gather(*[ask(*end, 9000) for end in ends])
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    right = 0
    for turn in range(rounds):
        right += sum(await asyncio.gather(*[ask(*end, 64 * turn + at) for at, end in enumerate(ends)]))
    print(right, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

asyncio.run(main())
"""
"""64 connections on one thread that have been used before it says `ready`."""
CROSSWISE = """
import random, socket, ssl, sys
print("ready", flush=True)
sys.stdin.readline()
port, rounds, sessions = int(sys.argv[1]), int(sys.argv[2]), []
context = ssl._create_unverified_context()
for _ in range(64):
    end, inward, outward = socket.create_connection(("127.0.0.1", port)), ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(inward, outward)
    while True:
        try:
            session.do_handshake()
            break
        except ssl.SSLWantReadError:
            end.sendall(outward.read())
            inward.write(end.recv(65536))
    end.sendall(outward.read())
    sessions.append((end, inward, outward, session))
chance, right = random.Random(7), 0
for turn in range(rounds):
    for number, (*_, session) in enumerate(sessions):
        session.write(b"GET /x%03d HTTP/1.1\\r\\nHost: here\\r\\n\\r\\n" % (200 + number))
    for end, _, outward, _ in chance.sample(sessions, 64):
        end.sendall(outward.read())
    came = {number: sessions[number][0].recv(65536) for number in chance.sample(range(64), 64)}
    for number in chance.sample(range(64), 64):
        end, inward, _, session = sessions[number]
        inward.write(came[number])
        answer = b""
        while b"hello" not in answer:
            try:
                answer += session.read(65536)
            except ssl.SSLWantReadError:
                inward.write(end.recv(65536))
        right += answer.startswith(b"HTTP/1.1 %03d" % (200 + number))
print(right, flush=True)
sys.stdin.readline()
"""
"""Sessions that are written one after another and sent in another order, read in one order and decrypted in another.
All messages are of one length, and the answer to /x201 has the status 201."""
BLOCKING = """
import http.server, ssl, sys
folder, port = sys.argv[1], int(sys.argv[2])

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        code = self.path[2:]
        self.send_response_only(int(code) if self.path[1] == "x" else 200 if code[0] == "d" else 404, "Fine")
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")
    def log_message(self, *_):
        pass

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder + "/certificate", folder + "/key")
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
print("ready", flush=True)
server.serve_forever()
"""
BLOCKING_CLIENT = """
import sys
port, version = int(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
import http.client, socket, ssl, time
time.sleep(float(sys.argv[3]))
context = ssl._create_unverified_context()
context.maximum_version = ssl.TLSVersion[version]
session, resumed, statuses = None, 0, []
for connection in range(3):
    end = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), session=session)
    asking = http.client.HTTPSConnection("127.0.0.1", port)
    asking.sock = end
    for path in ("/id1", "/id2", "/absent"):
        asking.request("GET", path)
        answer = asking.getresponse()
        answer.read()
        statuses.append(answer.status)
    resumed += end.session_reused
    session = end.session
    end.close()
print(resumed, *statuses, flush=True)
sys.stdin.readline()
"""
"""Three connections of three requests; later ones take the session of the one before. TLS is loaded late."""


def make_certificate(folder: Path, *options: str) -> None:
    folder.chmod(0o755)
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run(
        [*command, *options, "-keyout", folder / "key", "-out", folder / "certificate"],
        check=True,
        capture_output=True,
    )


class TlsNginx:
    """A server with an account of all it sent, in its access log. The folder has its certificate.

    http2: another port of it, where clients may choose HTTP/2.
    """

    def __init__(self, folder: Path) -> None:
        self.port, self.http2 = free_port(), free_port()
        self.log = folder / "log"
        self._folder = folder
        (folder / "page").write_bytes(b"x" * 1400)
        (folder / "large").write_bytes(b"y" * 3_000_000)
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=self.port, http2=self.http2))
        self.process = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf")], text=True)
        until(lambda: (folder / "pid").exists() and (folder / "pid").read_text().strip())

    def requests(self) -> list[tuple[str, str]]:
        """(operation, status) of each."""
        words = [line.split() for line in self.log.read_text().splitlines()]
        return [(f"{method} {uri}", status) for status, method, uri, *_ in words]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
