"""What a run folder says of its training, and what it keeps to itself."""

import json
import sys

import pytest

from hepar.errors import BadInput
from hepar.training.run_folder import claim, command_line, require_same_training, training_facts


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("--encoder-weights=/home/jane/DOE_JOHN/w.npz", "--encoder-weights=w.npz"),
        ("-o/home/jane/out", "-oout"),
        ("/home/jane/out/", "out"),
        ("~/out", "out"),
        (r"C:\Users\Jane\w.npz", "w.npz"),
        ("../data/lits512", "../data/lits512"),
        ("window=-40,160", "window=-40,160"),
    ],
)
def test_the_recorded_command_holds_no_absolute_path(word, kept, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/hepar", word])
    assert command_line() == f"hepar {kept}"


def test_a_folder_of_other_weights_of_the_same_name_is_another_training(tmp_path):
    run = {"method": 1, "training_cases": ["a"], "seed": 2, "encoder": {"sha256": "x"}}
    (tmp_path / "run.json").write_text(json.dumps(run))
    require_same_training(tmp_path, run)
    for change in ({"encoder": {"sha256": "y"}}, {"training_cases": ["a", "b"]}, {"seed": 3}):
        with pytest.raises(BadInput, match="another training"):
            require_same_training(tmp_path, run | change)


def test_a_claimed_folder_is_open_to_the_same_training_only_and_stays_as_it_was(tmp_path):
    run = training_facts({"network": "n"}, 1, []) | {"device": "cpu"}
    claim(tmp_path / "new" / "run", run)
    path = tmp_path / "new" / "run" / "run.json"
    assert json.loads(path.read_text()) == run | {"finished": False}
    before = path.read_bytes()
    claim(path.parent, run | {"device": "cuda", "command": "hepar again"})
    with pytest.raises(BadInput, match="run holds another training"):
        claim(path.parent, run | {"seed": 2})
    assert path.read_bytes() == before
