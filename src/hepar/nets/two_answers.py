"""Two answers of sigmoids, is it liver and is it tumour, as the three logits that all else works with."""

from __future__ import annotations

import torch
from torch import Tensor

# Far below any score, and the exponential of it is above 0 in float64 alone.
NEVER = -150.0


def encoded(liver: Tensor, tumour: Tensor) -> Tensor:
    """Scores (batch, y, x) of liver (with tumour) and of tumour as logits (batch, 3, y, x).

    The highest logit is tumour where its score is above 0, else liver where
    that one is, else background: both answers cut at a probability of one half.
    Nothing is lost: the liver's score is the larger of the logits of liver and
    tumour, the tumour's score is tumour minus liver (what the loss "joint_dice" uses).
    """
    tumour_logit = liver + tumour.clamp(max=0)
    return torch.stack([(liver - tumour).clamp(max=0), tumour_logit - tumour, tumour_logit], dim=1)


def only(score: Tensor, label: int) -> Tensor:
    """Scores (batch, y, x) of one label as logits (batch, 3, y, x): the third label gets a logit of `NEVER`.

    The softmax is then the sigmoid of the score, and the third label's probability is 0 in float32.
    """
    logits = [torch.zeros_like(score), torch.full_like(score, NEVER), torch.full_like(score, NEVER)]
    logits[label] = score
    return torch.stack(logits, dim=1)
