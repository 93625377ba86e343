"""Language network: how probable each character of a text is after those before it.

An LSTM over characters (Mikolov et al. 2010, "Recurrent neural network based language model",
with the cell of Hochreiter and Schmidhuber 1997) knows what stands six characters back and more,
which an n-gram does not. Its file holds one step of it: a character and the state before it in,
log P of each next symbol and the state after it out.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from penname.errors import ModelError
from penname.network import open_session

if TYPE_CHECKING:
    from pathlib import Path

    from penname.alphabet import Alphabet

ALPHABET = "alphabet"  # metadata of the file: the characters that symbols 1, 2, ... stand for


class LanguageNetwork:
    """The network in an ONNX file, loaded when it is first asked.

    Symbols are those of a `penname.language.Language`: labels of the alphabet, the end of a text
    (the length of the alphabet + 1) and what stands before its first character (+ 2).

    Args:
        file: made by `penname train-language`.
        alphabet: what the labels stand for.
    """

    def __init__(self, file: Path, alphabet: Alphabet) -> None:
        self.file, self.alphabet = file, alphabet

    def steps(self, symbols: np.ndarray) -> np.ndarray:
        """Return log P of each symbol of N texts after those before it: (N, L - 1).

        Texts that begin alike share their beginnings' steps, a third of the work for those of one
        line. What is given for symbols 0 means nothing.

        Args:
            symbols: the start, the labels and the end of each text, filled up with 0: (N, L).

        Raises:
            ModelError: the file is damaged, or of another alphabet.
        """
        found = np.zeros((len(symbols), symbols.shape[1] - 1))
        state = [np.zeros((1, self._cells), np.float32) for _ in range(2)]
        prefix = np.zeros(len(symbols), dtype=np.int64)  # the row of each text in the state
        base = symbols.max(initial=0) + 1
        going = np.arange(len(symbols))
        for place in range(found.shape[1]):
            going = going[symbols[going, place + 1] != 0]
            if not len(going):
                break
            keys, prefix[going] = np.unique(
                prefix[going] * base + symbols[going, place], return_inverse=True
            )
            rows, last = np.divmod(keys, base)
            log_probs, *state = self._step(last, *(each[rows] for each in state))
            found[going, place] = log_probs[prefix[going], symbols[going, place + 1]]
        return found

    def check(self) -> None:
        """Load the network, which raises what `steps` raises."""
        _ = self._session

    @cached_property
    def _session(self) -> Any:
        session = open_session(self.file, 1)
        characters = session.get_modelmeta().custom_metadata_map.get(ALPHABET)
        if characters != self.alphabet.characters:
            raise ModelError(
                f"{self.file}: its alphabet {characters!r} is not the model's, "
                f"{self.alphabet.characters!r}; train the language network again"
            )
        return session

    @property
    def _cells(self) -> int:
        return int(self._session.get_inputs()[1].shape[1])

    def _step(self, symbols: np.ndarray, hidden: np.ndarray, cell: np.ndarray) -> list[np.ndarray]:
        """Return log_probs (N, symbols), hidden and cell (N, cells) after one symbol each (N,)."""
        given = {"symbols": symbols, "hidden": hidden, "cell": cell}
        return list(self._session.run(["log_probs", "hidden_after", "cell_after"], given))
