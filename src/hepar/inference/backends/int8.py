"""Eight-bit weights and activations for OpenVINO, by NNCF (`pip install hepar[int8]`)."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hepar.errors import BadInput, MissingExtra

# What NNCF takes from the inputs given: more changes ranges in the third digit.
MOST_INPUTS = 64


def write_int8(onnx: Path, inputs: Sequence[NDArray[np.float32]], out: Path) -> None:
    """Quantise an ONNX model on real network inputs (batch, slices, y, x) into `out` (.xml, its .bin beside it).

    Symmetric weights, asymmetric activations where they have a sign; layers
    without an eight-bit form stay in float. Raises MissingExtra without NNCF,
    BadInput without inputs.
    """
    if not inputs:
        raise BadInput("there is no slice to calibrate on; give scans that show a liver")
    # As for OpenVINO itself: no telemetry client.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import nncf
    except ImportError as error:
        raise MissingExtra("quantising needs NNCF; `pip install hepar[int8]`") from error
    from openvino import Core, save_model

    # Errors only: its progress bars are not ours. Its own function would quieten handlers, which others share.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    chosen = [inputs[k] for k in np.linspace(0, len(inputs) - 1, min(len(inputs), MOST_INPUTS)).astype(int)]
    network = nncf.quantize(
        Core().read_model(onnx),
        nncf.Dataset(chosen),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(chosen),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    save_model(network, str(out))
