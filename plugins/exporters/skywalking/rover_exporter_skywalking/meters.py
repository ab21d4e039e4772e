"""Telemetry as the backend takes it (contract section 1.7)."""

from collections.abc import Callable

from rover_core.model import Entity, Histogram, Loss, Meter, Telemetry
from rover_exporter_skywalking.naming import clean, in_cluster
from rover_exporter_skywalking.outbox import Parcel
from rover_exporter_skywalking.processes import ProcessBook
from rover_exporter_skywalking.protocol.meter_pb2 import (
    Label,
    MeterBucketValue,
    MeterData,
    MeterDataCollection,
    MeterHistogram,
    MeterSingleValue,
)
from rover_exporter_skywalking.rpc import COLLECT_METERS


def to_parcel(telemetry: Telemetry, processes: ProcessBook) -> tuple[Parcel | None, dict[Loss, int]]:
    """One collection for each service and instance; what names a process without an id is left out.

    The second is what was lost by that: the batch's events, in proportion to its meters.
    """
    collections: dict[tuple[str, str], MeterDataCollection] = {}
    sent = 0
    for meter in telemetry.meters:
        data = _data(meter, processes.process_id)
        if data is None:
            continue
        sent += 1
        entity = in_cluster(meter.entity, processes.cluster)
        owner = clean(entity.service), clean(entity.instance)
        collection = collections.setdefault(owner, MeterDataCollection())
        if not collection.meterData:
            data.service, data.serviceInstance = owner
            data.timestamp = telemetry.end_ns // 1_000_000
        collection.meterData.append(data)
    kept = telemetry.completeness.kept
    missing = kept * (len(telemetry.meters) - sent) // len(telemetry.meters) if telemetry.meters else 0
    lost = {Loss.PROCESS_GONE: missing} if missing else {}
    messages = tuple(collection.SerializeToString() for collection in collections.values())
    return Parcel(COLLECT_METERS, messages, kept - missing) if messages else None, lost


def _data(meter: Meter, process_id: Callable[[Entity], str | None]) -> MeterData | None:
    labels = []
    for name, value in meter.labels:
        text = process_id(value) if isinstance(value, Entity) else value
        if text is None:
            return None
        labels.append(Label(name=clean(name), value=clean(text)))
    name = clean(meter.name)
    if isinstance(meter.value, Histogram):
        pairs = zip(meter.value.bounds, meter.value.counts, strict=True)
        values = [MeterBucketValue(bucket=bound, count=count) for bound, count in pairs]
        return MeterData(histogram=MeterHistogram(name=name, labels=labels, values=values))
    return MeterData(singleValue=MeterSingleValue(name=name, labels=labels, value=meter.value))
