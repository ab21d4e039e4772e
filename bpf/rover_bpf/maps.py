"""Reading eBPF maps in bulk into numpy arrays (BPF_MAP_*_BATCH, kernel 5.6)."""

import ctypes
import errno
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rover_bpf.cpus import possible_cpus
from rover_bpf.program import MapInfo
from rover_bpf.syscalls import BpfCommand, bpf

Array = NDArray[Any]

_PER_CPU_TYPES = (5, 6, 10)  # PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH
_ARRAY_TYPES = (2, 6)  # ARRAY, PERCPU_ARRAY
_ENOTSUPP = 524  # include/linux/errno.h: the kernel's own, which user space was never meant to see
_FIRST_BYTES = 1 << 18
_LEAST_ROOM = 64


class _Element(ctypes.Structure):
    _fields_ = (
        ("map_fd", ctypes.c_uint32),
        ("key", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )


class _Batch(ctypes.Structure):
    _fields_ = (
        ("in_batch", ctypes.c_uint64),
        ("out_batch", ctypes.c_uint64),
        ("keys", ctypes.c_uint64),
        ("values", ctypes.c_uint64),
        ("count", ctypes.c_uint32),
        ("map_fd", ctypes.c_uint32),
        ("elem_flags", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )


class BpfMap:
    """A map whose keys and values have numpy types.

    Of a per-CPU map, values have a trailing axis with one element for each possible processor. Raises ValueError
    if a type's size is not the map's.
    """

    def __init__(self, info: MapInfo, key: Any, value: Any) -> None:
        self.info = info
        self.key = np.dtype(key)
        self.value = np.dtype(value)
        if (self.key.itemsize, self.value.itemsize) != (info.key_size, info.value_size):
            raise ValueError(
                f"map of {info.key_size}-byte keys and {info.value_size}-byte values, "
                f"described with {self.key.itemsize} and {self.value.itemsize} bytes"
            )
        self._copies = possible_cpus() if info.type in _PER_CPU_TYPES else 1
        if self._copies > 1 and self.value.itemsize % 8:
            raise ValueError("values of per-CPU maps are padded to 8 bytes: describe them so")

    def update(self, key: Any, value: Any) -> None:
        """Insert or replace. Raises OSError (E2BIG: the map is full)."""
        self._element(BpfCommand.MAP_UPDATE_ELEM, self._one(key, self.key), self._one(value, self.value))

    def update_all(self, keys: Array, values: Array) -> None:
        """Insert or replace many: shapes (n,), n > 0, of the map's types. Raises OSError. Not for per-CPU maps."""
        keys, values = np.ascontiguousarray(keys, self.key), np.ascontiguousarray(values, self.value)
        batch = _Batch(0, 0, keys.ctypes.data, values.ctypes.data, len(keys), self.info.fd)
        bpf(BpfCommand.MAP_UPDATE_BATCH, batch)

    def delete(self, key: Any) -> bool:
        """Whether the key was there."""
        try:
            self._element(BpfCommand.MAP_DELETE_ELEM, self._one(key, self.key), None)
        except FileNotFoundError:
            return False
        return True

    def lookup(self, key: Any) -> Array | None:
        """The value, of shape () or (processors,); None if there is none."""
        value = np.zeros(self._copies, self.value)
        try:
            self._element(BpfCommand.MAP_LOOKUP_ELEM, self._one(key, self.key), value)
        except FileNotFoundError:
            return None
        return value if self._copies > 1 else value[0]

    def read(self) -> tuple[Array, Array]:
        """All keys, shape (n,), and values, (n,) or (n, processors), as they are now."""
        try:
            return self._batches(BpfCommand.MAP_LOOKUP_BATCH)
        except OSError as error:
            if error.errno != _ENOTSUPP or self.info.type not in _ARRAY_TYPES:
                raise
            return self._one_by_one()  # per-CPU arrays have batches since 5.13 (f008d732ab18), hash maps since 5.6

    def _one_by_one(self) -> tuple[Array, Array]:
        """Of an array, whose keys are known."""
        keys = np.arange(self.info.max_entries).astype(self.key)
        return keys, np.stack([value for key in keys if (value := self.lookup(key)) is not None])

    def drain(self, onto: tuple[Array, Array] | None = None) -> tuple[Array, Array]:
        """As `read`, and the entries are deleted. Only hash maps can be drained.

        onto: what was drained of another map of these types; its arrays are continued, and nobody else may use them.
        """
        return self._batches(BpfCommand.MAP_LOOKUP_AND_DELETE_BATCH, onto)

    def _one(self, value: Any, dtype: np.dtype[Any]) -> Array:
        return np.array([value], dtype)

    def _element(self, command: BpfCommand, key: Array, value: Array | None) -> None:
        pointer = value.ctypes.data if value is not None else 0
        bpf(command, _Element(self.info.fd, key.ctypes.data, pointer, 0))

    def _batches(self, command: BpfCommand, onto: tuple[Array, Array] | None = None) -> tuple[Array, Array]:
        each = (self._copies,) if self._copies > 1 else ()
        entry = self.key.itemsize + self.value.itemsize * self._copies
        room = min(self.info.max_entries, max(_LEAST_ROOM, _FIRST_BYTES // entry))
        keys, values = onto or (np.empty(room, self.key), np.empty((room, *each), self.value))
        before = count = len(keys) if onto else 0
        cursor, following = ctypes.create_string_buffer(max(8, self.key.itemsize)), False
        more = True
        while more:
            if len(keys) < count + room:  # in place: tens of MB of rows are not there twice
                keys.resize(count + room, refcheck=False)
                values.resize((count + room, *each), refcheck=False)
            batch = _Batch(
                ctypes.addressof(cursor) if following else 0,
                ctypes.addressof(cursor),
                keys[count:].ctypes.data,
                values[count:].ctypes.data,
                room,
                self.info.fd,
            )
            try:
                bpf(command, batch)
            except OSError as error:
                if error.errno == errno.ENOSPC:  # one hash bucket holds more than there is room for
                    room *= 2
                    continue
                if error.errno != errno.ENOENT:  # ENOENT: this was the last batch, and its count is right
                    raise
                more = False
            following = True
            count += batch.count
            room = max(_LEAST_ROOM, min(count, self.info.max_entries + before - count))
        keys.resize(count, refcheck=False)
        values.resize((count, *each), refcheck=False)
        return keys, values
