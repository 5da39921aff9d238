"""What a card says is what was published: titles, years, figures and sizes against a list of their own."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from hepar import methods
from hepar.methods._card import MethodCard

# Year, words of the kind, parameters of all networks (None: no network), published liver and tumour Dice.
PUBLISHED: dict[str, tuple[int, str, int | None, tuple[float, ...], tuple[float, ...]]] = {
    "vorontsov": (2018, "joint", 2_104_898, (0.951,), (0.661, 0.52)),
    "chlebus": (2018, "cascade", 16_094_722, (), (0.65, 0.58)),
    "unet": (2015, "joint", 31_030_723, (0.95,), (0.624,)),
    "gruber": (2019, "cascade", 62_084_998, (), ()),
    "nnunet_3d": (2024, "3D", 102_349_612, (0.958,), (0.76,)),
    "krishan_mittal": (2015, "classical", None, (), ()),
}
FIRST_AUTHORS = {
    "vorontsov": "Vorontsov",
    "chlebus": "Chlebus",
    "unet": "Ronneberger",
    "gruber": "Gruber",
    "nnunet_3d": "Isensee",
    "krishan_mittal": "Krishan",
}


def module(name: str) -> Any:
    return importlib.import_module(f"hepar.methods.{name}")


def with_cards() -> list[str]:
    return [name for name in methods.names() if hasattr(module(name), "CARD")]


def dices(card: MethodCard, structure: str) -> tuple[float, ...]:
    return tuple(one.dice for one in card.published if one.structure == structure and one.dice is not None)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_card_repeats_what_was_published(name):
    year, kind, parameters, liver, tumour = PUBLISHED[name]
    card = module(name).CARD
    assert (card.year, card.parameters) == (year, parameters)
    assert kind in card.kind
    assert card.authors.startswith(FIRST_AUTHORS[name])
    assert (dices(card, "liver"), dices(card, "tumour")) == (liver, tumour)


@pytest.mark.parametrize("name", with_cards())
def test_every_card_is_complete(name):
    card = module(name).CARD
    assert isinstance(card, MethodCard)
    assert card.title
    assert card.input
    assert 1990 < card.year < 2030
    assert card.choices.documented
    for one in card.published:
        assert one.data
        assert one.dice is None or 0 < one.dice < 1
    # A figure without the data that it is of says nothing.
    assert {one.structure for one in card.published} <= {"liver", "tumour"}


@pytest.mark.parametrize("name", with_cards())
def test_the_paper_s_own_figures_of_others_are_marked_as_such(name):
    """Table 2 prints figures that are in none of its sources."""
    printed = {"vorontsov": 0.52, "chlebus": 0.58, "bellver": 0.43}
    for one in module(name).CARD.published:
        if one.dice is not None and one.dice == printed.get(name) and one.structure == "tumour":
            assert "Elmenabawy" in one.data


@pytest.mark.parametrize("name", with_cards())
def test_a_card_s_parameters_are_those_of_its_method(name):
    card = module(name).CARD
    if card.parameters is None:
        assert "classical" in card.kind or "surface" in card.kind
    else:
        assert card.parameters > 1000


def test_files_that_begin_with_an_underscore_are_no_methods():
    assert not [name for name in methods.names() if name.startswith("_")]
    assert set(PUBLISHED) <= set(methods.names())
