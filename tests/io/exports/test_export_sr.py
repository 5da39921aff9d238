"""Structured reports: every number comes back beside its segment, or no file is written."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from exported_series import MAKER, require_valid
from pydicom.sr import _concepts_dict

from hepar.errors import BadInput, MissingExtra, OutputError
from hepar.io.exports import codes, sr
from hepar.io.exports.marked import RESEARCH, Marked
from hepar.io.exports.seg import write_seg
from hepar.io.exports.sr import Findings, Measured, measurements_of, write_sr

highdicom = pytest.importorskip("highdicom", reason="DICOM SR needs hepar[dicom]")

FINDINGS = Findings(
    Measured("Liver", 1512.3456),
    (Measured("Tumour 1", 12.3456, 33.34, 20.16, 55.55), Measured("Tumour 2", 0.0124, 3.0, 2.0, -7.0)),
    remarks=("Quality: review.",),
)
VOLUME, LONG, SHORT, HU = "118565006", "103339001", "103340004", "112031"


@pytest.fixture
def seg(tmp_path, source, marked):
    return write_seg(marked, source, MAKER, tmp_path / "seg.dcm")


def written(tmp_path, seg, source, findings=FINDINGS) -> pydicom.Dataset:
    write_sr(findings, seg, source, MAKER, tmp_path / "sr.dcm")
    return pydicom.dcmread(tmp_path / "sr.dcm")


def texts(data) -> str:
    """Every text, name and code meaning of the report's tree, in order."""
    said = []
    for item in data.get("ContentSequence") or ():
        said += [str(item.get("TextValue") or ""), str((item.get("ConceptCodeSequence") or [{}])[0])]
        said.append(texts(item))
    return "\n".join(said)


def test_every_number_stands_beside_its_segment_and_unit(tmp_path, seg, source):
    written(tmp_path, seg, source)
    found = measurements_of(tmp_path / "sr.dcm")
    assert {name: segment for name, (segment, _) in found.items()} == {"Liver": 1, "Tumour 1": 2, "Tumour 2": 3}
    values = {name: {what: value for what, (value, _) in own.items()} for name, (_, own) in found.items()}
    assert values["Liver"] == {VOLUME: 1512.346}
    assert values["Tumour 1"] == {VOLUME: 12.346, LONG: 33.3, SHORT: 20.2, HU: 55.5}
    assert values["Tumour 2"] == {VOLUME: 0.012, LONG: 3.0, SHORT: 2.0, HU: -7.0}
    units = {what: unit[0] for what, (_, unit) in found["Tumour 1"][1].items()}
    assert units == {VOLUME: "cm3", LONG: "mm", SHORT: "mm", HU: "[hnsf'U]"}


def test_it_is_template_1500_in_the_patients_study(tmp_path, seg, source):
    data = written(tmp_path, seg, source)
    template = data.ContentTemplateSequence[0]
    assert (template.MappingResource, template.TemplateIdentifier) == ("DCMR", "1500")
    assert data.StudyInstanceUID == source.headers[0].StudyInstanceUID
    assert data.PatientID == "SecretId"
    assert data.Modality == "SR"
    assert (data.VerificationFlag, data.CompletionFlag) == ("UNVERIFIED", "COMPLETE")


def test_another_library_reads_it_as_such_a_report(tmp_path, seg, source):
    written(tmp_path, seg, source)
    read = highdicom.sr.srread(tmp_path / "sr.dcm")
    groups = read.content.get_volumetric_roi_measurement_groups()
    assert [group.tracking_identifier for group in groups] == ["Liver", "Tumour 1", "Tumour 2"]
    assert [group.finding_type.value for group in groups] == ["10200004", "108369006", "108369006"]
    assert [len(group.get_measurements()) for group in groups] == [1, 4, 4]


def test_it_refers_to_the_segmentation_and_to_lesions_by_their_tracking(tmp_path, seg, source):
    data = written(tmp_path, seg, source)
    uids = [group.tracking_uid for group in highdicom.sr.srread(tmp_path / "sr.dcm").content
            .get_volumetric_roi_measurement_groups()]  # fmt: skip
    assert uids == [item.TrackingUID for item in seg.SegmentSequence]
    referred = {
        item.ReferencedSOPInstanceUID
        for study in data.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert seg.SOPInstanceUID in referred
    assert referred - {seg.SOPInstanceUID} <= {one.SOPInstanceUID for one in source.headers}


def test_research_use_and_remarks_are_said(tmp_path, seg, source):
    data = written(tmp_path, seg, source)
    assert f"{RESEARCH}." in texts(data)
    assert "Quality: review." in texts(data)
    assert "search use only" in data.SeriesDescription


def test_tumours_that_were_not_assessed_are_said_so(tmp_path, source, marked):
    bare = Marked(np.minimum(marked.numbers, 1))
    seg = write_seg(bare, source, MAKER, tmp_path / "seg.dcm")
    alone = Findings(FINDINGS.liver, assessed=False, remarks=("Tumour not assessed: no contrast.",))
    said = texts(written(tmp_path, seg, source, alone))
    assert "Not assessed" in said and "Tumour not assessed: no contrast." in said
    assert "Not assessed" not in texts(written(tmp_path, seg, source, FINDINGS))


def test_a_lesion_that_no_slice_shows_is_left_out(tmp_path, seg, source):
    more = replace(FINDINGS, lesions=(*FINDINGS.lesions, Measured("Tumour 3", 0.001)))
    written(tmp_path, seg, source, more)
    assert list(measurements_of(tmp_path / "sr.dcm")) == ["Liver", "Tumour 1", "Tumour 2"]


def test_an_undefined_measurement_is_left_out_and_no_number_is_an_error(tmp_path, seg, source):
    some = replace(FINDINGS, lesions=(Measured("Tumour 1", 1.0, 5.0),))
    written(tmp_path, seg, source, some)
    assert set(measurements_of(tmp_path / "sr.dcm")["Tumour 1"][1]) == {VOLUME, LONG}
    with pytest.raises(BadInput, match="Tumour 1 has a measurement that is no number"):
        written(tmp_path, seg, source, replace(FINDINGS, lesions=(Measured("Tumour 1", float("nan")),)))


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.pop("Tumour 2"),
        lambda found: found.update({"Liver": (2, found["Liver"][1])}),
        lambda found: found["Tumour 1"][1].update({LONG: (33.4, codes.MM)}),
        lambda found: found["Tumour 1"][1].update({LONG: (33.3, codes.ML)}),
    ],
    ids=["lost", "another segment", "another number", "another unit"],
)
def test_a_mismatch_fails_the_export_and_leaves_no_file(tmp_path, seg, source, monkeypatch, change):
    def spoilt(path):
        found = measurements_of(path)
        change(found)
        return found

    monkeypatch.setattr(sr, "measurements_of", spoilt)
    with pytest.raises(OutputError, match=r"'sr.dcm' came back with other numbers"):
        written(tmp_path, seg, source)
    assert not (tmp_path / "sr.dcm").exists()


@pytest.mark.parametrize("code", [
    codes.LIVER, codes.NEOPLASM, codes.ANATOMY, codes.ABNORMAL, codes.VOLUME, codes.LONG_AXIS, codes.SHORT_AXIS,
    codes.ATTENUATION, codes.MEAN, codes.CT, codes.COMMENT, codes.ML, codes.MM, codes.HU, codes.INTELLIGENCE,
], ids=lambda code: code[2])  # fmt: skip
def test_codes_mean_what_the_standards_dictionary_says(code):
    value, scheme, meaning = code
    names = [entry[value][0] for entry in _concepts_dict.concepts[scheme].values() if value in entry]
    assert meaning in names


def test_private_codes_are_marked_as_such_and_short_enough():
    for value, scheme, _ in (codes.ASSESSMENT, codes.ASSESSED, codes.NOT_ASSESSED):
        assert scheme.startswith("99")
        assert len(value) <= 16


def test_without_highdicom_the_extra_is_named(tmp_path, seg, source, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom.seg", None)
    with pytest.raises(MissingExtra, match=r"pip install hepar\[dicom\]"):
        write_sr(FINDINGS, seg, source, MAKER, tmp_path / "sr.dcm")


def test_the_validator_finds_no_error(tmp_path, seg, source):
    written(tmp_path, seg, source)
    require_valid(tmp_path / "sr.dcm")
