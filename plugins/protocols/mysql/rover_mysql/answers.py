"""What a server answers: OK, an error, result sets, or the steps of a login."""

from collections.abc import Callable

from rover_core.wire import INVALID, NEED_MORE, SKIPPED, WITHOUT_END, Buffer, Limits, Message, Outcome
from rover_mysql import packets
from rover_mysql.framing import PacketReader, length_at
from rover_mysql.packets import HEADER, LARGEST, Answer, Command, Session

_HEAD = 512
"""Bytes of a packet that are looked at: an error's text is no longer."""

_PATIENT = 4096
"""Bytes of an answer that wait for the request, if the two were reported in the wrong order."""

_EOF_LENGTH = 9
_PROGRESS = 0xFFFF
_LOGINS = (packets.LOGIN, packets.CHANGE_USER)
_STREAMS = (packets.BINLOG_DUMP, packets.BINLOG_DUMP_GTID, 19)


class AnswerReader(PacketReader[Answer]):
    """From the server. asked: the command that an answer beginning at that time answers, if it is known.

    Which packets follow depends on the command for a few; the others tell themselves. Whether column definitions end
    in an EOF depends on a capability that may never have been seen, but a packet that could be both is too short
    for the one or too long for the other, so it is learnt from the first result set.
    """

    def __init__(self, limits: Limits, session: Session, asked: Callable[[int], Command | None]) -> None:
        super().__init__(limits, session)
        self._asked = asked
        self.waiting = False
        self.patient = True  # a request may come that was sent before
        self._seen = 0
        self._uploading = False
        self._reset()

    @property
    def begun(self) -> bool:
        return self._begun

    def begins(self, payload: bytes | bytearray, length: int, sequence: int) -> bool:
        if sequence > 1:  # a login inside TLS, of which the greeting was before
            logging_in = self.session.flags and sequence == self.session.sequence + 1
            return bool(logging_in) and payload[0] in (0, 1, 0xFE, 0xFF)
        return packets.is_answer(payload, length, sequence)

    def looks_right(self, data: bytes | bytearray, at: int) -> bool:
        # Whether packets are compressed is for the client's to say: answers are too short to be sure.
        return self._looks_compressed(data, at) if self.session.compressed else self.looks_plain(data, at)

    def find(self, at: int) -> int:
        # An answer to a command that was sent after the loss: nothing else can follow.
        return super().find(at) if self.session.sent > self._seen else -1

    def abandon(self) -> Answer | None:
        answer = self._answer if self._answer.kind else None
        if self.certain:
            self._seen = self.session.sent
        self.forget()
        self._reset()
        return answer

    def bridge(self, gap: int) -> bool:
        """What is missing of a result set is rows: it goes on until the client sends again."""
        if self.blind:
            return True
        if self.session.compressed:
            return self.bridge_compressed(gap)
        if self.go_blind():
            self.buffer.skip(len(self.buffer))
        return self.blind

    def closed(self) -> bool:
        return self._begun and self.buffer.endless

    def turn(self) -> Message[Answer] | None:
        """The client goes on: an answer of which the end was not seen is over."""
        if not self.blind:
            return None
        answer = self._answer
        self.forget()
        self._reset()
        return self.finish(answer, False)

    def step(self, source: Buffer) -> Message[Answer] | Outcome:
        while True:
            result = self._step(source)
            if result is not None:
                return result

    def _reset(self) -> None:
        self._answer = Answer("")
        self._begun = False
        self.waiting = False
        self._step: Step = self._begin

    def _done(self, source: Buffer) -> Message[Answer] | Outcome:
        answer = self._answer
        self._uploading = answer.kind == "infile"
        self._reset()
        return self.finish(answer)

    def _skip(self, source: Buffer, count: int, then: "Step") -> Outcome | None:
        self._step = then
        source.skip(count)
        return NEED_MORE if source.owed else None

    def _begin(self, source: Buffer) -> Message[Answer] | Outcome | None:
        data, at = source.data, source.at
        have = len(data) - at
        if have < HEADER:
            return INVALID if have and not (self.patient or self.certain) else NEED_MORE
        length, sequence = length_at(data, at), data[at + 3]
        if not self.certain and not self._begun and (outcome := self.doubt(source, have, length)):
            return outcome
        end = HEADER + min(length, _HEAD)
        if have < end:
            return NEED_MORE
        if not length:
            return INVALID
        payload = data[at + HEADER : at + end]
        first = payload[0]
        if first == 0xFE and length == 5 and sequence > 1 and self.session.has_eof is None and not self._begun:
            return self._late_eof(source)
        command = None
        if sequence:
            command = self._asked(self.buffer.start_ns)
            if command is None and self.patient and have < _PATIENT:
                self.waiting = True
                return NEED_MORE
        self.waiting = False
        if not self._begun and not self._follows(sequence, command):
            return INVALID
        self._begun = True
        return self._first(source, payload, length, sequence, command.kind if command else 0)

    def _follows(self, sequence: int, command: Command | None) -> bool:
        """Whether that is an answer's first number, and not what is left of one that was misunderstood."""
        if not sequence or self.session.compressed or (command and (command.kind in _LOGINS or self._uploading)):
            return True
        return sequence == (self.session.sequence + 1 if command else 1) % 256

    def _late_eof(self, source: Buffer) -> Outcome:
        """The last answer's: it was a prepared statement's, and whether that ends in one was not known yet."""
        self.session.has_eof = True
        source.drop(HEADER + 5)
        self.buffer.forget()
        return SKIPPED

    def _first(
        self, source: Buffer, payload: bytes | bytearray, length: int, sequence: int, kind: int
    ) -> Outcome | None:
        first, whole = payload[0], HEADER + length
        answer = self._answer
        if first == 0xFF:
            self._answer = answer if sequence else Answer("refused")
            return self._error(source, payload, whole)
        if sequence == 0:
            if not packets.is_greeting(payload):
                return INVALID
            self._answer = Answer("greeting")
        elif kind in _LOGINS and first in (0xFE, 1):
            self._answer = Answer("auth")
        elif kind in _STREAMS:
            self._answer = Answer("stream")
            whole = WITHOUT_END
        elif kind == packets.FETCH:
            self._step = self._rows
            answer.kind, answer.sets = "result set", 1
            return None
        elif kind == packets.FIELD_LIST or (not kind and payload[:4] == b"\x03def"):
            self._step = self._rows
            self._answer = Answer("fields")
            return None
        elif kind == packets.STATISTICS:
            self._answer = Answer("text")
        elif first == 0 and kind == packets.PREPARE and length >= 12:
            return self._prepared(source, payload, length)
        elif first == 0 and length >= 7:
            return self._ok(source, payload, whole)
        elif first == 0xFE and length < _EOF_LENGTH:
            answer.kind = "eof"
            self._warn(payload, length)
        elif first == 0xFB:
            self._answer = Answer("infile")
        else:
            return self._result_set(source, payload, length)
        return self._skip(source, whole, self._done)

    def _error(self, source: Buffer, payload: bytes | bytearray, whole: int) -> Outcome | None:
        code = payload[1] | payload[2] << 8 if len(payload) > 2 else 0
        if code == _PROGRESS:  # MariaDB tells how far ALTER TABLE is
            return self._skip(source, whole, self._step)
        state = payload[4:9].decode("latin-1") if payload[3:4] == b"#" else ""
        answer = self._answer
        answer.code, answer.sqlstate = code, state
        if answer.kind != "refused":
            answer.kind = "error"
        return self._skip(source, whole, self._done)

    def _ok(self, source: Buffer, payload: bytes | bytearray, whole: int) -> Outcome | None:
        said = packets.ok(payload)
        if said is None:
            return INVALID
        answer = self._answer
        answer.affected, answer.insert_id, status, answer.warnings = said
        answer.kind = answer.kind or "ok"
        return self._end_set(source, status, whole)

    def _end_set(self, source: Buffer, status: int, whole: int) -> Outcome | None:
        self.session.backslashes = not status & packets.NO_BACKSLASHES
        return self._skip(source, whole, self._begin if status & packets.MORE_RESULTS else self._done)

    def _warn(self, payload: bytes | bytearray, length: int) -> None:
        if length >= 5:
            self._answer.warnings = payload[1] | payload[2] << 8

    def _result_set(self, source: Buffer, payload: bytes | bytearray, length: int) -> Outcome | None:
        count, named = _columns(payload, length)
        if not count:
            return INVALID
        answer = self._answer
        answer.kind, answer.columns = "result set", answer.columns or count
        answer.sets += 1
        self._left = count if named else 0
        self._next: Step = self._after_columns
        return self._skip(source, HEADER + length, self._definitions)

    def _prepared(self, source: Buffer, payload: bytes | bytearray, length: int) -> Outcome | None:
        statement = int.from_bytes(payload[1:5], "little")
        columns, params = int.from_bytes(payload[5:7], "little"), int.from_bytes(payload[7:9], "little")
        warnings = int.from_bytes(payload[10:12], "little")
        self._answer = Answer("prepared", columns=columns, warnings=warnings, statement=statement, params=params)
        if length > 12 and not payload[12]:  # no metadata follow
            columns = params = 0
        self._groups = [each for each in (params, columns) if each]
        return self._skip(source, HEADER + length, self._next_group)

    def _next_group(self, source: Buffer) -> Message[Answer] | Outcome | None:
        if not self._groups:
            return self._done(source)
        self._left, self._next = self._groups.pop(0), self._after_group
        self._step = self._definitions
        return None

    def _after_group(self, source: Buffer) -> Message[Answer] | Outcome | None:
        if self.session.has_eof is None and not self._groups:
            return self._done(source)
        if self.session.has_eof is not False:
            if len(source) < HEADER + 1:
                return NEED_MORE
            data, at = source.data, source.at
            self.session.has_eof = data[at + 4] == 0xFE and length_at(data, at) < _EOF_LENGTH
            if self.session.has_eof:
                return self._skip(source, HEADER + length_at(data, at), self._next_group)
        self._step = self._next_group
        return None

    def _definitions(self, source: Buffer) -> Outcome | None:
        data, at = source.data, source.at
        left, have = self._left, len(data)
        while left and at + HEADER <= have:
            at += HEADER + (data[at] | data[at + 1] << 8 | data[at + 2] << 16)
            left -= 1
        self._left = left
        return self._skip(source, at - source.at, self._definitions if left else self._next) or (
            NEED_MORE if left else None
        )

    def _after_columns(self, source: Buffer) -> Outcome | None:
        data, at = source.data, source.at
        have = len(data) - at
        if have < HEADER + 1:
            return NEED_MORE
        length = length_at(data, at)
        is_eof = data[at + 4] == 0xFE and length < 7
        self._step = self._rows
        self.session.has_eof = is_eof
        if not is_eof:
            return None
        if have < HEADER + length:
            self._step = self._after_columns
            return NEED_MORE
        status = data[at + 7] | data[at + 8] << 8 if length >= 5 else 0
        if status & packets.CURSOR:  # the rows are fetched one by one
            return self._end_set(source, status, HEADER + length)
        return self._skip(source, HEADER + length, self._rows)

    def _rows(self, source: Buffer) -> Message[Answer] | Outcome | None:
        data, start = source.data, source.at
        at, have, rows = start, len(data), 0
        last = False
        while at + HEADER < have:
            length = data[at] | data[at + 1] << 8 | data[at + 2] << 16
            first = data[at + 4]
            if first >= 0xFE and length < LARGEST and (first == 0xFF or self._is_last(length)):
                last = True
                break
            rows += 1
            at += HEADER + length
            if length == LARGEST:
                self._count(rows)
                return self._skip(source, at - start, self._rest_of_row)
        if rows:
            self._count(rows)
        if at > start and (outcome := self._skip(source, at - start, self._rows)):
            return outcome
        return self._last(source) if last else NEED_MORE

    def _count(self, rows: int) -> None:
        if self._answer.kind == "fields":
            self._answer.columns += rows
        else:
            self._answer.rows += rows

    def _is_last(self, length: int) -> bool:
        """A row may begin with 0xFE too, if its first column is longer than 16 MB."""
        return length < _EOF_LENGTH or (self.session.has_eof is not True and length < LARGEST)

    def _rest_of_row(self, source: Buffer) -> Outcome | None:
        if len(source) < HEADER:
            return NEED_MORE
        length = length_at(source.data, source.at)
        return self._skip(source, HEADER + length, self._rest_of_row if length == LARGEST else self._rows)

    def _last(self, source: Buffer) -> Message[Answer] | Outcome | None:
        data, at = source.data, source.at
        length = length_at(data, at)
        end = at + HEADER + min(length, _HEAD)
        if len(data) < end:
            return NEED_MORE
        payload = data[at + HEADER : end]
        whole = HEADER + length
        if payload[0] == 0xFF:
            return self._error(source, payload, whole)
        if length >= 7:
            return self._ok(source, payload, whole)
        self._warn(payload, length)
        return self._end_set(source, payload[3] | payload[4] << 8 if length >= 5 else 0, whole)


Step = Callable[[Buffer], Message[Answer] | Outcome | None]


def _columns(payload: bytes | bytearray, length: int) -> tuple[int, bool]:
    """How many columns, 0 if that is no result set; and whether their definitions follow.

    MySQL says the latter before the number, MariaDB behind it, both only if the client asked them to.
    """
    try:
        count, end = packets.lenenc(payload, 0)
        if end == length:
            return count, True
        if end + 1 == length and payload[end] in (0, 1) and count:
            return count, payload[end] == 1
        count, end = packets.lenenc(payload, 1)
    except IndexError:
        return 0, False
    return (count, payload[0] == 1) if end == length and payload[0] in (0, 1) else (0, False)
