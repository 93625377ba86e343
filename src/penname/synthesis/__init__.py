"""Synthetic line images with ground truth; NumPy and Pillow only."""

from penname.synthesis.generate import Kit, SynthOptions, render, synthesise
from penname.synthesis.sheet import contact_sheet

__all__ = ["Kit", "SynthOptions", "contact_sheet", "render", "synthesise"]
