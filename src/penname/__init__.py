"""penname reads handwriting from images: names first, then any word or line in Latin script."""

__version__ = "0.1.0"
