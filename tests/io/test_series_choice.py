"""Which series is picked, in which phase it is, and what a description says; always with a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from series_files import ROOT, SeriesFiles

from hepar.geometry import Geometry
from hepar.io import find_scans, read
from hepar.io.series.diagnosis import examine
from hepar.io.series.phase import guess_phase, phase_of_liver
from hepar.io.series.picker import Choice, by_study, choose, height_mm, kernel_of, orientation
from hepar.io.series.words import kernel_kind, words_in
from hepar.volume import LabelMap, Volume

HIGH = SeriesFiles(count=52, gap_mm=2.5, size=(8, 9), pixel_mm=(10.0, 12.0))
SOFT = {"ConvolutionKernel": "B30f"}


def study(folder: Path, *variants: dict) -> Choice:
    """One series a variant, numbered from 1; keys `files` change how it lies, the rest are tags."""
    for number, variant in enumerate(variants, start=1):
        tags = {key: value for key, value in variant.items() if key != "files"}
        series = HIGH.but(tags=tags, uid=f"{ROOT}.{number}", number=number, name=f"s{number}-")
        series.but(**variant.get("files", {})).write(folder)
    (series,) = by_study(examine(folder).series)
    return choose(series)


def against(choice: Choice) -> dict[int | None, str]:
    return {one.series.number: why for one, why in choice.others}


PORTAL = SOFT | {"SeriesDescription": "Abdomen portal venous"}


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (SOFT | {"SeriesDescription": "Abdomen arteriell"}, "arterial"),
        (SOFT | {"SeriesDescription": "Abdomen nativ"}, "native"),
        (SOFT | {"SeriesDescription": "Abdomen delayed 5 min"}, "delayed"),
        (SOFT, "phase not said"),
        (PORTAL | {"ConvolutionKernel": "B70f"}, "lung or bone kernel"),
        (PORTAL | {"SeriesDescription": "portal MIP"}, "a projection or a rendering"),
        (PORTAL | {"SeriesDescription": "Head portal"}, "of another part of the body"),
        (PORTAL | {"SeriesDescription": "portal bolus tracking"}, "for planning or watching the bolus"),
        (PORTAL | {"files": {"column": (0, 0, -1)}}, "coronal"),
        (PORTAL | {"files": {"row": (0, 1, 0), "column": (0, 0, -1)}}, "sagittal"),
        (PORTAL | {"files": {"count": 20}}, "only 50 mm high"),
        (PORTAL | {"files": {"gap_mm": 10.0, "count": 14}}, "slices every 10 mm"),
        (PORTAL | {"files": {"at": (0, 1, 2, 30, 31, 32)}}, "cannot be read (slices 27 missing"),
        (PORTAL | {"files": {"count": 51}}, "51 slices"),
        (PORTAL, "nothing known tells it from the chosen one"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_the_portal_venous_axial_soft_tissue_series_is_picked(tmp_path, other, why, first):
    variants = (PORTAL, other) if first else (other, PORTAL)
    choice = study(tmp_path, *variants)
    # Of two equal ones the first is taken; every other difference decides in any order.
    wanted = 1 if first or other == PORTAL else 2
    assert choice.series.series.number == wanted
    assert next(iter(against(choice).values())).startswith(why)


def test_the_reason_is_a_sentence_of_what_was_compared(tmp_path):
    choice = study(tmp_path, SOFT | {"SeriesDescription": "nativ"}, PORTAL, {"SeriesDescription": "Lunge pv"})
    assert str(choice) == (
        "DICOM series 2 (CT, 52 slices) was chosen of 3 series: phase: portal venous (its description says so), axial, "
        "soft-tissue kernel, slices every 2.5 mm. Passed over: series 1: native; series 3: lung or bone kernel"
    )


def test_a_lone_series_is_taken_with_what_speaks_against_it(tmp_path):
    choice = study(tmp_path, {"ConvolutionKernel": "B70f", "files": {"count": 20}})
    assert choice.others == ()
    assert choice.reasons[-2:] == ("though lung or bone kernel", "though only 50 mm high")


def test_a_read_folder_tells_what_was_picked(tmp_path):
    study(tmp_path, SOFT | {"SeriesDescription": "arterial"}, PORTAL)
    notes = read(tmp_path).notes
    assert notes[0].startswith("DICOM series 2 (CT, 52 slices) was chosen of 2 series")
    assert [scan.id for scan in find_scans(tmp_path)] == [tmp_path.name]
    every = find_scans(tmp_path, every=True)
    assert [scan.id for scan in every] == [f"{tmp_path.name}_series1", f"{tmp_path.name}_series2"]
    assert every[0].read().notes == ()


def test_each_study_has_its_own_choice(tmp_path):
    for place in (1, 2):
        for name, tags in (("a", SOFT), ("b", PORTAL)):
            uid = f"{ROOT}.{place}.{ord(name)}"
            HIGH.but(study=f"1.2.{place}", uid=uid, tags=tags, number=ord(name)).write(tmp_path / f"{place}{name}")
    assert [scan.id for scan in find_scans(tmp_path)] == [f"{tmp_path.name}_series98_{k}" for k in (1, 2)]


def test_without_a_study_uid_series_share_a_frame_of_reference_or_stay_apart(tmp_path):
    for number in (1, 2):
        tags = {"StudyInstanceUID": "", "FrameOfReferenceUID": "1.2.9"}
        HIGH.but(uid=f"{ROOT}.{number}", number=number, tags=tags).write(tmp_path / f"same{number}")
        tags = {"StudyInstanceUID": "", "FrameOfReferenceUID": None}
        HIGH.but(uid=f"{ROOT}.3{number}", number=number, tags=tags).write(tmp_path / f"apart{number}")
    assert sorted(map(len, by_study(examine(tmp_path).series))) == [1, 1, 2]


def test_a_tilted_gantry_is_axial_and_a_steep_plane_is_oblique(tmp_path):
    turned = {"column": (0.0, float(np.cos(0.5)), float(np.sin(0.5)))}
    steep = {"column": (0.0, float(np.cos(0.78)), float(np.sin(0.78)))}
    study(tmp_path, {"files": turned}, {"files": steep})
    assert [orientation(one) for one in examine(tmp_path).series] == ["axial", "oblique"]
    assert [round(height_mm(one)) for one in examine(tmp_path).series] == [130, 130]


# Phases


@pytest.mark.parametrize(
    ("said", "phase"),
    [
        ("ABD PORTAL VENOUS 5.0", "portal venous"), ("Abdomen portalvenös", "portal venous"),
        ("PV phase", "portal venous"), ("TAP temps portal", "portal venous"), ("Abd_pv_1.5", "portal venous"),
        ("Oberbauch venös", "portal venous"),
        ("late arterial", "arterial"), ("Leber arteriell", "arterial"), ("FOIE ARTERIEL", "arterial"),
        ("HAP", "arterial"), ("NATIV", "native"), ("Non-contrast abdomen", "native"), ("without contrast", "native"),
        ("sans injection", "native"), ("Liver w/o contrast", "native"), ("Delayed 5 min", "delayed"),
        ("Abdomen Spät", "delayed"), ("tardif", "delayed"), ("Abdomen KM", "contrast"), ("with contrast", "contrast"),
        ("arterial + venous", "contrast"), ("CT Body 3.0", "unknown"), ("Abdomen", "unknown"), ("", "unknown"),
        ("Department of surgery", "unknown"), ("Start 10 cm below", "unknown"), ("Venetia study", "unknown"),
    ],
)  # fmt: skip
def test_phases_are_read_from_descriptions_of_many_hospitals(tmp_path, said, phase):
    HIGH.but(at=(0, 1), tags={"SeriesDescription": said}).write(tmp_path)
    assert guess_phase(examine(tmp_path).series[0]).phase == phase


@pytest.mark.parametrize(
    ("bolus", "taken", "phase"),
    [
        ("100000", "100025", "arterial"), ("100000", "100110", "portal venous"), ("100000.5", "100400", "delayed"),
        ("235930", "000040", "portal venous"), ("100000", "100002", "unknown"), ("100000", "113000", "unknown"),
        ("100100", "100000", "unknown"),
    ],
)  # fmt: skip
def test_without_words_the_time_since_injection_tells(tmp_path, bolus, taken, phase):
    tags = {"ContrastBolusStartTime": bolus, "AcquisitionTime": taken}
    HIGH.but(at=(0, 1), tags=tags).write(tmp_path)
    guess = guess_phase(examine(tmp_path).series[0])
    assert guess.phase == phase
    assert ("s after the injection began" in guess.why) == (phase != "unknown")


@pytest.mark.parametrize(
    ("agent", "phase"), [("Iomeron 350", "contrast"), ("APPLIED", "contrast"), ("NONE", "native"), ("", "unknown")]
)
def test_a_contrast_agent_is_contrast_of_no_known_phase(tmp_path, agent, phase):
    HIGH.but(at=(0, 1), tags={"ContrastBolusAgent": agent}).write(tmp_path)
    assert guess_phase(examine(tmp_path).series[0]).phase == phase


@pytest.mark.parametrize(("hu", "phase"), [(52, "native"), (80, "contrast"), (112, "portal venous")])
def test_the_liver_itself_tells_native_from_enhanced(hu, phase):
    grid = Geometry.from_spacing((10, 20, 20), (2, 1, 1))
    labels = np.zeros(grid.shape, np.uint8)
    labels[2:8, 4:16, 4:16] = 1
    labels[4:6, 8:12, 8:12] = 2
    values = np.where(labels == 1, hu, np.where(labels == 2, 20, -100)).astype(np.int16)
    guess = phase_of_liver(Volume(values, grid), LabelMap(labels, grid))
    assert guess.phase == phase and f"{hu} HU" in str(guess)
    nothing = LabelMap(np.zeros_like(labels), grid)
    assert phase_of_liver(Volume(values, grid), nothing).phase == "unknown"


# Words


@given(st.text(max_size=60))
def test_no_text_breaks_the_words_and_none_of_it_is_kept(text):
    known = {
        "native", "arterial", "portal", "venous", "delayed", "contrast", "lung", "bone", "projection", "coronal",
        "sagittal", "scout", "monitoring", "head", "chest", "abdomen", "legs",
    }  # fmt: skip
    assert words_in(text) <= known


@pytest.mark.parametrize("case", [str.upper, str.lower, str.title])
def test_case_accents_and_punctuation_do_not_matter(case):
    assert words_in(case("abdomen-portal_venös/lunge")) == {"abdomen", "portal", "venous", "lung"}


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("B30f", "soft"), ("Br38d", "soft"), ("I31f", "soft"), ("STANDARD", "soft"), ("FC08", "soft"), ("B", "soft"),
        ("B70f", "sharp"), ("Bl64", "sharp"), ("LUNG", "sharp"), ("BONEPLUS", "sharp"), ("FC51", "sharp"),
        ("YC", "sharp"), ("", "unknown"), ("something else", "unknown"),
    ],
)  # fmt: skip
def test_kernels_of_all_makers(kernel, kind):
    assert kernel_kind(kernel) == kind


def test_words_outweigh_the_kernel(tmp_path):
    HIGH.but(at=(0, 1), tags={"ConvolutionKernel": "B30f", "SeriesDescription": "lung"}).write(tmp_path)
    assert kernel_of(examine(tmp_path).series[0]) == "sharp"
