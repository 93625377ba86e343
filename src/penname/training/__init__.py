"""Training: the only part of penname that imports torch."""
