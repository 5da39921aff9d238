"""`hepar methods`: what is published, by whom and on which split; what the authors documented and what is ours."""

from __future__ import annotations

import pytest

from hepar import methods
from hepar.methods._card import Choices, MethodCard, Published
from hepar.service.methods_console import parameters_in_words, published_in_words

FIGURES = (
    Published("liver", 0.9, "LiTS, 9/3"),
    Published("tumour", 0.6123, "LiTS, 9/3"),
    Published("tumour", 0.5, "elsewhere"),
    Published("liver", None, "somewhere"),
)


@pytest.fixture
def wide(monkeypatch):
    from hepar.service.console import console

    monkeypatch.setattr(console, "_width", 300)


def test_figures_stand_with_the_data_they_are_of():
    assert published_in_words(FIGURES) == ["liver 0.900, tumour 0.612: LiTS, 9/3", "tumour 0.500: elsewhere"]
    assert published_in_words(()) == published_in_words(FIGURES[3:]) == ["-"]


@pytest.mark.parametrize(
    ("count", "words"), [(None, "-"), (725_193, "725 k"), (2_104_898, "2.1 M"), (102_349_612, "102.3 M")]
)
def test_parameters_are_rounded(count, words):
    assert parameters_in_words(count) == words


def test_the_table_has_a_row_for_each_method(hepar_command, wide):
    ended = hepar_command("methods")
    assert ended.code == 0
    rows = {line.split()[0]: " ".join(line.split()) for line in ended.lines if line.strip()}
    assert set(methods.names()) <= rows.keys()
    assert rows["cdnn_alex"].startswith(
        "cdnn_alex 2020 2D joint 56.9 M one slice of 512 x 512, -100..400 HU, equalised"
    )
    assert rows["cdnn_alex"].endswith("liver 0.904, tumour 0.624: LiTS, 130 CTs in 4 folds (97/33) 3 / 3")
    assert "krishan_mittal 2015 classical, tiles - " in rows["krishan_mittal"]
    assert "none compares" in ended.out


@pytest.mark.parametrize("columns", [80, 120])
def test_names_and_numbers_stay_whole_on_narrow_terminals(hepar_command, monkeypatch, columns):
    from hepar.service.console import console

    monkeypatch.setattr(console, "_width", columns)
    ended = hepar_command("methods")
    assert all(len(line.rstrip()) <= columns for line in ended.lines[:-3])
    assert {*methods.names(), "2.1", "2018"} <= set(ended.out.split())


def test_a_card_tells_figures_choices_variants_and_where_the_paper_is_left(hepar_command):
    ended = hepar_command("methods", "cdnn_alex")
    assert ended.code == 0
    assert ended.lines[0].startswith("cdnn_alex: Joint liver and tumour segmentation with an AlexNet encoder")
    for words in (
        "Elmenabawy, Elnakib, Moustafa, 2020",
        "parameters 56,881,577",
        "liver: Dice 0.904, LiTS, 130 CTs in 4 folds (97/33) (without preprocessing 0.885;",
        "documented by the authors - AlexNet's encoder",
        "recommended, since they did not say - window of -100..400 HU before equalisation",
        "cdnn_alex/fcn32s",
        "Differs from the paper where it is silent",
    ):
        assert words in ended.out
    assert "squeeze_unet" not in ended.out


def test_a_variant_is_answered_with_the_card_of_its_method(hepar_command):
    assert hepar_command("methods", "cdnn_alex/fcn32s").out == hepar_command("methods", "cdnn_alex").out


def test_methods_without_network_or_publication_say_so(hepar_command):
    assert "parameters no network" in hepar_command("methods", "krishan_mittal").out
    assert "published - nothing: it is hepar's own" in hepar_command("methods", "squeeze_unet").out
    assert "liver: no comparable figure, CTs of Innsbruck" in hepar_command("methods", "gruber").out


@pytest.mark.parametrize(
    ("name", "message"), [("alex", "no method is called alex"), ("unet/x", "unet has no variant x")]
)
def test_an_unknown_name_is_refused(hepar_command, name, message):
    ended = hepar_command("methods", name)
    assert ended.code == 2
    assert message in ended.err


def test_a_method_without_a_card_is_shown_by_its_description(hepar_command, wide, tmp_path, monkeypatch):
    (tmp_path / "bare.py").write_text('"""Nothing but a line [Nobody 2030]."""\nmethod = None\n')
    monkeypatch.setenv("HEPAR_METHODS", str(tmp_path))
    assert "bare Nothing but a line [Nobody 2030]." in hepar_command("methods").out
    assert hepar_command("methods", "bare").lines == ("bare: Nothing but a line [Nobody 2030].",)


def test_cards_are_values():
    card = MethodCard("t", "a", 2030, "2D joint", "one slice", FIGURES, Choices(("x",), ()), 5)
    assert card == MethodCard("t", "a", 2030, "2D joint", "one slice", FIGURES, Choices(("x",), ()), 5)
    assert card != MethodCard("t", "a", 2030, "2D joint", "one slice", FIGURES, Choices((), ("x",)), 5)
