"""`hepar study paper`: one page from a real tiny study."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from hepar.errors import BadInput
from hepar.report.paper_page import Shown, paper_page
from hepar.service import paper_example, paper_report
from hepar.service.paper_example import arm_slices, example_of, shot_of
from hepar.service.paper_report import write_paper
from hepar.study.reproduce.documents import PaperDocuments, paper_documents
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
def written(study, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("page")
    assert write_paper(study, out) == out / "index.html"
    return out


@pytest.fixture(scope="module")
def page(written) -> str:
    return (written / "index.html").read_text(encoding="utf-8")


def test_the_page_holds_tables_claims_sheet_and_every_figure(page):
    for heading in ("Table 1", "Table 2", "Other arms", "What these data say", "Discrepancy sheet", "every reading"):
        assert re.search(rf"<h2>[^<]*{heading}", page)
    found = re.findall(r"<figcaption>(Fig\. \d|Training)", page)
    assert found == ["Fig. 5", "Training", "Fig. 2", "Fig. 1", "Fig. 3", "Fig. 3"]
    assert page.count("Phantom, no CT.") == 2
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


def test_a_claim_of_unconverged_arms_is_none_and_what_was_not_run_is_named(page):
    row = re.search(r"<tr><td><b>Preprocessing improves CDNN-Alex</b>.*?</tr>", page, re.DOTALL)
    assert row
    assert row.group().count(">no claim: not converged<") == 4
    assert re.search(r"an arm was not run\.</b>[^<]*ImageNet weights improve CDNN-Alex", page)
    assert re.search(r"Without figures here\.</b>[^<]*CDNN-Alex \(equalise\): not run", page)


def test_names_of_a_study_cannot_become_markup(study):
    documents = paper_documents(study)
    facts = documents.facts | {"label": "<script>alert(1)</script>"}
    text = paper_page(replace(documents, facts=facts), Shown((), ("<b>.csv",), "0"))
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "&lt;b&gt;.csv" in text


def test_files_lie_beside_the_page(written):
    names = {path.name for path in written.iterdir()}
    assert {"index.html", "tables.md", "table1.csv", "table1.tex", "table2.tex", "paper.json"} <= names
    for figure in ("fig1", "fig2", "fig3", "fig3_resnet18", "fig5", "curves"):
        assert ElementTree.parse(written / f"{figure}.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
        assert (written / f"{figure}.png").read_bytes().startswith(b"\x89PNG")


def test_labels_that_are_gone_are_made_anew_by_the_cells_networks(study, tmp_path):
    copy = tmp_path / "study"
    shutil.copytree(study, copy, ignore=shutil.ignore_patterns("predictions"))
    kept, anew = (labels_shown(paper_documents(folder)) for folder in (study, copy))
    assert len(kept) == 4
    for here, there in zip(kept, anew, strict=True):
        assert here is not None
        assert there is not None
        assert np.array_equal(here, there)


def test_without_labels_and_weights_an_arm_says_so(study, tmp_path):
    copy = tmp_path / "study"
    shutil.copytree(study, copy, ignore=shutil.ignore_patterns("predictions", "weights.safetensors"))
    documents = paper_documents(copy)
    example = example_of(documents, None)
    arms = arm_slices(documents, example, (slice(None), slice(None)))
    assert [(arm.labels, arm.note) for arm in arms] == [(None, "no labels, no weights kept")] * 4


def test_a_phantom_that_stands_in_for_real_ct_is_labelled_so(study, monkeypatch):
    monkeypatch.setattr(paper_example, "STAND_IN", replace(paper_example.STAND_IN, shape=(10, 64, 64),
                                                           spacing_mm=(20.0, 6.0, 6.0)))  # fmt: skip
    documents = paper_documents(study)
    order = documents.facts["order"] | {"phantoms": 0, "data": "lits512"}
    real = replace(documents, facts=documents.facts | {"order": order})
    example = example_of(real, None)
    shot, box = shot_of(example, example.ct)
    assert example.stands_in
    assert "Dice says nothing about the networks" in shot.banner
    assert all(arm.labels is not None for arm in arm_slices(real, example, box))


def labels_shown(documents: PaperDocuments) -> list[np.ndarray | None]:
    """What each arm found in the example, uncut."""
    example = example_of(documents, None)
    return [arm.labels for arm in arm_slices(documents, example, (slice(None), slice(None)))]


def test_data_of_another_study_are_refused(study, tmp_path, shared_data):
    with pytest.raises(BadInput, match="none of the study's cases"):
        write_paper(study, tmp_path, shared_data / "lits512")


def test_the_command_names_the_page_or_says_what_is_wrong(hepar_command, study, tmp_path, monkeypatch):
    wrong = hepar_command("study", "paper", tmp_path, "-o", tmp_path / "other")
    assert wrong.code == 2
    assert "holds no study.json" in wrong.err
    assert not (tmp_path / "other").exists()
    given = []
    monkeypatch.setattr(paper_report, "write_paper", lambda *told: given.append(told) or told[1] / "index.html")
    ended = hepar_command("study", "paper", study, "-o", tmp_path / "page", "--data", tmp_path)
    assert ended.code == 0, ended.err
    assert "index.html" in ended.out
    assert given == [(study, tmp_path / "page", tmp_path)]
