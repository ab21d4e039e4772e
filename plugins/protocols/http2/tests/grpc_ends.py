"""A gRPC server (argument: `serve`) and a client with an account of its calls (arguments: the server's port; for
TLS the file of its certificate)."""

import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

SERVICE = "shop.Cart"


def get(request: bytes, context: Any) -> bytes:
    return b"cart" * 100


def missing(request: bytes, context: Any) -> bytes:
    context.abort(grpc.StatusCode.NOT_FOUND, "no such cart")
    return b""


def watch(request: bytes, context: Any) -> Iterator[bytes]:
    yield from (b"item" * 20 for _ in range(5))


def put(requests: Iterator[bytes], context: Any) -> bytes:
    return str(sum(len(each) for each in requests)).encode()


def sleep(request: bytes, context: Any) -> bytes:
    time.sleep(1)
    return b""


def serve() -> None:
    handlers = {
        "Get": grpc.unary_unary_rpc_method_handler(get),
        "Missing": grpc.unary_unary_rpc_method_handler(missing),
        "Watch": grpc.unary_stream_rpc_method_handler(watch),
        "Put": grpc.stream_unary_rpc_method_handler(put),
        "Sleep": grpc.unary_unary_rpc_method_handler(sleep),
    }
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


def connected(port: str, certificate: str | None) -> grpc.Channel:
    if certificate is None:
        return grpc.insecure_channel(f"127.0.0.1:{port}")
    credentials = grpc.ssl_channel_credentials(Path(certificate).read_bytes())
    options = [("grpc.ssl_target_name_override", "localhost")]
    return grpc.secure_channel(f"127.0.0.1:{port}", credentials, options)


def ask(port: str, certificate: str | None = None) -> None:
    print("ready", flush=True)
    sys.stdin.readline()
    account = []
    with connected(port, certificate) as channel:

        def call(name: str, make: Any, request: Any, timeout: float = 20) -> None:
            try:
                answer = make(f"/{SERVICE}/{name}")(request, timeout=timeout)
                if name == "Watch":
                    assert len(list(answer)) == 5
                account.append([name, "OK"])
            except grpc.RpcError as error:
                account.append([name, error.code().name])

        for _ in range(20):
            call("Get", channel.unary_unary, b"x" * 10)
        with ThreadPoolExecutor(8) as threads:
            for _ in range(40):
                threads.submit(call, "Get", channel.unary_unary, b"x" * 30_000)
        for _ in range(3):
            call("Missing", channel.unary_unary, b"x")
            call("Absent", channel.unary_unary, b"x")
            call("Watch", channel.unary_stream, b"x")
            call("Put", channel.stream_unary, iter([b"x" * 1000] * 50))
        call("Sleep", channel.unary_unary, b"x", 0.2)
        call("Get", channel.unary_unary, b"x")
    print(json.dumps(account), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    serve() if sys.argv[1] == "serve" else ask(*sys.argv[1:])
