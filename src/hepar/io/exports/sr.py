"""DICOM Structured Report of measurements, template TID 1500 (PS3.16), and its own check.

A measurement group for the liver and one for each lesion (TID 1411), which
refer to the segments of a SEG. The report is complete, preliminary and not
verified: no physician signed it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepar.errors import BadInput, OutputError
from hepar.files import replace_whole
from hepar.io.exports import codes
from hepar.io.exports.marked import RESEARCH, Maker
from hepar.io.exports.source import Source
from hepar.io.exports.uids import uid_from
from hepar.io.series.header import quiet_pydicom

SERIES_NUMBER = 9102
Code = tuple[str, str, str]


@dataclass(frozen=True)
class Measured:
    """One structure by the name of its segment; what is None is not reported.

    `long_mm` and `short_mm` are the longest axial diameter and the one
    perpendicular to it in the same slice, `mean_hu` is over all voxels.
    """

    name: str
    volume_ml: float
    long_mm: float | None = None
    short_mm: float | None = None
    mean_hu: float | None = None

    def values(self) -> dict[str, tuple[float, Code]]:
        """Value and unit by the code value of what is measured, rounded to what the measurement can carry."""
        every = (
            (codes.VOLUME, self.volume_ml, codes.ML, 3),
            (codes.LONG_AXIS, self.long_mm, codes.MM, 1),
            (codes.SHORT_AXIS, self.short_mm, codes.MM, 1),
            (codes.ATTENUATION, self.mean_hu, codes.HU, 1),
        )
        return {what[0]: (round(value, digits), unit) for what, value, unit, digits in every if value is not None}


@dataclass(frozen=True)
class Findings:
    """The liver first, then lesions. `assessed` is False where the scan does not allow to look for tumours."""

    liver: Measured
    lesions: tuple[Measured, ...] = ()
    assessed: bool = True
    remarks: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[Measured, ...]:
        return (self.liver, *self.lesions)


def write_sr(findings: Findings, seg: Any, source: Source, maker: Maker, path: Path) -> Any:
    """Write `path` once every number was read back; `seg` is what `write_seg` returned.

    Lesions without a segment of their name are left out: the segmentation's
    slices do not show them. Raises BadInput for an undefined volume, OutputError
    when what was read back differs, MissingExtra without highdicom.
    """
    codes.require_highdicom()
    segments = {str(item.SegmentLabel): int(item.SegmentNumber) for item in seg.SegmentSequence}
    shown = [one for one in findings.all if one.name in segments]
    for one in shown:
        if any(math.isnan(value) for value, _ in one.values().values()):
            raise BadInput(f"{one.name} has a measurement that is no number; expected numbers or None")
    with quiet_pydicom():
        groups = [_group(one, seg, segments[one.name], findings, maker) for one in shown]
        made = _document(groups, findings, seg, source, maker)
    with replace_whole(path) as temporary:
        made.save_as(temporary)
        expected = {one.name: (segments[one.name], one.values()) for one in shown}
        if measurements_of(temporary) != expected:
            raise OutputError(f"'{path.name}' came back with other numbers than written; not kept, report this")
    return made


def _group(one: Measured, seg: Any, segment: int, findings: Findings, maker: Maker) -> Any:
    from highdicom import sr

    what = next(item for item in seg.SegmentSequence if int(item.SegmentNumber) == segment)
    is_liver = one is findings.liver
    judged = codes.ASSESSED if findings.assessed else codes.NOT_ASSESSED
    assessment = sr.QualitativeEvaluation(name=codes.concept(codes.ASSESSMENT), value=codes.concept(judged))
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=str(what.TrackingUID), identifier=one.name),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=str(seg.SOPClassUID),
            sop_instance_uid=str(seg.SOPInstanceUID),
            segment_number=segment,
            source_series=sr.SourceSeriesForSegmentation(str(seg.ReferencedSeriesSequence[0].SeriesInstanceUID)),
        ),
        finding_category=codes.concept(codes.ANATOMY if is_liver else codes.ABNORMAL),
        finding_type=codes.concept(codes.LIVER if is_liver else codes.NEOPLASM),
        finding_sites=None if is_liver else [sr.FindingSite(codes.concept(codes.LIVER))],
        algorithm_id=sr.AlgorithmIdentification(name=maker.model[:64], version=maker.version),
        measurements=_measurements(one),
        qualitative_evaluations=[assessment] if is_liver else None,
    )


def _measurements(one: Measured) -> list[Any]:
    from highdicom.sr import Measurement

    names = {code[0]: code for code in (codes.VOLUME, codes.LONG_AXIS, codes.SHORT_AXIS, codes.ATTENUATION)}
    return [
        Measurement(
            name=codes.concept(names[what]),
            value=value,
            unit=codes.concept(unit),
            derivation=codes.concept(codes.MEAN) if what == codes.ATTENUATION[0] else None,
        )
        for what, (value, unit) in one.values().items()
    ]


def _document(groups: Sequence[Any], findings: Findings, seg: Any, source: Source, maker: Maker) -> Any:
    from highdicom import sr
    from pydicom.sr.codedict import codes as standard

    device = sr.DeviceObserverIdentifyingAttributes(
        uid=uid_from("device", maker.version, maker.model),
        name="hepar",
        manufacturer_name="hepar",
        model_name=maker.model[:64],
        serial_number=maker.weights_sha256[:16],
    )
    context = sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=standard.DCM.Device, observer_identifying_attributes=device
        )
    )
    content = sr.MeasurementReport(
        observation_context=context,
        procedure_reported=codes.concept(codes.CT),
        imaging_measurements=list(groups),
        title=standard.DCM.ImagingMeasurementReport,
    )
    for text in (f"{RESEARCH}.", *findings.remarks):
        said = sr.TextContentItem(codes.concept(codes.COMMENT), text, relationship_type="CONTAINS")
        content[0].ContentSequence.append(said)
    referred = {
        str(item.ReferencedSOPInstanceUID)
        for one in seg.ReferencedSeriesSequence
        for item in one.ReferencedInstanceSequence
    }
    return sr.EnhancedSR(
        evidence=[seg, *(one for one in source.headers if one.SOPInstanceUID in referred)],
        content=content[0],
        series_instance_uid=maker.uid("sr series", source.series_uid),
        series_number=SERIES_NUMBER,
        sop_instance_uid=maker.uid("sr", source.series_uid),
        instance_number=1,
        manufacturer="hepar",
        manufacturer_model_name=maker.model[:64],
        software_versions=maker.version,
        device_serial_number=maker.weights_sha256[:16],
        is_complete=True,
        is_final=False,
        is_verified=False,
        series_description=f"hepar measurements. {RESEARCH}"[:64],
        content_date=maker.made.date(),
        content_time=maker.made.time(),
    )


def measurements_of(path: Path) -> dict[str, tuple[int, dict[str, tuple[float, Code]]]]:
    """Segment number and values of each measurement group by its tracking identifier, by pydicom alone."""
    from pydicom import dcmread

    with quiet_pydicom():
        data = dcmread(path)
        found = {}
        for group in _items(data, "125007", deep=True):
            name = str(_items(group, "112039")[0].TextValue)
            segment = int(_items(group, "121191")[0].ReferencedSOPSequence[0].ReferencedSegmentNumber)
            numbers = [item for item in group.ContentSequence if item.ValueType == "NUM"]
            found[name] = (segment, {_coded(item.ConceptNameCodeSequence[0])[0]: _number(item) for item in numbers})
    return found


def _items(data: Any, concept: str, deep: bool = False) -> list[Any]:
    """Content items by the code value of their name, among the children or, if `deep`, in the whole tree."""
    found = []
    for item in data.get("ContentSequence") or ():
        named = item.get("ConceptNameCodeSequence")
        if named and named[0].CodeValue == concept:
            found.append(item)
        elif deep:
            found += _items(item, concept, deep=True)
    return found


def _number(item: Any) -> tuple[float, Code]:
    measured = item.MeasuredValueSequence[0]
    return float(measured.NumericValue), _coded(measured.MeasurementUnitsCodeSequence[0])


def _coded(item: Any) -> Code:
    return str(item.CodeValue), str(item.CodingSchemeDesignator), str(item.CodeMeaning)
