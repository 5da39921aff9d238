"""nnU-Net's loss for pixels that are known to be "liver or tumour", as hepar reads them. Needs torch alone."""

from __future__ import annotations

import torch
from packing import UNION
from torch import Tensor, nn


class UnionLoss(nn.Module):
    """nnU-Net's Dice + cross-entropy, where a pixel "liver or tumour" costs -log(p1 + p2) instead of nothing.

    It takes no part in the Dice term (nnU-Net ignores it there). Without such pixels the loss is nnU-Net's. `plain` has
    nnU-Net's two terms: `dc(logits, target, loss_mask=...)`, and `ce(logits, target)`, a mean that leaves UNION out.
    """

    def __init__(self, plain: nn.Module) -> None:
        super().__init__()
        self.plain = plain

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Logits (batch, 3, y, x), target (batch, 1, y, x) of 0, 1, 2 and UNION."""
        logits = logits.float()
        union = target[:, 0] == UNION
        # The mean over known pixels alone, put back among all pixels.
        known = 1 - union.float().mean()
        dice = self.plain.dc(logits, torch.where(union[:, None], 0, target), loss_mask=~union[:, None])
        cost = dice + (known * self.plain.ce(logits, target[:, 0]) if known > 0 else 0.0)
        log_p = torch.log_softmax(logits, 1)
        return cost - (torch.logsumexp(log_p[:, 1:], 1) * union).mean()
