"""The steering figure: Dice of patients held back."""

import numpy as np
import torch
from torch import nn

from hepar.training.store import SliceStore
from hepar.training.validation import validate


class Painted(nn.Module):
    """Finds liver where grey is above 50 and tumour where it is above 150."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, grey):
        liver = ((grey > 50) & (grey <= 150)).float()
        tumour = (grey > 150).float()
        return torch.cat([1 - liver - tumour, liver, tumour], dim=1) * self.scale


def slices(labels, union):
    images = [np.choose(one, (0, 100, 200)).astype(np.uint8) for one in labels]
    names = np.array(["p"] * len(labels))
    return SliceStore(images, labels, names, names, np.array(union))


def square(value):
    truth = np.zeros((32, 32), dtype=np.uint8)
    truth[8:20, 8:20] = 1
    truth[10:14, 10:14] = value
    return truth


def test_a_patient_with_some_union_slices_still_counts_for_tumour():
    store = slices([square(2), square(1)], [False, True])
    assert validate(Painted(), store, "fp32") == {"dice_liver": 1.0, "dice_tumour": 1.0}


def test_a_union_slice_alone_says_nothing_of_tumour():
    store = slices([square(1)], [True])
    assert validate(Painted(), store, "fp32") == {"dice_liver": 1.0}


def test_false_tumour_of_a_tumour_free_patient_is_a_share_of_the_liver():
    store = slices([square(1)], [False])
    store.images[0][8:20, 8:14] = 200
    assert validate(Painted(), store, "fp32") == {"dice_liver": 1.0, "false_tumour_share": 0.5}
