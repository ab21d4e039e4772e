"""Who a process is: by the configuration's regular expressions, or by its executable alone."""

from collections.abc import Callable
from dataclasses import dataclass

from rover_core.expressions import ExpressionError, Template, compile_template
from rover_core.identity.agent import host_name
from rover_core.identity.redaction import MAX_LENGTH
from rover_core.model import Entity, Process
from rover_core.patterns import Pattern, compile_pattern
from rover_discovery_host.settings import RegexSettings
from rover_discovery_host.vocabulary import Finder, vocabulary

LAYER = "OS_LINUX"
"""SkyWalking's layer for plain hosts."""

Find = Callable[[Process], Entity | None]
_MAX_MATCHED = 16 * MAX_LENGTH  # characters of a command line that are looked at


def by_executable() -> Find:
    """Every process of user space: a service of its own, named after its executable."""
    instance = host_name()
    return lambda process: Entity(LAYER, service=process.name, instance=instance, process=process.name)


def by_regex(settings: RegexSettings, place: str, *, redacted: bool) -> Find:
    """Those whose command line matches. place: the entry's key, for errors.

    What it returns raises ExpressionError for a process for which a name has no value.
    """
    known = vocabulary(redacted=redacted)
    return _Regex(
        compile_pattern(settings.match_cmd, f"{place}.match_cmd"),
        settings.layer,
        compile_template(settings.service_name, known, f"{place}.service_name"),
        compile_template(settings.instance_name, known, f"{place}.instance_name"),
        compile_template(settings.process_name, known, f"{place}.process_name"),
        settings.labels,
        place,
    )


@dataclass(frozen=True, slots=True)
class _Regex:
    pattern: Pattern
    layer: str
    service: Template
    instance: Template
    process: Template
    labels: tuple[str, ...]
    place: str

    def __call__(self, process: Process) -> Entity | None:
        groups = self.pattern.groups(" ".join(process.cmdline)[:_MAX_MATCHED])
        if groups is None:
            return None
        subjects = {"Rover": None, "Process": process, "Finder": Finder(self.layer, groups)}
        service, instance, name = (each.render(subjects) for each in (self.service, self.instance, self.process))
        if not (service and instance and name):
            raise ExpressionError(f"{self.place}: a name comes out empty: {service!r}, {instance!r}, {name!r}")
        return Entity(self.layer, service, instance, name, self.labels)
