"""The CTC loss against every path written out, in value and in gradient."""

from __future__ import annotations

from itertools import groupby, product

import pytest
import torch
from torch import Tensor

from penname.ctc import frames_needed
from penname.training.loss import batch_loss, ctc_loss


def every_path(logits: Tensor, labels: list[int]) -> Tensor:
    """Return -log of the summed probability of all paths (T,) over C labels that write `labels`."""
    log_probs = logits.double().log_softmax(-1)
    frames, classes = logits.shape
    paths = [
        torch.stack([log_probs[t, label] for t, label in enumerate(path)]).sum()
        for path in product(range(classes), repeat=frames)
        if [label for label, _ in groupby(path) if label] == labels
    ]
    return -torch.stack(paths).logsumexp(0) if paths else torch.tensor(torch.inf)


def padded(lines: list[list[int]], pad: int = 0) -> tuple[Tensor, Tensor]:
    width = max(1, *map(len, lines))
    rows = [line + [pad] * (width - len(line)) for line in lines]
    return torch.tensor(rows), torch.tensor([len(line) for line in lines])


def random_logits(*shape: int, seed: int = 0, scale: float = 2.0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale


TEXTS: list[list[int]] = [[], [1], [2, 1], [1, 1], [2, 2, 1], [1, 2, 1, 2], [2, 2, 2]]


@pytest.mark.parametrize("labels", TEXTS)
@pytest.mark.parametrize(("frames", "classes"), [(4, 3), (5, 3), (5, 4)])
def test_loss_sums_every_path(labels: list[int], frames: int, classes: int) -> None:
    logits = random_logits(frames, classes, seed=frames * classes)
    loss = ctc_loss(logits[None], *padded([labels]))
    expected = every_path(logits, labels).item()
    assert (expected == torch.inf) == (frames_needed(labels) > frames)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_a_label_that_does_not_fit_its_frames_is_infinite_alone() -> None:
    logits = random_logits(2, 4, 3)
    loss = ctc_loss(logits, *padded([[1, 2, 1, 2], [2, 2, 2]]))  # 4 frames; 5 with its blanks
    assert torch.isfinite(loss).tolist() == [True, False]
    assert loss[1] == torch.inf


@pytest.mark.parametrize("labels", [line for line in TEXTS if frames_needed(line) <= 5])
def test_gradient_is_that_of_every_path(labels: list[int]) -> None:
    logits = random_logits(5, 3, seed=7).requires_grad_()
    (ours,) = torch.autograd.grad(ctc_loss(logits[None], *padded([labels])).sum(), logits)
    (expected,) = torch.autograd.grad(every_path(logits, labels), logits)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)


def test_gradient_is_the_slope() -> None:
    # The loss is float32, so the step is large and the tolerance that of a central difference.
    logits = random_logits(2, 6, 4, seed=3, scale=1.0).requires_grad_()
    labels = padded([[1, 1, 3], [2]])
    (ours,) = torch.autograd.grad(ctc_loss(logits, *labels).sum(), logits)
    step, slopes = 1e-2, torch.zeros_like(logits)
    with torch.no_grad():
        for place in range(logits.numel()):
            moved = torch.zeros(logits.numel())
            moved[place] = step
            ahead = ctc_loss(logits + moved.view_as(logits), *labels).sum()
            behind = ctc_loss(logits - moved.view_as(logits), *labels).sum()
            slopes.view(-1)[place] = (ahead - behind) / (2 * step)
    torch.testing.assert_close(ours, slopes, rtol=0, atol=5e-4)
    assert ours.abs().max() > 0.1


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e3, 1e6])
def test_loss_of_raw_logits_is_never_negative(scale: float) -> None:
    # Without log-softmax the 2021 project's was: random logits already sum to more than 1.
    logits = random_logits(64, 12, 5, seed=1, scale=scale)
    lines = [[1 + (i + j) % 4 for j in range(i % 6)] for i in range(64)]
    loss = ctc_loss(logits, *padded(lines))
    assert (loss >= 0).all()
    assert (ctc_loss(logits + 50, *padded(lines)) - loss).abs().max() <= 1e-3 * max(1, scale)


def test_loss_of_a_certain_and_right_line_is_zero() -> None:
    logits = torch.full((1, 4, 3), -100.0)
    for frame, label in enumerate((1, 0, 1, 2)):
        logits[0, frame, label] = 100.0
    assert ctc_loss(logits, *padded([[1, 1, 2]])).item() == 0.0


def test_a_line_loses_the_same_alone_and_in_a_batch() -> None:
    logits = random_logits(4, 9, 5, seed=5)
    lines = [[1], [4, 4, 4, 4], [], [2, 3, 1]]
    for pad in (0, 3):  # what stands behind a label is not read
        together = ctc_loss(logits, *padded(lines, pad))
        alone = [ctc_loss(logits[i : i + 1], *padded([line])) for i, line in enumerate(lines)]
        assert torch.equal(together, torch.cat(alone))


def test_half_precision_logits_lose_nothing_more() -> None:
    logits = random_logits(3, 40, 30, seed=2).bfloat16()
    labels = padded([[1, 2, 3], [4] * 10, [29, 28]])
    assert ctc_loss(logits, *labels).dtype == torch.float32
    assert torch.equal(ctc_loss(logits, *labels), ctc_loss(logits.float(), *labels))


def test_batch_loss_is_per_character_and_weighs_the_shortcut() -> None:
    logits, shortcut = random_logits(2, 8, 4, seed=1), random_logits(2, 8, 4, seed=2)
    labels = padded([[1, 2, 3], [1]])  # 4 characters: a mean of per-line means differs
    main, other = ctc_loss(logits, *labels), ctc_loss(shortcut, *labels)
    loss, lines = batch_loss(logits, shortcut, *labels, 0.25)
    assert loss.item() == pytest.approx((main.sum() + 0.25 * other.sum()).item() / 4, rel=1e-6)
    assert torch.equal(lines, main)
    for without in (
        batch_loss(logits, shortcut, *labels, 0.0),
        batch_loss(logits, None, *labels, 1),
    ):
        assert without[0].item() == pytest.approx(main.sum().item() / 4, rel=1e-6)


def test_a_batch_of_empty_texts_has_a_finite_loss() -> None:
    loss, lines = batch_loss(random_logits(2, 3, 4), None, *padded([[], []]), 0.2)
    assert loss.item() == pytest.approx(lines.sum().item())
    assert loss.isfinite()
