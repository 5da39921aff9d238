"""hepar: joint liver and liver-tumour segmentation of abdominal CT.

    import hepar
    labels = hepar.segment("ct.nii.gz")      # LabelMap on the scan's own grid
    hepar.write(labels, "labels.nii.gz")

Research use only, not a medical device.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

DISCLAIMER = "Research use only, not a medical device."

if TYPE_CHECKING:
    from hepar.geometry import Geometry
    from hepar.inference import segment
    from hepar.io import read, read_labels, write
    from hepar.metrics import evaluate
    from hepar.volume import LabelMap, Volume

__all__ = [
    "DISCLAIMER",
    "Geometry",
    "LabelMap",
    "Volume",
    "__version__",
    "evaluate",
    "read",
    "read_labels",
    "segment",
    "write",
]

# Names are looked up on first use, so that `import hepar` stays cheap.
_HOMES = {
    "Geometry": "hepar.geometry",
    "LabelMap": "hepar.volume",
    "Volume": "hepar.volume",
    "evaluate": "hepar.metrics",
    "read": "hepar.io",
    "read_labels": "hepar.io",
    "segment": "hepar.inference",
    "write": "hepar.io",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hepar' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
