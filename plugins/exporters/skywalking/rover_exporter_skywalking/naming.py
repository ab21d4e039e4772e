"""Processes as the backend names them."""

from dataclasses import replace

from rover_core.model import Entity
from rover_exporter_skywalking.protocol.process_pb2 import EBPFProcessEntityMetadata


def in_cluster(entity: Entity, cluster: str) -> Entity:
    """With the cluster's name before the service's, unless something is (contract section 3.2)."""
    if not cluster or "::" in entity.service:
        return entity
    return replace(entity, service=f"{cluster}::{entity.service}")


def identity(entity: Entity) -> Entity:
    """What makes two entities one to the backend, whose ids are made of it: all but the labels."""
    return replace(entity, labels=()) if entity.labels else entity


def to_message(entity: Entity) -> EBPFProcessEntityMetadata:
    return EBPFProcessEntityMetadata(
        layer=clean(entity.layer),
        serviceName=clean(entity.service),
        instanceName=clean(entity.instance),
        processName=clean(entity.process),
        labels=[clean(label) for label in entity.labels],
    )


def clean(text: str) -> str:
    """Text that protobuf takes: names from /proc and from files may hold bytes that are no UTF-8."""
    return text.encode(errors="replace").decode()
