"""docs/adding_a_method.md, done: its own file, dropped into a folder, is listed, learns, is trained and segments."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

from hepar import methods
from hepar.datasets.phantom import PhantomSettings, phantom_case
from hepar.io import write, write_volume
from hepar.nets.encoder_decoder import parameter_count

PAGE = Path(__file__).parents[1] / "docs" / "adding_a_method.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """The words of every `hepar` line on the page, in order."""
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("hepar ")]


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with the page's file in my_methods/, the variable as the page exports it, and one phantom as data."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_methods").mkdir()
    (tmp_path / "my_methods" / "light_unet.py").write_text(blocks("python")[0], encoding="utf-8")
    (name, value), *_ = re.findall(r"^export (\w+)=(\S+)", blocks("bash")[0], re.MULTILINE)
    monkeypatch.setenv(name, value)
    yield tmp_path
    torch.set_num_threads(before)


def test_the_pages_file_is_a_method(workplace):
    assert "light_unet" in methods.names()
    assert methods.get("light_unet/all_slices").recipe.slices == "all"
    assert 20 < len(methods.description("light_unet")) <= 120
    card = methods.card("light_unet")
    with torch.device("meta"):
        assert card is not None and card.parameters == parameter_count(methods.get("light_unet").network.build())


def test_the_pages_phantom_is_learned_by_heart(workplace, capsys):
    result: dict[str, object] = {}
    exec(compile(blocks("python")[1], PAGE.name, "exec"), result)
    assert float(result["dice"]) > 0.5
    assert f"liver Dice {result['dice']:.3f}" in capsys.readouterr().out
    assert (workplace / "runs" / "by_heart" / "run.json").exists()


def test_the_pages_commands_run(workplace, hepar_command):
    case = phantom_case(PhantomSettings(seed=3, shape=(8, 64, 64), spacing_mm=(24, 6, 6)), "phantom")
    (workplace / "data").mkdir()
    write_volume(case.ct, workplace / "data" / "volume-0.nii")
    write(case.truth, workplace / "data" / "segmentation-0.nii")
    show, train, segment = commands()
    ended = hepar_command(*show)
    assert ended.code == 0
    assert "Ronneberger, Fischer, Brox, 2015" in ended.out
    # Fewer pixels than the page asks for: a full training is not what is to be shown.
    ended = hepar_command(*train, "--set", "matrix=64", "--device", "cpu")
    assert (ended.code, ended.err) == (0, "")
    ended = hepar_command(*segment)
    assert ended.code == 0
    assert (workplace / "found.nii.gz").exists()


def test_what_the_page_names_is_there():
    root = PAGE.parents[1]
    text = PAGE.read_text(encoding="utf-8")
    for named in re.findall(r"`((?:tests|src|nets|methods)/[\w/.]+)`", text):
        homes = (root / named, root / "src" / "hepar" / named)
        assert any(home.exists() for home in homes) or "light_unet" in named, named
