"""A connection that keeps its messages, for the comparison with a dissector's."""

from typing import Any

from captures import Flow
from classifying import Classify

from rover_core.wire import Limits, Message
from rover_kafka.connection import KafkaConnection
from rover_kafka.plans import APIS, read
from rover_kafka.readers import Request


class Listening(KafkaConnection):
    """Keeps every message with the frame that completed it, responses with the request that they answer."""

    def __init__(self) -> None:
        super().__init__(Limits())
        self.messages: list[dict[str, Any]] = []
        self.frame = 0
        self._asked: dict[int, Request] = {}

    def stitch(self, direction: int, message: Message[Any]) -> None:
        detail = message.detail
        told: dict[str, Any] = {"frame": self.frame, "kind": "response" if direction else "request"}
        told |= {"length": message.size - 4, "correlation_id": detail.correlation}
        if not direction:
            self._asked[detail.correlation] = detail
        asked = self._asked.get(detail.correlation)
        if asked is not None:
            found = read(asked.plan, detail.head, 0) if direction else detail.found
            told |= {"api_key": asked.key, "api_name": APIS[asked.key].name, "api_version": asked.version}
            told |= {"client_id": asked.client or None} if not direction else {}
            told |= {"topics": sorted(set(found.topics)) or None, "group": found.group or None}
            told |= {"errors": sorted(set(found.errors)) or None}
        self.messages.append(told)
        super().stitch(direction, message)


def listened(flow: Flow) -> list[dict[str, Any]]:
    connection = Listening()
    for piece in flow.pieces:
        connection.frame = piece.frame
        connection.feed(piece.direction, piece.data, piece.gap, piece.timestamp_ns)
    connection.close()
    return connection.messages


def ours(flow: Flow, classify: Classify) -> Flow:
    """The flow with the client that the classifier says; as the capture has it where no request is in it."""
    turned = any(classify(piece.data) == 1 and piece.direction for piece in flow.pieces)
    return flow.turned() if turned else flow
