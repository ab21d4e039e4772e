"""Which container a process is in, by the names that container managers give their control groups."""

import re
from dataclasses import dataclass

_ID = r"([0-9a-f]{64}|[0-9a-f]{32}-[0-9]{6,20})"  # the second form: Amazon ECS
_RULES = (
    ("docker", re.compile(rf"docker-{_ID}\.scope")),
    ("containerd", re.compile(rf"(?:.{{1,128}}:)?(?:cri-containerd|nerdctl)[-:]{_ID}(?:\.scope)?")),
    ("cri-o", re.compile(rf"crio-{_ID}(?:\.scope)?")),
    ("podman", re.compile(rf"libpod-(?:payload-)?{_ID}(?:\.scope)?")),
    ("systemd-nspawn", re.compile(r"(?:systemd-nspawn@|machine-)(.{1,64}?)\.(?:service|scope)")),
    ("lxc", re.compile(r"lxc\.payload\.(.{1,64})")),
)
"""Of one component of a path; the managers' own helpers (`libpod-conmon-`, `crio-conmon-`) are in no container."""
_BARE = re.compile(_ID)
_PARENTS = {"docker": "docker", "kubepods": "kubernetes", "ecs": "ecs", "lxc": "lxc", "libpod_parent": "podman"}
"""Where a component is the id alone (the cgroupfs driver): whose it is, by the first component that says so."""


@dataclass(frozen=True, slots=True)
class Container:
    """id: 64 hexadecimal digits, or the name that systemd-nspawn and LXC go by. runtime: `docker`, `containerd`, ...;
    `kubernetes` where the control group does not tell which one it uses."""

    id: str
    runtime: str


def container_of(cgroup: str) -> Container | None:
    """The innermost container named in a /proc/<pid>/cgroup, of version 1 or 2; None if it names none."""
    for line in cgroup.splitlines()[:64]:
        path = line.split(":", 2)[-1]
        components = [part for part in path.split("/") if part]
        for position in range(len(components) - 1, -1, -1):
            if found := _named(components, position):
                return found
    return None


def _named(components: list[str], position: int) -> Container | None:
    component = _unescaped(components[position])
    for runtime, rule in _RULES:
        if match := rule.fullmatch(component):
            return Container(match[1], runtime)
    parents = (_PARENTS.get(parent.removesuffix(".slice")) for parent in components[:position])
    runtime = next((parent for parent in parents if parent), "")
    if runtime == "lxc" and position and components[position - 1] == "lxc":
        return Container(component, runtime)
    return Container(component, runtime or "containerd") if _BARE.fullmatch(component) else None


def _unescaped(component: str) -> str:
    r"""systemd writes `-` in a unit's name as `\x2d`."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), component)
