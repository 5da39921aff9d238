"""What a report says of Couinaud segments: each one's volume, and where the lesions lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hepar.metrics.couinaud import LESION_RULE, ROMAN, SEGMENTS, LesionSegments, SegmentMap, lesion_segments
from hepar.volume import LabelMap


@dataclass(frozen=True)
class SegmentReport:
    """`volumes_ml` by segment number, tumours included; `lesions` in the order and numbers of the tumour table."""

    model: str
    volumes_ml: dict[int, float]
    lesions: tuple[LesionSegments, ...]
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> list[tuple[str, float, float]]:
        """Name, mL and share of the liver in percent of each segment; 0 percent without a liver."""
        whole = sum(self.volumes_ml.values())
        return [(ROMAN[s], self.volumes_ml[s], 100 * self.volumes_ml[s] / whole if whole else 0.0) for s in SEGMENTS]

    def lesion_names(self) -> dict[int, str]:
        """Segments of each lesion by its number, as a reader writes them: 'V, VIII'."""
        return {lesion.number: ", ".join(ROMAN[s] for s in lesion.shares) or "none" for lesion in self.lesions}


def segment_report(labels: LabelMap, segments: SegmentMap, model: str, notes: tuple[str, ...] = ()) -> SegmentReport:
    """Raises GeometryMismatch when the two maps lie on different grids."""
    return SegmentReport(model, segments.volumes_ml(), tuple(lesion_segments(labels, segments)), notes)


def segments_json(report: SegmentReport) -> dict[str, Any]:
    """Plain values for JSON; segments are named by their numbers 1 to 8."""
    return {
        "model": report.model,
        "segments_ml": {str(s): volume for s, volume in report.volumes_ml.items()},
        "tumours": [
            {
                "number": lesion.number,
                "segments": list(lesion.shares),
                "shares": {str(s): share for s, share in lesion.shares.items()},
            }
            for lesion in report.lesions
        ],
        "rule": LESION_RULE,
        "notes": list(report.notes),
    }
