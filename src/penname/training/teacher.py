"""Teacher: a trained model that says of every frame what it would write, beside the labels.

A label says what stands in a line, a teacher also where, and what else it might be. A smaller
network learns both from it (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network";
frame by frame for CTC: Kurata and Audhkhasi 2018, "Improved Knowledge Distillation from
Bi-directional to Uni-directional LSTM CTC").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from penname.alphabet import BLANK
from penname.errors import TrainingError
from penname.training.device import autocast, on_device
from penname.training.start import network_of

if TYPE_CHECKING:
    from penname.alphabet import Alphabet
    from penname.line_image import ImageSpec
    from penname.model_folder import ModelFolder


class Teacher:
    """What a model folder's network gives for a batch, in the alphabet of the one it teaches.

    Raises:
        TrainingError: its line images or its characters are others, or it is no `Reader`.
    """

    def __init__(
        self,
        folder: ModelFolder,
        alphabet: Alphabet,
        spec: ImageSpec,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        if folder.image != spec:
            raise TrainingError(
                f"the teacher {folder.path} reads {folder.image}, the packs hold {spec}; "
                "pack for the teacher"
            )
        if sorted(folder.alphabet.characters) != sorted(alphabet.characters):
            raise TrainingError(
                f"the teacher {folder.path} writes {folder.alphabet.characters!r}, the packs "
                f"hold {alphabet.characters!r}; give packs with --alphabet as the teacher's"
            )
        self.network = on_device(network_of(folder), device).eval().requires_grad_(False)
        self.device, self.dtype, self.sha256 = device, dtype, folder.checksum()
        theirs = (1 + folder.alphabet.characters.index(each) for each in alphabet.characters)
        self.order = torch.tensor([BLANK, *theirs], device=device)

    @torch.no_grad()
    def __call__(self, ink: Tensor) -> Tensor:
        """Return log_probs (N, T, C), float32, for ink (N, 1, H, W)."""
        with autocast(self.device, self.dtype):
            logits, _ = self.network(ink)
        log_probs: Tensor = logits.float().log_softmax(-1)
        return log_probs[..., self.order]
