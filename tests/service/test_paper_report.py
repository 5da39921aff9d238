"""`hepar study paper`: one page from a real tiny study."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

from hepar.errors import BadInput
from hepar.service.paper_report import write_paper
from hepar.study.reproduce.order import StudyOrder
from hepar.study.reproduce.study import prepare_study, run_study

FAST = ("batch=4", "micro_batch=4", "optimizer=adam", "loss=dice_cross_entropy", "epochs=1")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """Table 1's arms and a cascade, an epoch on three phantoms each."""
    out = tmp_path_factory.mktemp("paper") / "tiny"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    order = StudyOrder(None, out, ("table1", "joint_cascade"), split="99/30", matrix=64, phantoms=4, width=0.05,
                       weights="none", learning_rate=5e-3, settings=FAST)  # fmt: skip
    run_study(prepare_study(order))
    torch.set_num_threads(threads)
    return out


@pytest.fixture(scope="module")
def page(study, tmp_path_factory) -> str:
    return write_paper(study, tmp_path_factory.mktemp("page")).read_text(encoding="utf-8")


def test_the_page_holds_tables_claims_sheet_and_every_figure(page):
    for heading in ("Table 1", "Table 2", "Other arms", "What these data say", "Discrepancy sheet", "every reading"):
        assert re.search(rf"<h2>[^<]*{heading}", page)
    assert re.findall(r"<figcaption>(Fig\. \d|Training)", page) == ["Fig. 1", "Fig. 3", "Training", "Fig. 2", "Fig. 5"]
    assert "Research use only" in page
    assert "Empty rule" in page
    assert "4 phantoms, split 99/30 by patient (phantom; 4 patients)" in page


def test_the_page_needs_no_network_and_runs_no_script(page):
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "default-src 'none'" in page


def test_published_and_ours_stand_in_columns_of_their_own(page):
    row = re.search(r"<tr><td>CDNN-Alex</td><td>with</td>.*?</tr>", page, re.DOTALL)
    assert row
    assert '<td class="published">0.904</td>' in row.group()
    assert row.group().count('class="ours"') == 4
    assert "not converged" in row.group()


def test_names_of_a_study_cannot_become_markup(study, tmp_path):
    copy = tmp_path / "study"
    shutil.copytree(study, copy)
    facts = (copy / "study.json").read_text()
    (copy / "study.json").write_text(facts.replace("4 phantoms, split", "<script>alert(1)</script>"))
    text = write_paper(copy, tmp_path / "page").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_files_lie_beside_the_page(study, tmp_path):
    write_paper(study, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"index.html", "tables.md", "table1.csv", "table1.tex", "table2.tex", "paper.json", "fig5.png", "fig5.svg",
            "fig2.png", "fig3.svg", "curves.svg"} <= names  # fmt: skip
    assert (tmp_path / "fig1.svg").read_text().startswith("<svg ")
    assert 'xmlns="http://www.w3.org/2000/svg"' in (tmp_path / "fig1.svg").read_text()


def test_without_predictions_the_page_goes_without_fig_2_and_5_and_says_why(study, tmp_path):
    copy = tmp_path / "study"
    shutil.copytree(study, copy, ignore=shutil.ignore_patterns("predictions"))
    text = write_paper(copy, tmp_path / "page").read_text()
    assert "no CT at hand" in text
    assert not (tmp_path / "page" / "fig5.png").exists()
    assert (tmp_path / "page" / "fig1.png").exists()


def test_data_of_another_study_are_refused(study, tmp_path, shared_data):
    with pytest.raises(BadInput, match="none of the study's cases"):
        write_paper(study, tmp_path, shared_data / "lits512")


def test_the_command_opens_a_page_or_says_what_is_wrong(hepar_command, study, tmp_path):
    ended = hepar_command("study", "paper", study, "-o", tmp_path / "page")
    assert ended.code == 0, ended.err
    assert (tmp_path / "page" / "index.html").is_file()
    wrong = hepar_command("study", "paper", tmp_path, "-o", tmp_path / "other")
    assert wrong.code == 2
    assert "holds no study.json" in wrong.err
