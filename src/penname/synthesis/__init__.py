"""Synthetic line images with ground truth; NumPy and Pillow only."""

from penname.synthesis.generate import synthesise
from penname.synthesis.kit import Kit, SynthOptions
from penname.synthesis.render import render
from penname.synthesis.sheet import contact_sheet

__all__ = ["Kit", "SynthOptions", "contact_sheet", "render", "synthesise"]
