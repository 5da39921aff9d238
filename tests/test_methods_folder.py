"""Methods in folders beyond the package: found by HEPAR_METHODS, and never in another's place."""

from __future__ import annotations

import os

import pytest

from hepar import methods
from hepar.errors import BadInput

FILE = '"""A new paper (Nobody 2030).\n\nDiffers from it.\n"""\nmethod = "{0}"\nvariants = {{"again": "{0} again"}}\n'


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two folders of own methods, both named by the variable."""
    for name, files in {"mine": ("zz_first", "_card"), "ours": ("zz_second",)}.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / f"{file}.py").write_text(FILE.format(file))
    monkeypatch.setenv("HEPAR_METHODS", os.pathsep.join([str(tmp_path / "mine"), str(tmp_path / "ours")]))
    return tmp_path


def test_files_there_are_methods_like_any_other(folders):
    assert {"zz_first", "zz_second", "unet"} <= set(methods.names())
    assert "_card" not in methods.names()
    assert methods.get("zz_second") == "zz_second"
    assert methods.get("zz_first/again") == "zz_first again"
    assert methods.description("zz_first") == "A new paper (Nobody 2030)."
    assert methods.remarks("zz_first") == "Differs from it."
    assert methods.variant_names("zz_first") == ["again"]
    assert methods.card("zz_first") is None


def test_without_the_variable_there_are_none(folders, monkeypatch):
    before = methods.names()
    monkeypatch.delenv("HEPAR_METHODS")
    assert methods.names() == [name for name in before if not name.startswith("zz_")]
    with pytest.raises(BadInput, match="no method is called zz_first"):
        methods.get("zz_first")


def test_a_file_is_run_once_and_one_of_the_same_name_elsewhere_is_another(folders, monkeypatch):
    (folders / "mine" / "zz_object.py").write_text("method = object()\n")
    first = methods.get("zz_object")
    assert methods.get("zz_object") is first
    (folders / "third").mkdir()
    (folders / "third" / "zz_object.py").write_text('method = "third"\n')
    monkeypatch.setenv("HEPAR_METHODS", str(folders / "third"))
    assert methods.get("zz_object") == "third"


@pytest.mark.parametrize("name", ["unet", "zz_first"])
def test_a_name_that_is_taken_is_refused(folders, name):
    (folders / "ours" / f"{name}.py").write_text(FILE.format("x"))
    with pytest.raises(BadInput, match=rf"{name}.py in ours bears the name of another method; rename the file"):
        methods.names()


def test_a_folder_that_is_none_is_told(folders, monkeypatch):
    monkeypatch.setenv("HEPAR_METHODS", str(folders / "nowhere"))
    with pytest.raises(BadInput, match="HEPAR_METHODS names nowhere, which is no folder"):
        methods.names()


def test_a_broken_file_is_run_again_once_it_is_mended(folders):
    path = folders / "mine" / "zz_broken.py"
    path.write_text("raise ValueError('not yet')\n")
    with pytest.raises(ValueError, match="not yet"):
        methods.get("zz_broken")
    path.write_text('"""Nothing yet."""\n')
    with pytest.raises(BadInput, match=r"zz_broken\.py exports no `method`"):
        methods.get("zz_broken")
