"""Teacher: a trained model that says of every frame what it would write, beside the labels.

A label says what stands in a line, a teacher also where, and what else it might be. A smaller
network learns both from it (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network";
frame by frame for CTC: Kurata and Audhkhasi 2018, "Improved Knowledge Distillation from
Bi-directional to Uni-directional LSTM CTC"). One whose last stage is as wide, such as a factorised
one, learns also what that gives (Romero et al. 2015, "FitNets: Hints for Thin Deep Nets"), by the
largest value of each column: so many rows as the teacher it need not see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from penname.alphabet import BLANK
from penname.errors import TrainingError
from penname.training.device import autocast, on_device
from penname.training.model import Reader, shape_of
from penname.training.start import network_of

if TYPE_CHECKING:
    from penname.alphabet import Alphabet
    from penname.line_image import ImageSpec
    from penname.model_folder import ModelFolder


class Columns:
    """What the last stage of a network gave in each column when it last ran: (N, C, T)."""

    def __init__(self, network: Reader) -> None:
        self.given = torch.zeros(())
        network.stages.register_forward_hook(self._keep)

    def _keep(self, _stages: nn.Module, _inputs: object, given: Tensor) -> None:
        self.given = given.amax(dim=2)


class Teacher:
    """What a model folder's network gives for a batch, in the alphabet of the one it teaches.

    Raises:
        TrainingError: its line images, its rows or its characters are others, or it is no `Reader`.
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
        if folder.height_step:
            raise TrainingError(
                f"the teacher {folder.path} sees the rows of the ink alone, and a teacher is shown "
                "all; give the model that it was made from"
            )
        if sorted(folder.alphabet.characters) != sorted(alphabet.characters):
            raise TrainingError(
                f"the teacher {folder.path} writes {folder.alphabet.characters!r}, the packs "
                f"hold {alphabet.characters!r}; give packs with --alphabet as the teacher's"
            )
        self.network = network_of(folder)
        on_device(self.network, device).eval().requires_grad_(False)
        self.device, self.dtype, self.sha256 = device, dtype, folder.checksum()
        theirs = (1 + folder.alphabet.characters.index(each) for each in alphabet.characters)
        self.order = torch.tensor([BLANK, *theirs], device=device)

    def columns(self, network: nn.Module) -> tuple[Columns, Columns]:
        """Return what the last stages of a network and the teacher's own give, from now on.

        Raises:
            TrainingError: their last stages do not give the same number of channels.
        """
        ours, theirs = (shape_of(each.state_dict()).widths[-1] for each in (network, self.network))
        if ours != theirs or not isinstance(network, Reader):
            raise TrainingError(
                f"the last stage of the teacher is {theirs} wide, that of the network {ours}; only "
                "like ones match, so leave --matching out"
            )
        return Columns(network), Columns(self.network)

    @torch.no_grad()
    def __call__(self, ink: Tensor) -> Tensor:
        """Return log_probs (N, T, C), float32, for ink (N, 1, H, W)."""
        with autocast(self.device, self.dtype):
            logits, _ = self.network(ink)
        log_probs: Tensor = logits.float().log_softmax(-1)
        return log_probs[..., self.order]
