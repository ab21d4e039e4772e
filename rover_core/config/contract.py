"""The keys of the Go agent's configuration file (contract section 7), whether or not a plugin here has them.

A file written for that agent shall load. What no installed plugin has mounted is known from here, so that it is
named in one warning instead of being taken for a mistake.
"""

from collections.abc import Iterator

_KEYS = """
logger.level
core.cluster_name
core.backend. addr enable_TLS client_pem_path client_key_path insecure_skip_verify ca_pem_path check_period
core.backend. authentication
process_discovery. heartbeat_period properties_report_period
process_discovery.kubernetes. active node_name namespaces analyzers
process_discovery.scanner. period mode regex
process_discovery.scanner.agent.process_status_refresh_period
profiling. active check_interval flush_interval
profiling.task.on_cpu.dump_period
profiling.task.network. report_interval meter_prefix
profiling.task.network.protocol_analyze. per_cpu_buffer parallels queue_size
profiling.task.network.protocol_analyze.sampling.http. default_request_encoding default_response_encoding
profiling.continuous. meter_prefix fetch_interval check_interval
profiling.continuous.trigger. execute_duration silence_duration
access_log. active exclude_namespaces exclude_cluster
access_log.flush. max_count period
access_log.connection_analyze. per_cpu_buffer parse_parallels analyze_parallels queue_size
access_log.protocol_analyze. per_cpu_buffer parse_parallels analyze_parallels queue_size
pprof. active port
"""


def _expanded() -> Iterator[str]:
    for line in _KEYS.strip().splitlines():
        group, *names = line.split()
        yield from [group + name for name in names] or [group]


KEYS = frozenset(_expanded())
"""Dotted paths of single settings; a list of groups (`analyzers`, `regex`) is one."""

_LOWER = {key.lower() for key in KEYS}


def has_setting(path: str) -> bool:
    """Whether the Go agent has a setting there, in any case."""
    return path.lower() in _LOWER


def names_below(path: str) -> set[str]:
    """What the Go agent has directly below a group ("" for the root), in any case: names of groups and settings."""
    prefix = f"{path.lower()}." if path else ""
    return {key[len(prefix) :].split(".")[0] for key in KEYS if key.lower().startswith(prefix)}
