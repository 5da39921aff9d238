"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import json
import math
import os
import stat

import pytest

from hepar.errors import OutputError
from hepar.files import replace_whole, write_json, write_text


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_place_when_the_block_ends(tmp_path):
    with replace_whole(tmp_path / "new" / "a.txt") as growing:
        growing.write_text("whole")
        assert not (tmp_path / "new" / "a.txt").exists()
        assert growing.parent == tmp_path / "new"
    assert (tmp_path / "new" / "a.txt").read_text() == "whole"
    assert names(tmp_path / "new") == ["a.txt"]


@pytest.mark.parametrize("name", ["a.nii.gz", "a.png", "a"])
def test_the_temporary_name_keeps_the_suffixes(tmp_path, name):
    with replace_whole(tmp_path / name) as growing:
        assert growing.name.startswith(".writing-")
        assert growing.name.endswith(name.removeprefix("a"))


def test_a_failure_leaves_the_old_file_as_it_was(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(ZeroDivisionError), replace_whole(tmp_path / "a.txt") as growing:
        growing.write_text("ha")
        raise ZeroDivisionError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_full_disk_is_an_output_error_and_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match=r"writing a\.txt failed: No space left on device; free space"):  # noqa: SIM117
        with replace_whole(tmp_path / "a.txt") as growing:
            growing.write_text("ha")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert names(tmp_path) == []


def test_a_folder_that_is_a_file_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "a.txt", tmp_path / "file" / "b" / "a.txt"):
        with pytest.raises(OutputError, match=r"cannot write a\.txt: .*; choose a folder"):
            write_text(path, "a")
    assert (tmp_path / "file").read_text() == "x"


def test_a_target_that_is_a_folder_is_an_output_error(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OutputError, match=r"writing a\.txt failed"):
        write_text(tmp_path / "a.txt", "a")
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(os.name != "posix", reason="modes are a matter of POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_files_are_as_readable_as_the_user_wishes(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o666 & ~umask


def test_json_knows_no_nan(tmp_path):
    write_json(tmp_path / "a.json", {"a": math.nan, "b": [1, (math.nan, "x")], "c": 0.0})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"a": None, "b": [1, [None, "x"]], "c": 0.0}
    assert text.endswith("}\n")


def test_infinity_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": math.inf})
    assert names(tmp_path) == []
