"""Writes what tshark finds in a capture of HTTP/2 beside it: `record.py FILE.pcap PORT http2|http`, of its server.

A line for each frame but the preface: packet, connection, direction, type, length, flags, stream, header fields.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TYPES = ("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE")


def several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def frames(capture: Path, port: str, protocol: str) -> Iterator[dict[str, Any]]:
    command = [
        "tshark",
        "-r",
        str(capture),
        "-o",
        "tcp.reassemble_out_of_order:TRUE",
        "-d",
        f"tcp.port=={port},{protocol}",
        "-Y",
        "http2",
        "-T",
        "json",
        "--no-duplicate-keys",
    ]
    done = subprocess.run([*command, "-J", "frame tcp http2"], capture_output=True, check=True, text=True, timeout=60)
    for packet in json.loads(done.stdout):
        layers = packet["_source"]["layers"]
        tcp = layers["tcp"]
        kind = "request" if tcp["tcp.dstport"] == port else "response"
        for layer in several(layers["http2"]):
            for each in several(layer.get("http2.stream")):
                if isinstance(each, dict) and "http2.type" in each:
                    yield {
                        "frame": int(layers["frame"]["frame.number"]),
                        "stream": int(tcp["tcp.stream"]),
                        "kind": kind,
                        "frame_type": (*TYPES, "CONTINUATION")[int(each["http2.type"])],
                        "length": int(each["http2.length"]),
                        "flags": int(each["http2.flags"], 16),
                        "h2_stream": int(each["http2.streamid"]),
                        "end_stream": bool(int(each["http2.flags"], 16) & 1) if int(each["http2.type"]) < 2 else None,
                        "headers": [
                            [field["http2.header.name"], field["http2.header.value"]]
                            for field in several(each.get("http2.header"))
                        ],
                    }


if __name__ == "__main__":
    file = Path(sys.argv[1])
    told = "".join(json.dumps(each) + "\n" for each in frames(file, *sys.argv[2:]))
    file.with_suffix(".expected.jsonl").write_text(told)
