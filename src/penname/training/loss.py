"""CTC loss that takes logits, so log-softmax can never be forgotten.

The 2021 project fed raw outputs to CTC and saw negative losses: without log-softmax the "path
probabilities" are not probabilities. Here the loss owns it (Graves et al. 2006).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from penname.alphabet import BLANK


def ctc_loss(logits: Tensor, labels: Tensor, label_lengths: Tensor) -> Tensor:
    """Return -log P(labels | logits) of each line: (N,), float32.

    Args:
        logits: (N, T, C), any float type; all T frames are read.
        labels: (N, L) padded at the end, values below `label_lengths` only are read.
        label_lengths: (N,) true numbers of labels; each must fit its frames, see
            `penname.ctc.frames_needed`, else the loss of that line is infinite.
    """
    log_probs = logits.float().log_softmax(-1).transpose(0, 1)  # (N, T, C) -> (T, N, C)
    frames = torch.full((logits.shape[0],), logits.shape[1], dtype=torch.long)
    return functional.ctc_loss(
        log_probs, labels, frames, label_lengths, blank=BLANK, reduction="none"
    )


def frame_loss(logits: Tensor, taught: Tensor) -> Tensor:
    """Return how far each line is from what a teacher gives: (N,), the sum of KL over frames.

    Args:
        logits: (N, T, C), any float type.
        taught: (N, T, C), the teacher's log_probs.
    """
    log_probs = logits.float().log_softmax(-1)
    return functional.kl_div(log_probs, taught, reduction="none", log_target=True).sum((1, 2))


def column_loss(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return how far columns are from a teacher's: (), the sum of squares as a share of theirs.

    Args:
        ours: (N, C, T), any float type.
        theirs: the same shape.
    """
    ours, theirs = ours.float(), theirs.float()
    return (ours - theirs).square().mean() / theirs.square().mean()


def batch_loss(
    logits: Tensor,
    shortcut: Tensor | None,
    labels: Tensor,
    label_lengths: Tensor,
    weight: float,
    further: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the loss to minimise, per character (), and the CTC loss of each line (N,).

    The shortcut head's CTC loss is added with `weight` (Retsinas et al. 2022), a further loss of
    each line (N,) as it is.
    """
    lines = ctc_loss(logits, labels, label_lengths)
    total = lines
    if shortcut is not None and weight > 0:
        total = total + weight * ctc_loss(shortcut, labels, label_lengths)
    if further is not None:
        total = total + further
    return total.sum() / label_lengths.sum().clamp(min=1), lines.detach()
