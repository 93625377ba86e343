"""Audit: ground truth ranked by how likely it is to be wrong, with what is likelier.

A line's score is the probability that another text is right than the one given. With the model's
best text b, its calibrated confidence c and the given text t,

    score = c / (1 + (1 - PRIOR) / PRIOR * worth(t) / worth(b))

where worth is P(text | image) * P(text) ** weight, as in `penname.beam`: either b is right and the
label wrong, or the label is right, and `PRIOR` of the labels are wrong before anyone has looked.
Where b is t, both would have to err, and alike: the score is PRIOR ** 2 * (1 - c). The model must
not have been trained on these lines; `penname.training.cross_fit` makes models that were not.

What a label claims: a text, written as the model writes (a model without lower case compares in
capitals, one without accents without them); `EMPTY`, that nothing is written; `UNREADABLE`, that
no text can be trusted, which a confidence contradicts by itself. Where there is no ink, nothing is
written for certain. Of equal pictures with different texts at least one is wrong, and their scores
are raised to say so. Lines without a text, with characters that the model lacks or with a picture
that cannot be read are set aside and listed.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from itertools import islice
from math import exp, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from penname import ctc, metrics
from penname.alphabet import Alphabet, nfc
from penname.beam import text_pleasing
from penname.errors import GroundTruthError
from penname.fingerprint import fingerprint, near_pairs
from penname.ground_truth.cleaning import clean_text, cleaning_for, is_marker
from penname.line_image import Grey, has_ink, line_image_or_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from penname.ground_truth.sources import GroundTruth
    from penname.recognizer import Prediction, Recognizer

PRIOR = 0.05  # share of labels that are wrong before anyone has looked
CONFUSABLE = ("HMN", "UV", "IJLY", "CEG", "DOQ")  # letters that people and models mistake
MOST = 500.0  # in a logarithm; `other` may need more frames than there are
CHUNK = 512  # lines in memory at a time


@dataclass(frozen=True)
class Finding:
    """A line with the likelier text, the probability that it is right, and why.

    `order` is the line's place in the data, `part` its split, or else its table or folder.
    `aside` says why the line was not judged; its score is 0 then.
    """

    file: str
    row: str
    text: str
    suggestion: str
    score: float
    reason: str
    order: int = 0
    part: str = ""
    claim: str | None = None  # what the label says is written; None where it says no text
    aside: str = ""
    picture: bytes = b""  # digest of the line image; empty without ink
    print: np.ndarray | None = None


@dataclass(frozen=True)
class Leak:
    """Two lines whose pictures are nearly the same, in different parts of the data."""

    row: str
    part: str
    other: str
    other_part: str


@dataclass(frozen=True)
class Audit:
    """Every judged line, the most suspicious first; lines set aside; pictures in two parts."""

    model: str
    findings: tuple[Finding, ...]
    aside: tuple[Finding, ...]
    leaks: tuple[Leak, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the audit as a JSON object; its keys are stable."""
        shown = ("file", "row", "text", "suggestion", "score", "reason")
        return {
            "model": self.model,
            "n": len(self.findings),
            "suggestions": [{name: getattr(x, name) for name in shown} for x in self.findings],
            "set_aside": [
                {"file": x.file, "row": x.row, "text": x.text, "reason": x.aside}
                for x in self.aside
            ],
            "leaks": [asdict(leak) for leak in self.leaks],
        }


def audit(recognizer: Recognizer, lines: Iterable[GroundTruth]) -> Audit:
    """Judge every line of ground truth with one model that was not trained on it.

    Raises:
        GroundTruthError: when no line can be judged.
    """
    return rank(judge(recognizer, enumerate(lines)), recognizer.name)


def judge(recognizer: Recognizer, lines: Iterable[tuple[int, GroundTruth]]) -> Iterator[Finding]:
    """Yield a finding for each numbered line, in order, a chunk in memory at a time."""
    rest = iter(lines)
    while chunk := list(islice(rest, CHUNK)):
        prepared = [_prepare(recognizer, order, line) for order, line in chunk]
        read = iter(recognizer.read_lines([image for _, image in prepared if image is not None]))
        for finding, image in prepared:
            if image is None:
                yield finding
            else:
                yield _judged(recognizer, finding, image, next(read))


def rank(findings: Iterable[Finding], model: str) -> Audit:
    """Return the audit of all findings: equal pictures weighed together, then sorted by score.

    Raises:
        GroundTruthError: when no line could be judged.
    """
    everything = sorted(findings, key=lambda x: x.order)
    judged = [finding for finding in everything if not finding.aside]
    aside = [finding for finding in everything if finding.aside]
    if not judged:
        raise GroundTruthError(
            f"none of {len(aside)} lines can be judged"
            + (f" ({aside[0].row}: {aside[0].aside})" if aside else "")
            + "; give ground truth with texts that the model can write"
        )
    ranked = sorted(_with_equals(judged), key=lambda x: (-x.score, x.order))
    return Audit(model, tuple(ranked), tuple(aside), tuple(_leaks(judged)))


def _prepare(recognizer: Recognizer, order: int, line: GroundTruth) -> tuple[Finding, Grey | None]:
    """Return a finding without a judgement, and the line image; None where it is set aside."""
    text = nfc(line.text or "")
    claim, why = _claim(text, recognizer.model.alphabet)
    part = line.split or line.place
    finding = Finding(line.file, line.row, text, "", 0.0, "", order, part, claim, aside=why)
    if why:
        return finding, None
    image = line_image_or_reason(line.image, recognizer.model.image)
    if isinstance(image, str):
        return replace(finding, aside=image), None
    finding = replace(finding, print=fingerprint(image))
    if has_ink(image):  # pictures without ink are alike, not the same
        digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
        finding = replace(finding, picture=digest)
    return finding, image


def _claim(text: str, alphabet: Alphabet) -> tuple[str | None, str]:
    """Return what a label says is written, None for no text, and why it cannot be judged."""
    if is_marker(text):
        return ("" if text.upper() == "EMPTY" else None), ""
    cleaning = clean_text(text, cleaning_for(alphabet), alphabet)
    return cleaning.text, cleaning.note


def _judged(
    recognizer: Recognizer, finding: Finding, image: Grey, prediction: Prediction
) -> Finding:
    read, blank = prediction.text, prediction.reason == "blank"
    confidence = 1.0 if blank else prediction.confidence  # no text has no ink
    if read == (finding.claim or ""):
        return replace(finding, suggestion=finding.text, score=PRIOR**2 * (1 - confidence))
    score = confidence
    if finding.claim is not None and not blank:
        odds = PRIOR / (1 - PRIOR) * _times_likelier(recognizer, image, read, finding.claim)
        score = confidence * odds / (1 + odds)
    return replace(finding, suggestion=read or "EMPTY", score=score, reason=_reason(finding, read))


def _times_likelier(recognizer: Recognizer, image: Grey, text: str, other: str) -> float:
    """Return worth(text) / worth(other) for a line image."""
    log_probs = recognizer.network(recognizer.model.canvas(image))  # (1, T, C)
    labels = [recognizer.model.alphabet.encode(each) for each in (text, other)]
    worth = ctc.log_likelihood(np.repeat(log_probs, 2, axis=0), labels)
    decoder = recognizer.decoder
    if decoder.language and decoder.options:
        log_prob = decoder.language.log_prob(labels)
        worth = worth + text_pleasing(labels, log_prob, decoder.language, decoder.options)
    return exp(min(worth[0] - worth[1], MOST))


def _reason(finding: Finding, read: str) -> str:
    if not finding.claim:
        return f"marked {finding.text}, but something is read"
    if not read:
        return "nothing is read"
    steps = [s for s in metrics.alignment(finding.claim, read) if s.operation != "equal"]
    if 2 * len(steps) > max(len(finding.claim), len(read)):
        return "another text is read"
    words = ", ".join(_step(step.reference, step.hypothesis) for step in steps)
    pairs = [{step.reference, step.hypothesis} for step in steps]
    mistaken = all(any(pair <= set(group) for group in CONFUSABLE) for pair in pairs)
    return f"{words}; easily mistaken" if mistaken else words


def _step(written: str, read: str) -> str:
    shown = {" ": "a space"}
    written, read = shown.get(written, written), shown.get(read, read)
    if not written:
        return f"{read} is missing"
    return f"{read} for {written}" if read else f"{written} too much"


def _with_equals(findings: list[Finding]) -> Iterator[Finding]:
    """Yield the findings; where equal pictures differ in text, given that not all are right."""
    equal: dict[bytes, list[Finding]] = defaultdict(list)
    for finding in findings:
        equal[finding.picture].append(finding)
    for same in equal.values():
        if not same[0].picture or len({finding.claim for finding in same}) == 1:
            yield from same
            continue
        not_all_right = 1 - prod(1 - finding.score for finding in same)
        for x in same:
            other = next(each for each in same if each.claim != x.claim)
            told = f"the same picture is {other.text} in {other.row}"
            yield replace(
                x,
                score=x.score / not_all_right if not_all_right else 1 / len(same),
                suggestion=other.text if x.suggestion == x.text else x.suggestion,
                reason=f"{x.reason}; {told}" if x.reason else told,
            )


def _leaks(findings: list[Finding]) -> Iterator[Leak]:
    prints = np.stack([finding.print for finding in findings if finding.print is not None])
    for i, j in near_pairs(prints, [finding.part for finding in findings]):
        one, other = findings[i], findings[j]
        yield Leak(one.row, one.part, other.row, other.part)
