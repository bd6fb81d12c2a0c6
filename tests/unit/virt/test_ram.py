"""Files with memory."""

from __future__ import annotations

from pathlib import Path

from lago.virt import memory

MIB = 1 << 20


def sparse(path: Path, size: int, **parts: bytes) -> Path:
    """A file with parts of it written, by their offset in `at<offset>`."""
    with path.open("wb") as file:
        for at, data in parts.items():
            file.seek(int(at.removeprefix("at")))
            file.write(data)
        file.truncate(size)
    return path


def test_several_files_are_saved_as_one_and_come_back_apart(tmp_path: Path) -> None:
    first = sparse(tmp_path / "0", 3 * MIB, at0=b"a" * 5000, at1048576=b"b" * MIB)
    second = sparse(tmp_path / "1", 2 * MIB, at2093056=b"c" * 4096)
    wanted = [first.read_bytes(), second.read_bytes()]
    memory.save([str(first), str(second)], str(tmp_path / "saved"))
    assert (tmp_path / "saved").stat().st_size == 5 * MIB
    assert (tmp_path / "saved").stat().st_blocks * 512 < 2 * MIB
    # What QEMU wrote since it was started must not stay.
    sparse(first, 3 * MIB, at524288=b"x" * 9000)
    sparse(second, 2 * MIB, at0=b"y")
    memory.load(str(tmp_path / "saved"), [str(first), str(second)])
    assert [first.read_bytes(), second.read_bytes()] == wanted


def test_what_was_saved_ahead_is_brought_up_to_date(tmp_path: Path) -> None:
    first = sparse(tmp_path / "0", 2 * MIB, at0=b"a" * 5000, at1048576=b"b" * MIB)
    second = sparse(tmp_path / "1", MIB, at8192=b"c" * 4096)
    saved = tmp_path / "saved"
    memory.save([str(first), str(second)], str(saved))
    # A guest changes a page, touches one more, and gives some back.
    sparse(first, 2 * MIB, at0=b"d" * 5000, at524288=b"e" * 4096)
    sparse(second, MIB)
    memory.save([str(first), str(second)], str(saved))
    assert saved.read_bytes() == first.read_bytes() + second.read_bytes()


def test_parts_of_a_saved_file_are_files_of_their_own_and_made_once(tmp_path: Path) -> None:
    saved = sparse(tmp_path / "saved", 4 * MIB, at0=b"a" * 5000, at1048576=b"b" * 4096, at3145728=b"c" * 8192)
    sizes = [MIB, 2 * MIB, MIB]
    found = [Path(path) for path in memory.apart(str(saved), sizes)]
    assert found[0] == saved
    whole = saved.read_bytes()
    assert [path.read_bytes() for path in found[1:]] == [whole[MIB : 3 * MIB], whole[3 * MIB :]]
    assert all(path.stat().st_mode & 0o222 == 0 for path in found[1:])
    assert sum(path.stat().st_blocks for path in found[1:]) * 512 < 64 << 10
    before = [path.stat().st_mtime_ns for path in found]
    assert [Path(path) for path in memory.apart(str(saved), sizes)] == found
    assert [path.stat().st_mtime_ns for path in found] == before
    assert memory.apart(str(saved), [4 * MIB]) == [str(saved)]
