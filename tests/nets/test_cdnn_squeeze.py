"""CDNN-Squeeze on three slices."""

from __future__ import annotations

import pytest
import torch

from hepar.errors import BadInput
from hepar.nets.cdnn_squeeze import CdnnSqueeze


def test_three_slices_take_the_places_of_the_three_colours():
    one, three = (CdnnSqueeze(slices=slices).build(seed=3).eval() for slices in (1, 3))
    head = torch.randn(one.decoder.score.weight.shape, generator=torch.Generator().manual_seed(0))
    for network in (one, three):
        network.decoder.score.weight.data.copy_(head)
    grey = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 255
    with torch.inference_mode():
        same = grey[:, 1:2].expand(-1, 3, -1, -1)
        assert torch.equal(three(same), one(grey[:, 1:2]))
        assert not torch.allclose(three(grey), three(same))


@pytest.mark.parametrize("settings", [{"slices": 5}, {"slices": 3, "step_mm": 0}])
def test_networks_of_other_slices_are_refused(settings):
    with pytest.raises(BadInput, match="1 or 3"):
        CdnnSqueeze(**settings)
