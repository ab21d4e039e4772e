"""A connection that keeps its messages, for the comparison with a dissector's."""

from dataclasses import replace
from typing import Any

from captures import Flow
from classifying import Classify, directed

from rover_core.wire import Limits, Message
from rover_mongodb.connection import MongoConnection


class Listening(MongoConnection):
    """Keeps every message with the frame that completed it."""

    def __init__(self) -> None:
        super().__init__(Limits())
        self.messages: list[tuple[int, Message[Any], int]] = []
        self.frame = 0

    def stitch(self, direction: int, message: Message[Any]) -> None:
        self.messages.append((direction, message, self.frame))
        super().stitch(direction, message)


def read(flow: Flow, classify: Classify) -> Listening:
    """Nothing where the classifier finds nothing."""
    connection = Listening()
    for piece in (directed(flow, classify) or replace(flow, pieces=[])).pieces:
        connection.frame = piece.frame
        connection.feed(piece.direction, piece.data, piece.gap, piece.timestamp_ns)
    connection.close()
    return connection
