from __future__ import annotations

from pathlib import Path

import pytest

from dart_ros.files import read_regular, replacing


def test_the_file_appears_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("written", [True, False])
def test_after_an_error_all_is_as_it_was(tmp_path: Path, written: bool) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        if written:
            temporary.write_bytes(b"ne")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]


def test_two_at_once_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        first.write_bytes(b"first")
        second.write_bytes(b"second")
    assert path.read_bytes() == b"first"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "no" / "a.bin") as temporary:
        temporary.write_bytes(b"new")


def test_reading_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == b"12345"
    with pytest.raises(OSError, match="longer than 4 bytes"):
        read_regular(path, 4)
    with open(path, "r+b") as file:
        file.truncate(2**40)
    with pytest.raises(OSError, match="longer than"):
        read_regular(path, 1000)
    # Files of the kernel say that they are empty.
    assert read_regular("/proc/self/status", 100_000).startswith(b"Name:")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev", "/dev/null"])
def test_what_is_no_regular_file_is_not_opened(path: str) -> None:
    with pytest.raises(OSError, match="not a regular file"):
        read_regular(path, 10)
