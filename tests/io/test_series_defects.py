"""Planted defects: each is found, named, and repaired with a note or refused; none is read as if it were sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from series_files import ROOT, SeriesFiles, jpeg2000, jpeg_lossless, jpeg_ls, rle

from hepar.errors import BadInput
from hepar.io import find_scans, read
from hepar.io.series import findings as f
from hepar.io.series.diagnosis import Diagnosed, examine
from hepar.io.series.reading import SeriesReading, read_series
from hepar.volume import LabelMap

SOUND = SeriesFiles()
PART = (14, 16)  # smaller slices where pixels do not matter


def only(folder: Path) -> Diagnosed:
    (one,) = examine(folder).series
    return one


def named(one: Diagnosed) -> list[type]:
    return [type(finding) for finding in one.findings]


def written(folder: Path, *series: SeriesFiles) -> SeriesReading:
    for one in series:
        one.write(folder)
    return read_series(only(folder))


def gaps_at(*missing: int) -> SeriesFiles:
    return SOUND.but(at=tuple(k for k in range(SOUND.count) if k not in missing))


def test_a_sound_series_has_no_findings_and_is_read_as_it_is(tmp_path):
    reading = written(tmp_path, SOUND)
    assert reading.findings == () and reading.volume.notes == ()
    assert np.array_equal(reading.volume.values, [SOUND.hu(k) for k in range(24)])
    assert reading.volume.geometry.position_mm((5, 0, 0)) == pytest.approx(SOUND.position_mm(5), abs=1e-5)


# Missing and uneven


def test_a_missing_slice_is_filled_between_its_neighbours_and_said(tmp_path):
    reading = written(tmp_path, gaps_at(7))
    assert [type(finding) for finding in reading.findings] == [f.MissingSlices]
    assert reading.volume.notes[0].startswith("slices 1 missing between others (gaps of up to 5.000 mm, usual 2.500)")
    values = reading.volume.values
    assert values.shape[0] == 24 and reading.volume.geometry.spacing_mm[0] == pytest.approx(2.5)
    there = [k for k in range(24) if k != 7]
    assert np.array_equal(values[there], [SOUND.hu(k) for k in there])
    made = (SOUND.hu(6).astype(float) + SOUND.hu(8)) / 2
    assert np.abs(values[7] - made).max() <= 0.5


def test_the_made_up_slice_has_no_labels_when_they_come_back(tmp_path):
    reading = written(tmp_path, gaps_at(7))
    ball = (reading.volume.values == 110).astype(np.uint8)
    back = reading.on_slices(LabelMap(ball, reading.volume.geometry))
    assert len(back) == len(reading.slices) == 23
    for labels, place in zip(back, gaps_at(7).places, strict=True):
        assert np.array_equal(labels, SOUND.hu(place) == 110)


@pytest.mark.parametrize("missing", [(7, 8), (7, 8, 9, 10, 11), (3, 10, 11)])
def test_a_hole_too_wide_to_fill_is_an_error_that_counts(tmp_path, missing):
    gaps_at(*missing).write(tmp_path)
    assert named(only(tmp_path)) == [f.MissingSlices]
    with pytest.raises(BadInput, match=rf"{len(missing)} missing between others .*Export the complete series"):
        read(tmp_path)


def test_thin_slices_may_miss_several_where_thick_ones_may_not(tmp_path):
    thin = gaps_at(7, 8, 9).but(gap_mm=1.0, middle_mm=(0.0, 0.0, 100.0))
    assert len(written(tmp_path / "thin", thin).volume.values) == 24
    thin.but(gap_mm=2.0).write(tmp_path / "thick")
    with pytest.raises(BadInput, match="3 missing"):
        read(tmp_path / "thick")


def test_the_gap_that_others_read_as_a_wider_spacing_moves_no_slice(tmp_path):
    """24 slices of 2.5 mm without one, spread evenly over their range, would lie 2.61 mm apart."""
    ct = written(tmp_path, gaps_at(7)).volume
    assert ct.geometry.position_mm((23, 0, 0)) == pytest.approx(SOUND.position_mm(23), abs=1e-4)
    assert ct.geometry.position_mm((12, 0, 0)) == pytest.approx(SOUND.position_mm(12), abs=1e-4)


def test_spacing_that_changes_is_resampled_evenly_and_said(tmp_path):
    two_spacings = SOUND.but(at=(*range(12), *(11 + 0.5 * k for k in range(1, 20))))
    reading = written(tmp_path, two_spacings)
    assert [type(finding) for finding in reading.findings] == [f.UnevenSpacing]
    assert "uneven spacing: gaps of 1.250 to 2.500 mm; resampled to slices every 1.250 mm" in reading.volume.notes
    assert reading.volume.geometry.spacing_mm[0] == pytest.approx(1.25)
    assert np.array_equal(reading.volume.values[22:], [SOUND.hu(k) for k in two_spacings.places[11:]])


def test_spacing_uneven_beyond_repair_is_an_error(tmp_path):
    SOUND.but(at=(0, 1, 2, 3, 4.3, 6, 9.7, 11), size=PART).write(tmp_path)
    assert named(only(tmp_path))[0] == f.UnevenSpacing
    with pytest.raises(BadInput, match=r"uneven spacing: gaps of 2.500 to 9.250 mm; expected .* between all"):
        read(tmp_path)


def test_slices_thinner_than_their_distance_are_noted(tmp_path):
    SOUND.but(tags={"SliceThickness": 1.0}).write(tmp_path)
    assert read(tmp_path).notes == (str(f.GapsBetweenSlices(1.0, 2.5)),)


def test_fewer_slices_than_announced_are_noted(tmp_path):
    SOUND.but(tags={"ImagesInAcquisition": 30}).write(tmp_path)
    assert named(only(tmp_path)) == [f.FewerThanAnnounced]
    SOUND.but(tags={"ImagesInAcquisition": 24}).write(tmp_path)
    assert named(only(tmp_path)) == []


def test_a_lone_slice_is_a_scan_of_its_thickness_and_none_without(tmp_path):
    lone = SOUND.but(at=(3,), tags={"SliceThickness": 5.0})
    reading = written(tmp_path / "thick", lone)
    assert reading.findings == (f.LoneSlice(5.0),)
    assert reading.volume.geometry.spacing_mm == pytest.approx((5.0, 1.5, 1.8))
    lone.but(tags={"SliceThickness": None}).write(tmp_path / "unknown")
    with pytest.raises(BadInput, match="one slice without a SliceThickness"):
        read(tmp_path / "unknown")


# Copies and conflicts


def test_copies_are_read_once_and_said(tmp_path):
    reading = written(tmp_path, SOUND, SOUND.but(name="copy", at=(3, 5, 23), uid=SOUND.uid))
    assert reading.findings == (f.DuplicateSlices(3),)
    assert np.array_equal(reading.volume.values, [SOUND.hu(k) for k in range(24)])


def test_a_whole_series_twice_is_one_series(tmp_path):
    written(tmp_path / "a", SOUND)
    SOUND.write(tmp_path / "b")
    assert read_series(only(tmp_path)).findings == (f.DuplicateSlices(24),)


def test_other_pixels_at_the_same_place_are_never_chosen_between(tmp_path):
    brighter = SOUND.but(name="other", at=(3, 5), add_hu=30)
    SOUND.write(tmp_path)
    brighter.write(tmp_path)
    assert named(only(tmp_path)) == [f.ConflictingSlices]
    with pytest.raises(BadInput, match=r"26 slices at 24 positions: 2 lie where another lies, with other pixels"):
        read(tmp_path)


def test_slices_that_watch_a_bolus_are_no_scan(tmp_path):
    for k in range(6):
        SOUND.but(at=(4,), name=f"M{k}", add_hu=10 * k, first_instance=k + 1).write(tmp_path)
    with pytest.raises(BadInput, match="all 6 slices lie at one place, as those that watch a bolus"):
        read(tmp_path)


# Interleaved phases

ARTERIAL, PORTAL = SOUND, SOUND.but(name="J", add_hu=25, first_instance=101)


def phases_of(folder: Path) -> list[Diagnosed]:
    found = list(examine(folder).series)
    for part, one in enumerate(found, start=1):
        assert any(isinstance(x, f.InterleavedPhases) and (x.part, x.parts) == (part, len(found)) for x in one.findings)
    return found


CLUES = {
    "acquisition number": {"AcquisitionNumber": 2},
    "temporal position": {"TemporalPositionIdentifier": 2},
    "image type": {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]},
    "kernel": {"ConvolutionKernel": "B60f"},
    "tube voltage": {"KVP": 140},
    "slice thickness": {"SliceThickness": 5},
    "frame of reference": {"FrameOfReferenceUID": f"{ROOT}.99"},
}


@pytest.mark.parametrize("by", CLUES)
def test_phases_at_the_same_places_are_split_by_what_tells_them_apart(tmp_path, by):
    ARTERIAL.write(tmp_path)
    PORTAL.but(tags=CLUES[by]).write(tmp_path)
    phases = phases_of(tmp_path)
    assert all(f"split by {by}" in str(one.findings[0]) for one in phases)
    hu = sorted(int(read_series(one).volume.values.max()) for one in phases)
    assert hu == [110, 135]


def test_phases_between_each_other_do_not_become_one_scan_of_half_the_spacing(tmp_path):
    """Evenly spaced as they lie together: nothing but the headers tells that they are two."""
    ARTERIAL.write(tmp_path)
    PORTAL.but(at=tuple(k + 0.5 for k in range(24)), tags={"AcquisitionNumber": 2}).write(tmp_path)
    phases = phases_of(tmp_path)
    assert len(phases) == 2
    for one in phases:
        assert read_series(one).volume.geometry.spacing_mm[0] == pytest.approx(2.5)


def test_phases_without_a_clue_are_told_by_when_they_were_taken(tmp_path):
    def at_time(start_s: float):
        def edit(k: int, data: Dataset) -> None:
            minute, second = divmod(start_s + 0.2 * k, 60)
            data.AcquisitionTime = f"10{int(minute):02d}{second:09.6f}"

        return edit

    ARTERIAL.but(edit=at_time(30)).write(tmp_path)
    PORTAL.but(edit=at_time(70), at=tuple(k + 0.5 for k in range(24))).write(tmp_path)
    assert [one.findings[0].by for one in phases_of(tmp_path)] == ["acquisition time"] * 2


@pytest.mark.parametrize("numbering", ["one after another", "in turn"])
def test_phases_without_any_header_are_told_by_instance_numbers(tmp_path, numbering):
    def in_turn(offset: int):
        def edit(k: int, data: Dataset) -> None:
            data.InstanceNumber = 2 * k + offset

        return edit

    if numbering == "in turn":
        ARTERIAL.but(edit=in_turn(1)).write(tmp_path)
        PORTAL.but(edit=in_turn(2)).write(tmp_path)
    else:
        ARTERIAL.write(tmp_path)
        PORTAL.write(tmp_path)
    first, second = phases_of(tmp_path)
    assert first.findings[0].by == "instance number"
    assert read_series(first).volume.values.max() == 110
    assert read_series(second).volume.values.max() == 135


@pytest.mark.parametrize(
    ("arterial", "portal"),
    [
        (lambda k: k + 1 + 48 * (k >= 12), lambda k: k + 200 - 150 * (k >= 12)),  # they change places half way
        (lambda k: 5 * k % 24 + 1, lambda k: 5 * k % 24 + 101),
        (lambda k: 3 * k, lambda k: 3 * k + 2),
    ],
)
def test_phases_with_mixed_up_instance_numbers_are_an_error(tmp_path, arterial, portal):
    for phase, number in ((ARTERIAL, arterial), (PORTAL, portal)):

        def edit(k: int, data: Dataset, number=number) -> None:
            data.InstanceNumber = number(k)

        phase.but(edit=edit).write(tmp_path)
    assert named(only(tmp_path)) == [f.ConflictingSlices]


def test_phases_with_two_kernels_each_are_four_stacks(tmp_path):
    for name, phase in (("a", ARTERIAL), ("b", PORTAL)):
        for kernel in ("B30f", "B60f"):
            tags = {"AcquisitionNumber": 1 + (name == "b"), "ConvolutionKernel": kernel}
            phase.but(tags=tags, name=f"{name}{kernel}", size=PART, add_hu=len(kernel)).write(tmp_path)
    found = examine(tmp_path).series
    assert len(found) == 4
    assert {one.findings[0].by for one in found} == {"acquisition number and kernel"}


def test_an_acquisition_number_for_each_slice_splits_nothing(tmp_path):
    def own(k: int, data: Dataset) -> None:
        data.AcquisitionNumber = k

    assert written(tmp_path, SOUND.but(edit=own)).findings == ()


def test_two_acquisitions_one_above_the_other_stay_one_scan(tmp_path):
    def halves(k: int, data: Dataset) -> None:
        data.AcquisitionNumber = 1 + (k >= 12)

    assert written(tmp_path, SOUND.but(edit=halves)).findings == ()


# Two series, one series in many


def test_two_series_in_a_flat_folder_are_told_apart(tmp_path):
    SOUND.write(tmp_path)
    SOUND.but(uid=f"{ROOT}.4", number=4, name="J", add_hu=40).write(tmp_path)
    assert [one.series.number for one in examine(tmp_path).series] == [3, 4]
    assert [int(scan.read().values.max()) for scan in find_scans(tmp_path, every=True)] == [110, 150]


def test_a_series_for_each_file_is_read_as_one_where_they_form_one(tmp_path):
    def own(k: int, data: Dataset) -> None:
        data.SeriesInstanceUID = generate_uid(entropy_srcs=[str(k)])

    reading = written(tmp_path / "even", SOUND.but(edit=own))
    assert [type(finding) for finding in reading.findings] == [f.OneSeriesPerFile]
    gaps_at(7).but(edit=own).write(tmp_path / "holed")
    assert len(examine(tmp_path / "holed").series) == 23


def test_a_slice_of_another_size_is_left_out_and_said(tmp_path):
    SOUND.write(tmp_path)
    SOUND.but(name="capture", at=(30,), size=(20, 20)).write(tmp_path)
    notes = read(tmp_path).notes
    assert any("1 files of the same series have another size" in note for note in notes)


# Compression and headers


@pytest.mark.parametrize(
    ("pack", "said"),
    [
        (jpeg2000, "JPEG 2000 Lossless"),
        (jpeg_ls, "JPEG-LS Lossless"),
        (jpeg_lossless, "JPEG Lossless SV1"),
        (rle, "RLE Lossless"),
    ],
)
def test_compressed_syntaxes_are_named_and_decoded_exactly(tmp_path, pack, said):
    reading = written(tmp_path, SOUND.but(edit=pack))
    assert reading.findings == (f.Compressed(said, lossy=False, decodable=True),)
    assert np.array_equal(reading.volume.values, [SOUND.hu(k) for k in range(24)])
    assert reading.volume.notes == ()


@pytest.mark.parametrize("number", ["4.201", "4.202", "4.203", "4.100"])
def test_syntaxes_that_are_not_decoded_are_an_error_before_any_pixel_is_read(tmp_path, number):
    def claim(k: int, data: Dataset) -> None:
        jpeg2000(k, data)
        data.file_meta.TransferSyntaxUID = f"1.2.840.10008.1.2.{number}"

    SOUND.but(edit=claim, size=PART).write(tmp_path)
    assert not only(tmp_path).is_readable
    with pytest.raises(BadInput, match="not decoded here"):
        read(tmp_path)


def test_lossy_compression_is_a_note():
    assert f.Compressed("JPEG Baseline", lossy=True, decodable=True).weight == "note"
    assert f.Compressed("JPEG Lossless", lossy=False, decodable=True).weight == "fact"
    assert "small lesions may look different" in str(f.Compressed("JPEG Baseline", lossy=True, decodable=True))


def test_an_empty_sop_class_and_missing_uids_are_noted_and_read(tmp_path):
    emptied = {"SOPClassUID": "", "StudyInstanceUID": "", "FrameOfReferenceUID": None, "SeriesInstanceUID": ""}
    reading = written(tmp_path, SOUND.but(tags=emptied))
    assert reading.findings == (
        f.EmptySopClass(24),
        f.MissingTags(("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")),
    )
    assert np.array_equal(reading.volume.values, [SOUND.hu(k) for k in range(24)])


@pytest.mark.parametrize("tags", [{"Modality": "MR"}, {"Modality": "PT"}, {"Modality": "SEG"}, {"Modality": "DOE"}])
def test_other_modalities_are_counted_and_never_read(tmp_path, tags):
    SOUND.but(tags=tags, size=PART).write(tmp_path)
    assert examine(tmp_path).series == ()
    with pytest.raises(BadInput, match=r"no CT found .*Passed over: 24 (MR|PT|reports|images)") as caught:
        read(tmp_path)
    assert "DOE" not in str(caught.value)


def test_a_modality_taken_away_is_told_by_the_class_or_by_the_voxels(tmp_path):
    unsaid = {"Modality": "", "RescaleType": None}
    assert f.ModalityUnknown in [type(x) for x in written(tmp_path / "ct", SOUND.but(tags=unsaid)).findings]
    SOUND.but(tags=unsaid | {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}).write(tmp_path / "mr")
    assert examine(tmp_path / "mr").series == ()
    SOUND.but(tags=unsaid | {"RescaleIntercept": 0}).write(tmp_path / "unlike")
    with pytest.raises(BadInput, match="no Hounsfield units"):
        read(tmp_path / "unlike")


def test_multi_frame_files_are_named(tmp_path):
    SOUND.but(tags={"NumberOfFrames": 24}, at=(0,)).write(tmp_path)
    with pytest.raises(BadInput, match="1 multi-frame CT"):
        read(tmp_path)


@pytest.mark.parametrize("kind", ["MGML", "Z_EFF", "PCT"])
def test_maps_that_are_no_hounsfield_units_are_refused_by_their_type(tmp_path, kind):
    SOUND.but(tags={"RescaleType": kind}, size=PART).write(tmp_path)
    with pytest.raises(BadInput, match=f"no Hounsfield units: RescaleType is {kind}"):
        read(tmp_path)


def test_a_rescale_taken_away_is_told_by_air_and_tissue(tmp_path):
    without = {"RescaleSlope": None, "RescaleIntercept": None, "RescaleType": None}
    reading = written(tmp_path / "stored", SOUND.but(tags=without))
    assert reading.volume.notes == (str(f.RescaleMade(-1024)),)
    assert np.array_equal(reading.volume.values, [SOUND.hu(k) for k in range(24)])
    # The twin: the same stored values with a rescale that claims to be right.
    SOUND.but(tags={"RescaleIntercept": 0}).write(tmp_path / "claimed")
    with pytest.raises(BadInput, match="air lies near 0 and soft tissue near 1024, though the headers have a rescale"):
        read(tmp_path / "claimed")
