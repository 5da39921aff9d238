"""Losses over 3-label logits (batch, 3, y, x) that respect partial labels.

Where a case is labelled "liver_union", label 1 means "liver or tumour" and the
loss of such a pixel is -log(p1 + p2); nothing is said about which of the two.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hepar.volume import LIVER, TUMOUR


def cross_entropy(logits: Tensor, labels: Tensor, union: Tensor) -> Tensor:
    """Mean over all pixels of the (marginal) negative log-likelihood.

    `labels` int64 (batch, y, x); `union` bool (batch,), true where label 1
    means liver or tumour.
    """
    log_p = F.log_softmax(logits.float(), dim=1)
    plain = F.nll_loss(log_p, labels, reduction="none")
    if not bool(union.any()):
        return plain.mean()
    either = -torch.logsumexp(log_p[:, LIVER:], dim=1)
    partial = union[:, None, None] & (labels >= LIVER)
    return torch.where(partial, either, plain).mean()


def soft_dice(logits: Tensor, labels: Tensor, union: Tensor) -> Tensor:
    """1 - soft Dice, averaged over liver (with tumour) and tumour, pooled over the batch.

    Slices labelled "liver_union" take part in the liver term only. Smooth 1e-5
    as in nnU-Net; a batch in which the tumour term has no labelled slice
    keeps the liver term alone.
    """
    p = torch.softmax(logits.float(), dim=1)
    liver = _dice_term(p[:, LIVER:].sum(dim=1), labels >= LIVER)
    full = ~union
    if not bool(full.any()):
        return liver
    return (liver + _dice_term(p[full, TUMOUR], labels[full] == TUMOUR)) / 2


def dice_cross_entropy(logits: Tensor, labels: Tensor, union: Tensor) -> Tensor:
    """Equal sum of both, the common choice since nnU-Net."""
    return cross_entropy(logits, labels, union) + soft_dice(logits, labels, union)


def _dice_term(p: Tensor, truth: Tensor) -> Tensor:
    smooth = 1e-5
    both = (p * truth).sum()
    return 1 - (2 * both + smooth) / (p.sum() + truth.sum() + smooth)


LOSSES = {"cross_entropy": cross_entropy, "dice_cross_entropy": dice_cross_entropy}
