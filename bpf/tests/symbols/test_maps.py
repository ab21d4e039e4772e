import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rover_bpf.symbols.maps import MAX_MAPPINGS, parse_maps

LINES = b"""\
555c973c4000-555c973c6000 r--p 00000000 fe:00 247026                     /usr/bin/cat
555c973c6000-555c973cb000 r-xp 00002000 fe:00 247026                     /usr/bin/cat
7f0000000000-7f0000001000 rwxp 00000000 00:00 0
7f0000002000-7f0000003000 r-xs 00001000 00:01 77                         /memfd:double mapper (deleted)
7f0000004000-7f0000005000 r-xp 00000000 08:02 99                         /tmp/with space\\012line (deleted)
7ffedd62000-7ffedd64000 r-xp 00000000 00:00 0                            [vdso]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
nonsense
"""


def test_only_executable_mappings_with_every_kind_of_name() -> None:
    cat, anonymous, memfd, deleted, vdso, vsyscall = parse_maps(LINES)
    assert (cat.start, cat.end, cat.offset, cat.inode) == (0x555C973C6000, 0x555C973CB000, 0x2000, 247026)
    assert (os.major(cat.device), os.minor(cat.device), cat.module, cat.of_file) == (0xFE, 0, "cat", True)
    assert (anonymous.may_be_jit, anonymous.of_file, anonymous.module) == (True, False, "[anon]")
    assert (memfd.may_be_jit, memfd.of_file, memfd.deleted) == (True, True, True)
    assert (deleted.named_path, deleted.module) == ("/tmp/with space\nline", "with space\nline")
    assert (vdso.module, vdso.may_be_jit) == ("[vdso]", False)
    assert vsyscall.end == 0xFFFFFFFFFF601000


def test_own_maps_agree_with_the_kernels_list_of_mapped_files() -> None:
    """/proc/self/map_files is the same table by another route; disagreement would send look-ups to wrong files."""
    listed = {tuple(int(n, 16) for n in p.name.split("-")) for p in Path("/proc/self/map_files").iterdir()}
    ours = parse_maps(Path("/proc/self/maps").read_bytes())
    assert {(m.start, m.end) for m in ours if m.of_file} <= listed


def test_a_process_with_endless_mappings_is_cut() -> None:
    lines = b"".join(b"%x-%x r-xp 0 00:00 0\n" % (n << 12, (n + 1) << 12) for n in range(MAX_MAPPINGS + 10))
    assert len(parse_maps(lines)) == MAX_MAPPINGS


@given(st.binary(max_size=200))
def test_junk_is_skipped(junk: bytes) -> None:
    assert parse_maps(b"1000-2000 r-xp 0 0:0 0\n" + junk.replace(b"x", b"y"))[0].start == 0x1000
