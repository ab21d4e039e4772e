"""The client's direction of a MySQL connection: what it asks."""

from collections.abc import Callable

from rover_core.wire import INVALID, NEED_MORE, SKIPPED, Buffer, Limits, Message, Outcome
from rover_mysql import packets
from rover_mysql.framing import PacketReader, length_at
from rover_mysql.packets import HEADER, LARGEST, Command, Session

_HANDSHAKE = b"\x16\x03"  # a record of TLS, RFC 8446 section 5.1
_COMPRESSION = packets.COMPRESS | packets.ZSTD


class CommandReader(PacketReader[Command]):
    """From the client.

    Behind a request for TLS come its records, which are not for us (`leave`), or where the agent sees the plain text,
    that: a login, as if nothing had been.
    """

    unpacked = 16_384  # a few bytes become many commands: 3000 are enough

    def __init__(self, limits: Limits, session: Session, leave: Callable[[], None]) -> None:
        super().__init__(limits, session)
        self._leave = leave
        self._asked_for_tls = False
        self._unseen_from = 0
        self._rest: Command | None = None  # what the client goes on with until the server answers
        self._command: Command | None = None
        self._complete = True
        self._goes_on = False
        self._left = 0
        self._rest = None

    @property
    def begun(self) -> bool:
        return self._command is not None

    def begins(self, payload: bytes | bytearray, length: int, sequence: int) -> bool:
        if sequence == 0:
            return packets.is_command(payload, length)
        return sequence < 3 and packets.is_login(payload)

    def step(self, source: Buffer) -> Message[Command] | Outcome:
        if self._left:
            left, self._left = self._left, 0
            source.skip(left)
            if source.owed:
                return NEED_MORE
        while self._command is None or self._goes_on:
            data, at = source.data, source.at
            have = len(data) - at
            if have < HEADER:
                return NEED_MORE
            length = length_at(data, at)
            if self._command is None:
                if self._asked_for_tls and data.startswith(_HANDSHAKE, at):
                    self._leave()
                    return INVALID
                self._asked_for_tls = False
                if source is self.buffer and self.session.flags & _COMPRESSION and data[at + 3] == 0:
                    self.session.compressed = True  # whoever gives commands has logged in
                    return SKIPPED
                if not self.certain and (outcome := self.doubt(source, have, length)):
                    return outcome
                if have < HEADER + min(length, packets.HEAD):
                    return NEED_MORE
                if not self._begin(data, at, length, True):
                    return INVALID
            self._goes_on = length == LARGEST
            self.session.sequence = data[at + 3]
            source.skip(HEADER + length)
            if source.owed:
                return NEED_MORE
        command, self._command = self._command, None
        self._rest = _rest(command)
        return self.finish(command, self._complete)

    def turn(self) -> Message[Command] | None:
        """The server answers: a command of which the end was not seen is over."""
        if not self.blind:
            return None
        unseen = (self.buffer.position - self._unseen_from) // (HEADER + LARGEST) + 1
        self.session.sequence = (self.session.sequence + unseen) % 256 if self._goes_on else 0
        command = self.abandon()
        assert command is not None
        return self.finish(command, False)

    def bridge(self, gap: int) -> bool:
        buffer = self.buffer
        data, at, have = buffer.data, buffer.at, len(buffer)
        if self.blind:
            return True
        if not have and self._command is None and self._rest:
            self._command = self._rest
            return self.go_blind()
        if self.session.compressed:
            return self.bridge_compressed(gap)
        if self._goes_on and not have:
            self._unseen_from = buffer.position
            return self.go_blind()
        if self._command is not None or not self.certain or have < HEADER + 5:
            return False
        length = length_at(data, at)
        if have + gap > HEADER + length or not self._begin(data, at, length, False):
            return False
        buffer.skip(have)
        self._left = HEADER + length - have - gap
        self._goes_on = length == LARGEST
        return True

    def abandon(self) -> Command | None:
        command, self._command = self._command, None
        self._goes_on = False
        self._left = 0
        self._rest = None
        self.forget()
        return command

    def _begin(self, data: bytes | bytearray, at: int, length: int, complete: bool) -> bool:
        payload = bytes(data[at + HEADER : at + HEADER + min(length, packets.HEAD)])
        sequence, before = data[at + 3], self.session.sequence
        self.session.sequence = sequence
        if sequence == 0 and before != 255:
            command = _command(payload, self.session) if payload else None
        elif sequence < 3 and packets.is_login(payload):
            command = self._login(payload, length)
        else:
            command = Command(packets.CONTINUATION)
        if command is None:
            return False
        self._command, self._complete = command, complete
        return True

    def _login(self, payload: bytes, length: int) -> Command:
        flags = int.from_bytes(payload[:4], "little")
        if length == 32 and flags & packets.SSL:
            self._asked_for_tls = True
            return Command(packets.TLS)
        self.session.flags = flags
        return Command(packets.LOGIN, name=_text(payload[32:].partition(b"\0")[0]))


def _rest(command: Command) -> Command | None:
    """What certainly follows: more of an upload or a login, or the execution that a long value is for."""
    if command.kind == packets.CONTINUATION:
        return command
    return Command(packets.EXECUTE, statement=command.statement) if command.kind == packets.SEND_LONG_DATA else None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _command(payload: bytes, session: Session) -> Command | None:
    kind = payload[0]
    match kind:
        case packets.QUERY:
            return Command(kind, packets.statement_text(payload, session.flags), backslashes=session.backslashes)
        case packets.PREPARE:
            return Command(kind, payload[1:], backslashes=session.backslashes)
        case packets.EXECUTE | packets.CLOSE | packets.RESET | packets.FETCH | packets.SEND_LONG_DATA:
            return Command(kind, statement=int.from_bytes(payload[1:5], "little"))
        case packets.BULK_EXECUTE:
            return Command(kind, statement=int.from_bytes(payload[1:5], "little"))
        case packets.INIT_DB | packets.FIELD_LIST | packets.CHANGE_USER:
            return Command(kind, name=_text(payload[1:].partition(b"\0")[0]))
    return Command(kind) if kind in packets.COMMANDS else None
