"""Compiles the .proto files, for wheels and for editable installs alike."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PROTOCOL = "rover_exporter_skywalking/protocol"


class ProtocolBuildHook(BuildHookInterface):
    """Puts `*_pb2.py` and `*_pb2.pyi` beside the .proto files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        from grpc_tools import protoc

        root = Path(self.root)
        files = sorted(str(path.relative_to(root)) for path in (root / PROTOCOL).glob("*.proto"))
        options = [f"--proto_path={root}", f"--python_out={root}", f"--pyi_out={root}"]
        if protoc.main(["protoc", *options, *files]) != 0:
            raise RuntimeError("protoc refused the .proto files; what it said is above")
        build_data["artifacts"] += [f"{PROTOCOL}/*_pb2.py", f"{PROTOCOL}/*_pb2.pyi"]
