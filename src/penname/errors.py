"""Every exception penname raises on purpose.

PennameError
├── OptionError        an option or flag has a wrong name or value
├── AlphabetError      text holds characters the alphabet lacks
├── ImageError         an image cannot be read
├── GroundTruthError   a table, folder or pack of ground truth cannot be used
│   └── PackError      a pack is missing, unfinished, damaged or of another version
├── LexiconError       a list of names cannot be used
├── ModelError         a model folder or Keras file is missing, damaged or of another version
└── TrainingError      a training run cannot start or go on

Each message names the value, the place (file, row, line id) and the remedy. The command line
prints it on one line and exits with 1, or with 2 for an OptionError; anything else is a bug.
"""


class PennameError(Exception):
    """Base of every error raised on purpose."""


class OptionError(PennameError):
    """An option or flag has a wrong name or value."""


class AlphabetError(PennameError):
    """Text holds characters the alphabet lacks, or an alphabet is not one."""


class ImageError(PennameError):
    """An image cannot be read."""


class GroundTruthError(PennameError):
    """A table, folder or pack of ground truth cannot be used."""


class PackError(GroundTruthError):
    """A pack is missing, unfinished, damaged or of another version."""


class LexiconError(PennameError):
    """A list of names cannot be used."""


class ModelError(PennameError):
    """A model folder or Keras file is missing, damaged or of another version."""


class TrainingError(PennameError):
    """A training run cannot start or go on."""
