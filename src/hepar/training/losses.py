"""Losses over 3-label logits (batch, 3, y, x) that respect partial labels.

Where a case is labelled "liver_union", label 1 means "liver or tumour" and the
loss of such a pixel is -log(p1 + p2); nothing is said about which of the two.
Label 2 is a tumour there as anywhere (one that was painted in).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from hepar.training.recipe import Recipe
from hepar.volume import LIVER, TUMOUR

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
# False tumour pixels in a tumour-free slice that cost half a slice's Dice: 1 cm2 at 1.5 mm.
HALF_FALSE_PX = 50.0


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    union: Tensor,
    focal: float = 0.0,
    top_k: float = 1.0,
    weights: tuple[float, ...] = (),
) -> Tensor:
    """Mean over all pixels of the (marginal) negative log-likelihood.

    `labels` int64 (batch, y, x); `union` bool (batch,), true where label 1
    means liver or tumour (label 2 still means tumour). `focal` weighs a pixel with (1 - p)^focal, p the
    probability of what its label allows, `weights` with that of its label; of the
    result the `top_k` share of hardest pixels in the batch counts.
    """
    log_p = F.log_softmax(logits.float(), dim=1)
    cost = F.nll_loss(log_p, labels, reduction="none")
    if bool(union.any()):
        either = -torch.logsumexp(log_p[:, LIVER:], dim=1)
        partial_label = union[:, None, None] & (labels == LIVER)
        cost = torch.where(partial_label, either, cost)
    if focal:
        # Never exactly 0: a power below 1 has no gradient there.
        cost = cost * (-torch.expm1(-cost)).clamp(min=1e-6) ** focal
    if weights:
        cost = cost * torch.tensor(weights, device=cost.device)[labels]
    if top_k < 1:
        cost = torch.topk(cost.flatten(), max(1, round(top_k * cost.numel()))).values
    return cost.mean()


def soft_dice(logits: Tensor, labels: Tensor, union: Tensor, tumour_dice: str = "batch") -> Tensor:
    """1 - soft Dice, averaged over liver (with tumour) and tumour, pooled over the batch.

    Slices labelled "liver_union" take part in the liver term only. Smooth 1e-5
    as in nnU-Net; a batch in which the tumour term has no labelled slice
    keeps the liver term alone. `tumour_dice` as in the recipe: "slices" and
    "slices_with_tumour" let a small lesion weigh as much as a large one.
    """
    p = torch.softmax(logits.float(), dim=1)
    liver = _dice_term(p[:, LIVER:].sum(dim=1), labels >= LIVER)
    full = ~union
    if tumour_dice == "slices_with_tumour":
        full = full & (labels == TUMOUR).flatten(1).any(dim=1)
    if not bool(full.any()):
        return liver
    found, truth = p[full, TUMOUR], labels[full] == TUMOUR
    tumour = _dice_term(found, truth) if tumour_dice == "batch" else _dice_by_slice(found, truth)
    return (liver + tumour) / 2


def dice_cross_entropy(logits: Tensor, labels: Tensor, union: Tensor) -> Tensor:
    """Equal sum of both, the common choice since nnU-Net."""
    return cross_entropy(logits, labels, union) + soft_dice(logits, labels, union)


def joint_dice(logits: Tensor, labels: Tensor, union: Tensor) -> Tensor:
    """1 - soft Dice of liver (with tumour) plus the same of tumour, each from an answer of its own.

    For logits that `nets.two_answers.encoded` made: the largest of liver and
    tumour is the score of liver, their difference that of tumour, and neither
    answer's gradient reaches the other's score. Pooled over the batch, smooth 1
    (Vorontsov et al.'s program). Slices labelled "liver_union" take part in the liver term only.
    """
    liver, tumour = logits[:, LIVER:].amax(dim=1), logits[:, TUMOUR] - logits[:, LIVER]
    cost = _dice_term(torch.sigmoid(liver.float()), labels >= LIVER, smooth=1.0)
    full = ~union
    if bool(full.any()):
        cost = cost + _dice_term(torch.sigmoid(tumour[full].float()), labels[full] == TUMOUR, smooth=1.0)
    return cost


def loss_of(recipe: Recipe) -> Loss:
    """The recipe's loss of one level of logits."""
    plain = partial(cross_entropy, focal=recipe.focal, top_k=recipe.top_k, weights=recipe.label_weights)
    if recipe.loss == "cross_entropy":
        return plain
    if recipe.loss == "joint_dice":
        return joint_dice
    dice = partial(soft_dice, tumour_dice=recipe.tumour_dice)
    if recipe.loss == "soft_dice":
        return dice
    return lambda logits, labels, union: plain(logits, labels, union) + dice(logits, labels, union)


def deep_loss(loss: Loss, levels: Mapping[int, Tensor], labels: Tensor, union: Tensor, share: float) -> Tensor:
    """Weighted mean of the losses of logits by stride, each coarser level `share` of the next finer.

    Sample i of a level lies on pixel i * stride, so its labels are every stride-th.
    """
    weights = [share**level for level in range(len(levels))]
    costs = [loss(logits, labels[:, ::stride, ::stride], union) for stride, logits in sorted(levels.items())]
    total = torch.stack([weight * cost for weight, cost in zip(weights, costs, strict=True)]).sum()
    return total / sum(weights)


def _dice_term(p: Tensor, truth: Tensor, smooth: float = 1e-5) -> Tensor:
    both = (p * truth).sum()
    return 1 - (2 * both + smooth) / (p.sum() + truth.sum() + smooth)


def _dice_by_slice(p: Tensor, truth: Tensor) -> Tensor:
    """Mean over slices (slice, y, x) of 1 - soft Dice; without truth, of the share that false pixels reach.

    With no truth 1 - Dice is 1 for the least false pixel and has no slope: q / (q + 50) has one everywhere.
    """
    both, found, true = ((q * 1.0).sum(dim=(1, 2)) for q in (p * truth, p, truth))
    smooth = 1e-5
    costs = torch.where(true > 0, 1 - (2 * both + smooth) / (found + true + smooth), found / (found + HALF_FALSE_PX))
    return costs.mean()
