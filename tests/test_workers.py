"""Workers: batches in shared memory, in order, none written over before it is read."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from penname.ground_truth import workers
from penname.ground_truth.workers import BATCH_PICTURES, batch_pictures, line_images
from penname.line_image import ImageSpec, decode, line_image

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

SPEC = ImageSpec(height=16, max_width=64)


def picture(seed: int) -> bytes:
    """Return ink of some width in a PNG, every one different."""
    grey = np.full((20, 40 + seed), 255, np.uint8)
    grey[5:15, 5 : 10 + seed] = np.random.default_rng(seed).integers(0, 200, (10, 5 + seed))
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG")
    return file.getvalue()


def test_slots_are_used_again_only_after_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "BATCH_PICTURES", 3)
    pictures = [picture(seed) for seed in range(36)]
    pictures[4], pictures[5], pictures[30] = b"no picture", pictures[6], b""

    def batches() -> Iterator[tuple[int, list[bytes]]]:
        for start in range(0, len(pictures), 3):
            time.sleep(0.2 * (start == 27))  # let the workers do all they were given
            yield start, pictures[start : start + 3]

    seen = []
    for start, outcomes in line_images(batches(), SPEC, workers=2):
        seen.append(start)
        for source, outcome in zip(pictures[start : start + 3], outcomes, strict=True):
            if isinstance(outcome, str):
                assert source in (b"no picture", b"")
                assert ("not an image" if source else "it is empty") in outcome
            else:
                np.testing.assert_array_equal(outcome, line_image(decode(source), SPEC))
    assert seen == list(range(0, 36, 3))


def test_a_batch_fits_its_memory() -> None:
    assert batch_pictures(ImageSpec()) == BATCH_PICTURES
    assert batch_pictures(ImageSpec(height=128, max_width=4096)) == 16  # 8 MiB of 512 KiB
    assert batch_pictures(ImageSpec(height=4096, max_width=4096)) == 1
