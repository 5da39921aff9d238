"""The picture matrix: every method on the same slices, cut alike, with that slice's Dice below."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageDraw

from hepar.errors import BadInput
from hepar.report import picture_matrix as module
from hepar.report.gallery import FOUND_LIVER, TRUTH_LIVER
from hepar.report.picture_matrix import LOOK, Column, MethodRow, picture_matrix, slice_dice
from hepar.volume import LabelMap, Volume
from invented_bench import upright

SHAPE = (4, 80, 100)
GRID = upright(SHAPE)
LABEL_PX, GAP, LINE = module._LABEL_PX, module._GAP, module._LINE


def labels(y: slice = slice(20, 50), x: slice = slice(30, 60)) -> LabelMap:
    values = np.zeros(SHAPE, np.uint8)
    values[1:3, y, x] = 1
    values[2, y.start + 5 : y.start + 15, x.start + 5 : x.start + 15] = 2
    return LabelMap(values, GRID)


def column(title: str = "p1: tumour 4.0 cm2", index: int = 2) -> Column:
    ct = Volume(np.where(labels().labels > 0, 100, 0).astype(np.float32), GRID)
    return Column(ct, labels(), index, title)


@pytest.fixture
def written(monkeypatch) -> list[str]:
    """All words that are drawn."""
    words: list[str] = []
    real = ImageDraw.ImageDraw.text

    def text(self, xy, text, *rest, **options):
        words.append(text)
        return real(self, xy, text, *rest, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return words


def colours(picture) -> set[tuple[int, int, int]]:
    return {tuple(colour) for colour in np.asarray(picture).reshape(-1, 3).tolist()}


def shows(picture, colour) -> bool:
    """Whether the colour is there, softened a little as thin lines are."""
    pixels = np.asarray(picture).reshape(-1, 3).astype(int)
    return bool((np.abs(pixels - np.array(colour)).max(axis=1) < 40).any())


def test_a_row_a_method_and_a_column_a_slice(written):
    rows = [MethodRow("first", "2D joint", (labels(), labels())), MethodRow("second", "cascade", (labels(), None))]
    sheet = picture_matrix([column("a"), column("b", 1)], rows, ("a heading",))
    tile = LOOK.size_px[1] + LINE
    assert sheet.width == LABEL_PX + 2 * (LOOK.size_px[0] + GAP)
    assert sheet.height == 3 * (tile + GAP) + 3 * LINE + GAP
    for words in ("a heading", "first", "second", "2D joint", "cascade", "a", "b"):
        assert words in written


def test_dice_of_the_slice_stands_below_each_picture(written):
    found = labels(y=slice(20, 50), x=slice(45, 75))
    picture_matrix([column()], [MethodRow("m", "", (found,))], ("h",))
    # Half of the liver, none of the tumour.
    assert "liver 0.50, tumour 0.00" in written


def test_dice_is_of_that_slice_alone(written):
    # Slice 1 shows no tumour on either side.
    picture_matrix([column(index=1)], [MethodRow("m", "", (labels(),))], ("h",))
    assert "liver 1.00, tumour -" in written


def test_a_method_of_livers_only_has_no_dice_of_tumours(written):
    picture_matrix([column()], [MethodRow("m", "", (labels(),), liver_only=True)], ("h",))
    assert "liver 1.00, tumour n/a" in written


def test_missing_labels_are_said_not_drawn(written):
    sheet = picture_matrix([column()], [MethodRow("m", "", (None,))], ("h",))
    assert "labels are not here" in written
    assert module.PALE in colours(sheet)
    # Only the legend shows outlines' colours.
    top = sheet.crop((0, 0, sheet.width, sheet.height - 3 * LINE))
    assert not shows(top, FOUND_LIVER)


def test_truth_and_result_are_outlined_and_the_bare_slice_is_not():
    sheet = picture_matrix([column()], [MethodRow("m", "", (labels(x=slice(35, 65)),))], ("h",))
    tile = LOOK.size_px[1] + LINE + GAP
    top = LINE + GAP
    bare, outlined = (sheet.crop((LABEL_PX, top + k * tile, sheet.width, top + (k + 1) * tile - GAP)) for k in (0, 1))
    for colour in (TRUTH_LIVER, FOUND_LIVER):
        assert not shows(bare, colour)
        assert shows(outlined, colour)


def test_all_methods_are_cut_alike_however_much_they_find():
    everywhere = LabelMap(np.ones(SHAPE, np.uint8), GRID)
    one = column()
    box = module._box(one)
    # 30 mm around the liver: 15 pixels of 2 mm, as far as the slice goes.
    assert box == (slice(0, 4), slice(5, 65), slice(15, 75))
    sheets = [picture_matrix([one], [MethodRow("m", "", (found,))], ("h",)) for found in (labels(), everywhere)]
    tile = (LABEL_PX, LINE + GAP, LABEL_PX + LOOK.size_px[0], LINE + GAP + LOOK.size_px[1])
    assert sheets[0].crop(tile).tobytes() == sheets[1].crop(tile).tobytes()


def test_a_slice_without_liver_is_shown_whole():
    empty = Column(column().ct, LabelMap(np.zeros(SHAPE, np.uint8), GRID), 0, "none")
    assert module._box(empty) == (slice(0, 4), slice(0, 80), slice(0, 100))


def test_long_words_of_a_heading_are_broken_into_lines(written):
    names = ", ".join(f"method_number_{n}" for n in range(20))
    sheet = picture_matrix([column()], [MethodRow("m", "", (labels(),))], ("heading", f"not run: {names}"))
    draw = ImageDraw.Draw(sheet)
    lines = [words for words in written if "method_number" in words]
    assert len(lines) > 3
    assert all(draw.textlength(words, font=module.font(12)) <= sheet.width for words in lines)
    assert " ".join(lines) == f"not run: {names}"


def test_slice_dice_knows_empty_masks():
    full, empty = np.ones((3, 3), bool), np.zeros((3, 3), bool)
    assert slice_dice(empty, empty) is None
    assert slice_dice(full, empty) == 0.0
    assert slice_dice(full, full) == 1.0


@pytest.mark.parametrize(("columns", "rows"), [(0, 1), (1, 0)])
def test_nothing_to_show_is_refused(columns, rows):
    with pytest.raises(BadInput, match=f"found {columns} slices and {rows} methods"):
        picture_matrix([column()] * columns, [MethodRow("m", "", (labels(),) * columns)] * rows, ("h",))
