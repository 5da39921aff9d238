"""Krishan and Mittal: equalised tiles, two classes and three, a liver network of the same fold."""

from __future__ import annotations

from dataclasses import replace

from hepar import methods
from hepar.methods.krishan_mittal import CARD
from hepar.preprocess import Window
from hepar.training.deep_method import DeepMethod


def test_tiles_are_equalised_texture_on_the_papers_window():
    view = methods.get("krishan_mittal").view
    assert (view.prepare, view.equalise, view.features) == ((Window(-100, 400),), "slice", "texture")
    assert methods.get("krishan_mittal/scan").view.equalise == "scan"


def test_there_are_two_classes_and_a_variant_with_three():
    assert methods.get("krishan_mittal").kinds == ("normal", "tumour")
    assert methods.get("krishan_mittal/three_classes").kinds == ("normal", "carcinoma", "metastasis")


def test_the_liver_network_learns_livers_alone_and_takes_an_orders_weights():
    method = methods.get("krishan_mittal")
    assert isinstance(method.liver, DeepMethod) and method.liver.recipe.synthesis is None
    changed = method.each(lambda liver: replace(liver, encoder_weights="none"))
    assert changed.liver.encoder_weights == "none" and changed.view == method.view


def test_the_card_claims_no_published_dice():
    assert CARD.year == 2015 and CARD.parameters is None
    assert [one.dice for one in CARD.published] == [None, None]
