"""The BTF reader against bpftool, and against files that are none."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rover_bpf.btf import VMLINUX, Btf, BtfError

needs_btf = pytest.mark.skipif(not VMLINUX.exists(), reason="this kernel has no BTF")


@needs_btf
@pytest.mark.skipif(shutil.which("bpftool") is None, reason="bpftool is not installed")
def test_offsets_are_those_bpftool_prints() -> None:
    """Broken: programs read the wrong bytes of kernel structures."""
    dump = subprocess.run(
        ["bpftool", "btf", "dump", "file", str(VMLINUX)], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    btf = Btf()
    for structure in ("task_struct", "sock_common", "inode", "file"):
        body = re.search(rf"\] STRUCT '{structure}' .*\n((?:\t.*\n)+)", dump)
        assert body
        members = re.findall(r"\t'([a-z]\w*)' type_id=\d+ bits_offset=(\d+)(?: bitfield_size=\d+)?\n", body[1])
        assert len(members) > 5
        for name, bits in members:
            assert btf.bits(structure, name) == int(bits), (structure, name)
            assert btf.offset(structure, name) == int(bits) // 8


@needs_btf
def test_members_of_nested_and_anonymous_structures_are_found() -> None:
    """Broken: half of the members that network programs need are out of reach."""
    btf = Btf()
    assert btf.offset("sock", "__sk_common.skc_family") == btf.offset("sock_common", "skc_family")
    assert btf.offset("sock", "__sk_common.skc_daddr") == 0  # inside two anonymous unions


@needs_btf
def test_what_the_kernel_does_not_have_is_named() -> None:
    """Broken: a kernel without a member is reported as a puzzle."""
    with pytest.raises(KeyError, match=r"task_struct\.no_such_member"):
        Btf().offset("task_struct", "no_such_member")
    with pytest.raises(KeyError, match="no_such_struct"):
        Btf().offset("no_such_struct", "comm")


@pytest.mark.parametrize("content", [b"", b"\x9f\xeb", b"ELF and so on, longer than the header of a BTF file"])
def test_a_file_that_is_no_btf_is_refused(tmp_path: Path, content: bytes) -> None:
    """Broken: a truncated or foreign file ends in a traceback."""
    path = tmp_path / "vmlinux"
    path.write_bytes(content)
    with pytest.raises(BtfError):
        Btf(path)


def test_a_missing_file_says_what_kernel_is_needed(tmp_path: Path) -> None:
    """Broken: a host without BTF gets no hint."""
    with pytest.raises(BtfError) as caught:
        Btf(tmp_path / "absent")
    assert "CONFIG_DEBUG_INFO_BTF" in caught.value.args[2]
