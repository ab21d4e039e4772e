#!/usr/bin/env python3
"""Makes rover_kafka/schemas.json of Apache Kafka's own message definitions, which its client's jars hold.

    make_schemas.py kafka-clients-3.9.1.jar kafka-clients-4.1.0.jar slf4j-api.jar

Of several jars the first that knows a version of a message says how it looks: the older one has those that 4.0
removed. The names of error codes are the last client's. Needs a JDK (jshell) for these.

A message becomes a plan: a text in which every letter is a field, `rover_kafka/plans.py` says which.
"""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

Definition = dict[str, Any]

_SIZES = {
    "bool": 1,
    "int8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "float64": 8,
    "uuid": 16,
}
_LAST = 1 << 15
_OF_INTEREST = re.compile(r"[tTgGiearRwh]")
_ERRORS = 'for (var e : org.apache.kafka.common.protocol.Errors.values()) System.out.println(e.code() + " " + e);\n'


def main(jars: list[str]) -> None:
    apis: dict[int, dict[str, Any]] = {}
    for jar in jars:
        for definition in _definitions(Path(jar)):
            if definition.get("type") in ("request", "response"):
                api = apis.setdefault(definition["apiKey"], {"request": [], "response": []})
                api[definition["type"]].append(definition)
    lines = [f'"{key}": {json.dumps(_api(apis[key]))}' for key in sorted(apis)]
    errors = json.dumps(_errors(jars))
    text = '{"errors": ' + errors + ',\n"apis": {\n' + ",\n".join(lines) + "\n}}\n"
    Path(__file__).with_name("rover_kafka").joinpath("schemas.json").write_text(text)


def _definitions(jar: Path) -> list[Definition]:
    with zipfile.ZipFile(jar) as opened:
        names = [name for name in opened.namelist() if re.fullmatch(r"common/message/\w+\.json", name)]
        texts = [opened.read(name).decode() for name in names]
    return [json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)) for text in texts]


def _errors(jars: list[str]) -> dict[str, str]:
    command = ["jshell", "--class-path", ":".join(reversed(jars)), "-s", "-"]
    result = subprocess.run(command, input=_ERRORS, capture_output=True, text=True, check=True, timeout=120)
    lines = [line for line in result.stdout.splitlines() if re.fullmatch(r"-?\d+ [A-Z_]+", line)]
    return dict(line.split() for line in lines)


def _api(api: dict[str, Any]) -> list[Any]:
    """Its name, and for each range of versions that look alike: first, last, request's and response's plan."""
    name = api["request"][0]["name"].removesuffix("Request")
    found: list[list[Any]] = []
    versions = {version for each in api["request"] for version in _versions(each["validVersions"])}
    for version in sorted(versions):
        plans = [_plan(api[kind], version) for kind in ("request", "response")]
        if found and found[-1][1] == version - 1 and found[-1][2:] == plans:
            found[-1][1] = version
        else:
            found.append([version, version, *plans])
    return [name, found]


def _versions(text: str) -> range:
    """`3`, `3-8`, `3+` or `none`."""
    if text == "none":
        return range(0)
    first, _, last = text.partition("-")
    if first.endswith("+"):
        return range(int(first[:-1]), _LAST)
    return range(int(first), int(last or first) + 1)


def _plan(definitions: list[Definition], version: int) -> str:
    definition = next((each for each in definitions if version in _versions(each["validVersions"])), None)
    if definition is None:
        return ""
    flexible = version in _versions(definition["flexibleVersions"])
    shared = {each["name"]: each["fields"] for each in definition.get("commonStructs", ())}
    body = _Planner(definition["name"], version, flexible, shared).fields(definition["fields"])
    # ApiVersions answers with the header that everybody understands, whatever was asked (KIP-511).
    tagged = flexible and definition["name"] != "ApiVersionsResponse"
    tokens = _tokens(("_" if tagged else "") + body)
    while tokens and not _OF_INTEREST.search(tokens[-1]):
        tokens.pop()
    return "".join(tokens)


class _Planner:
    def __init__(self, message: str, version: int, flexible: bool, shared: dict[str, list[Definition]]) -> None:
        self._message, self._version, self._flexible, self._shared = message, version, flexible, shared

    def fields(self, fields: list[Definition]) -> str:
        parts = [self._field(each) for each in fields if self._is_there(each)]
        if self._flexible:
            parts.append("_")
        return _merged("".join(parts))

    def _is_there(self, field: Definition) -> bool:
        tagged = self._flexible and self._version in _versions(field.get("taggedVersions", "none"))
        return self._version in _versions(field["versions"]) and not tagged

    def _field(self, field: Definition) -> str:
        kind, name = field["type"], field["name"]
        compact = self._flexible and self._version in _versions(field.get("flexibleVersions", "0+"))
        if kind.startswith("[]"):
            inner = self._one({**field, "type": kind[2:]}, kind[2:], name, compact)
            if name == "ForgottenTopicsData":  # what a fetch is no longer about
                inner = re.sub("[tTi]", lambda found: {"t": "s", "T": "S", "i": "16 "}[found[0]], inner)
            inner = _merged(inner)
            return f"[{inner}]" if compact else f"({inner})"
        one = self._one(field, kind, name, compact)
        nullable = self._version in _versions(field.get("nullableVersions", "none"))
        return f"<{one}>" if nullable and (kind[0].isupper()) else one

    def _one(self, field: Definition, kind: str, name: str, compact: bool) -> str:
        letter = {"string": "s", "bytes": "b", "records": "r"}.get(kind, "")
        entity = field.get("entityType")
        if kind == "string" and entity in ("topicName", "groupId"):
            letter = entity[0]
        if letter:
            return letter.upper() if compact else letter
        if kind == "int16" and name.endswith("ErrorCode"):
            return "e"
        if kind == "uuid" and name == "TopicId":
            return "i"
        if (self._message, name) == ("ProduceRequest", "Acks"):
            return "a"
        if (self._message, name) == ("FetchRequest", "MaxWaitMs"):
            return "w"
        if name == "ThrottleTimeMs":
            return "h"
        if kind in _SIZES:
            return f"{_SIZES[kind]} "
        return self.fields(field.get("fields") or self._shared[kind])


def _merged(plan: str) -> str:
    """Neighbouring sizes are one."""
    return re.sub(r"(?:\d+ )+", lambda found: f"{sum(map(int, found[0].split()))} ", plan)


def _tokens(plan: str) -> list[str]:
    """The plan's fields, each with all that is inside of it."""
    found: list[str] = []
    depth = 0
    for token in re.findall(r"\d+ |\D", plan):
        if depth:
            found[-1] += token
        else:
            found.append(token)
        depth += (token in "([<") - (token in ")]>")
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
