"""Pack folder: a packed data set on disk, its reader `Pack` and its writer `PackWriter`.

    manifest.json   format, version, options, image spec, alphabet, counts, sha256 of the others
    pixels.bin      all line images, uint8, each (H, w) in C order, one after another
    index.arrow     Arrow IPC: id, file, row, text, source, group, split, width, offset
    rejected.csv    every line that was dropped: file, row, rule, note, text
    changed.csv     every text that was changed: file, row, rules, before, after

A pack is written under a temporary name, synced and renamed, so an interrupted one never looks
finished. It is read through memory maps, so opening costs no memory and workers share the pages.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from penname import __version__
from penname.alphabet import Alphabet
from penname.errors import PackError, PennameError
from penname.files import open_text, sync
from penname.line_image import ImageSpec, stored_spec
from penname.options import to_json

if TYPE_CHECKING:
    from types import TracebackType

FORMAT, VERSION = "penname-pack", 1
ODD = (AttributeError, KeyError, RecursionError, TypeError, ValueError)  # what odd JSON raises
SPLITS = ("train", "validation", "test", "unlabelled")
MANIFEST = "manifest.json"
INDEX = "index.arrow"  # always verified: of a damaged one Arrow reads beyond its end
PIXELS = "pixels.bin"
FILES = (PIXELS, INDEX, "rejected.csv", "changed.csv")
ROWS = 4096  # rows of the index held before they are written
STRINGS = ("id", "file", "row", "text", "source", "group", "split")
SCHEMA = pa.schema(
    [(name, pa.string()) for name in STRINGS] + [("width", pa.int32()), ("offset", pa.int64())]
)


@dataclass(frozen=True, eq=False)
class Pack:
    """A finished pack; `pixels` is (bytes,) uint8, and every other sequence has one item a line."""

    path: Path
    manifest: dict[str, Any]
    alphabet: Alphabet
    spec: ImageSpec
    index: pa.Table
    pixels: np.ndarray

    @classmethod
    def open(cls, path: Path | str, *, verify: bool = False) -> Pack:
        """Open a pack and check its version, file sizes and index; `verify` checks every byte too.

        Raises:
            PackError: when it is missing, unfinished, damaged or of another version.
        """
        path = Path(path)
        manifest = _read_manifest(path)
        try:
            _check_files(path, manifest, verify)
            with pa.memory_map(str(path / INDEX)) as file:
                index = pa.ipc.open_file(file).read_all()
            pixels = np.memmap(path / PIXELS, dtype=np.uint8, mode="r").view(np.ndarray)
            alphabet = Alphabet(manifest["alphabet"])
            spec = stored_spec(manifest["image"])
        except PackError:
            raise
        except (*ODD, OSError, PennameError) as error:
            raise PackError(f"{path}: damaged pack: {error}; pack it again") from error
        return cls(path, manifest, alphabet, spec, index, pixels)

    def __reduce__(self) -> tuple[Any, ...]:
        """Send a pack to another process as its path: memory maps would be copied."""
        return Pack.open, (self.path,)

    def __len__(self) -> int:
        """Return the number of lines."""
        return int(self.index.num_rows)

    def image(self, i: int) -> np.ndarray:
        """Return line image `i`: (H, w) uint8, a read-only view."""
        start, width = self.offsets[i], self.widths[i]
        return self.pixels[start : start + self.spec.height * width].reshape(-1, width)

    def indices(self, split: str) -> np.ndarray:
        """Return the numbers of the lines in a split: int64 (N,)."""
        return np.flatnonzero(np.array(self.splits, dtype=object) == split)

    @cached_property
    def widths(self) -> np.ndarray:
        """True widths in pixels: int32 (N,)."""
        return np.asarray(self.index["width"].to_numpy())

    @cached_property
    def offsets(self) -> np.ndarray:
        """Where each line image starts in `pixels`: int64 (N,)."""
        return np.asarray(self.index["offset"].to_numpy())

    @cached_property
    def ids(self) -> list[str]:
        """Ids: the file, with #2, #3... behind it when another line has that id."""
        return self._column("id")

    @cached_property
    def files(self) -> list[str]:
        """Files as the sources name them."""
        return self._column("file")

    @cached_property
    def rows(self) -> list[str]:
        """Places in the sources, such as `names.csv:17`."""
        return self._column("row")

    @cached_property
    def texts(self) -> list[str]:
        """Texts; empty for a line without ground truth (split "unlabelled"), and only for it."""
        return self._column("text")

    @cached_property
    def sources(self) -> list[str]:
        """Names of the sources."""
        return self._column("source")

    @property
    def checksum(self) -> str:
        """The starts of the checksums of its index and its pixels."""
        files = self.manifest["files"]
        return "-".join(files[name]["sha256"][:16] for name in (INDEX, PIXELS))

    @cached_property
    def groups(self) -> list[str]:
        """Writers or pages; empty when the source knows neither."""
        return self._column("group")

    @cached_property
    def splits(self) -> list[str]:
        """Splits: one of `SPLITS` each."""
        return self._column("split")

    def _column(self, name: str) -> list[str]:
        values: list[str] = self.index[name].to_pylist()
        return values


class PackWriter:
    """Writes line images into a new pack; the pack appears under `out` when the block ends well.

    Memory holds the ids and some thousand rows, never the pixels.

    Raises:
        PackError: when `out` exists and is more than an empty folder.
    """

    def __init__(
        self,
        out: Path,
        alphabet: Alphabet,
        spec: ImageSpec,
        options: dict[str, Any],
        *,
        now: datetime | None = None,
    ) -> None:
        self.out, self.alphabet, self.spec, self.options = Path(out), alphabet, spec, options
        self.created = now or datetime.now(UTC)
        self.splits: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.rules: Counter[str] = Counter()  # lines that each cleaning rule met
        self._first = ""  # line that was dropped, and why
        self._ids: Counter[str] = Counter()
        self._rows: list[tuple[Any, ...]] = []
        self._offset = 0
        self._digest = hashlib.sha256()  # of the pixels
        check_free(self.out)

    def __enter__(self) -> Self:
        """Open the files in a temporary folder beside `out`."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{self.out.name}.partial-"
        for folder in self.out.parent.iterdir():
            if folder.name.startswith(prefix):  # of a run that was killed
                shutil.rmtree(folder)
        self._partial = Path(tempfile.mkdtemp(prefix=prefix, dir=self.out.parent))
        self._partial.chmod(0o755)  # mkdtemp makes a private folder
        self._pixels = (self._partial / PIXELS).open("wb")
        self._index = pa.ipc.new_file(str(self._partial / INDEX), SCHEMA)
        self._rejected = self._table("rejected.csv", ("file", "row", "rule", "note", "text"))
        self._changed = self._table("changed.csv", ("file", "row", "rules", "before", "after"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the pack, or remove it after an error."""
        try:
            self._close()
            if error is None:
                self._finish()
        finally:
            shutil.rmtree(self._partial, ignore_errors=True)

    def add(
        self,
        image: np.ndarray,
        text: str,
        *,
        file: str,
        source: str,
        split: str,
        row: str = "",
        group: str = "",
    ) -> None:
        """Add one line image (H, w) uint8 with its text; empty text only in split "unlabelled".

        Raises:
            PackError: when the image, text or split does not belong in this pack.
        """
        self._check(image, text, split, file)
        pixels = np.ascontiguousarray(image).data
        self._pixels.write(pixels)
        self._digest.update(pixels)  # to read them all once more would cost seconds
        width = image.shape[1]
        self._rows.append(
            (self._new_id(file), file, row, text, source, group, split, width, self._offset)
        )
        self._offset += image.size
        self.splits[split] += 1
        self.sources[source] += 1
        if len(self._rows) == ROWS:
            self._flush()

    def reject(self, *, file: str, row: str, rule: str, note: str, text: str) -> None:
        """List a line that a rule dropped."""
        self.rules[rule] += 1
        self._first = self._first or f"{row}: {note}"
        csv.writer(self._rejected).writerow((file, row, rule, note, text))

    def change(
        self, *, file: str, row: str, rules: tuple[str, ...], before: str, after: str
    ) -> None:
        """List a text that rules changed."""
        self.rules.update(rules)
        csv.writer(self._changed).writerow((file, row, " ".join(rules), before, after))

    def _table(self, name: str, header: tuple[str, ...]) -> IO[str]:
        file = open_text(self._partial / name)
        csv.writer(file).writerow(header)
        return file

    def _check(self, image: np.ndarray, text: str, split: str, file: str) -> None:
        height = self.spec.height
        if image.dtype != np.uint8 or image.ndim != 2 or image.shape[0] != height:
            raise PackError(
                f"{file}: a line image here is uint8 ({height}, w), not {image.dtype} {image.shape}"
            )
        if split not in SPLITS:
            raise PackError(f"{file}: split is {split!r}; use one of {', '.join(SPLITS)}")
        if bool(text) == (split == "unlabelled"):
            raise PackError(f"{file}: text {text!r} in split {split}; only unlabelled has no text")
        if missing := self.alphabet.missing(text):
            raise PackError(f"{file}: text {text!r} has {missing!r}, which the alphabet lacks")

    def _new_id(self, file: str) -> str:
        name = file
        while name in self._ids:
            self._ids[file] += 1
            name = f"{file}#{self._ids[file]}"
        self._ids[name] = 1
        return name

    def _flush(self) -> None:
        columns = [list(column) for column in zip(*self._rows, strict=True)]
        if columns:
            self._index.write(pa.record_batch(columns, schema=SCHEMA))
        self._rows.clear()

    def _close(self) -> None:
        self._flush()
        for file in (self._pixels, self._index, self._rejected, self._changed):
            file.close()

    def _finish(self) -> None:
        """Write the manifest, sync every file and give the folder its name."""
        if not self._offset:
            dropped = ", ".join(f"{rule} {n:,}" for rule, n in self.rules.items() if n)
            why = f" ({dropped}; the first: {self._first})" if self._first else ""
            raise PackError(f"{self.out}: no line was left to pack{why}")
        text = json.dumps(self._manifest(), indent=2, ensure_ascii=False)
        (self._partial / MANIFEST).write_text(text + "\n", encoding="utf-8")
        for name in (*FILES, MANIFEST, "."):
            sync(self._partial / name)
        check_free(self.out)
        if self.out.exists():
            self.out.rmdir()
        self._partial.rename(self.out)
        sync(self.out.parent)

    def _manifest(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": VERSION,
            "created": self.created.isoformat(timespec="seconds"),
            "penname": __version__,
            "options": self.options,
            "image": to_json(self.spec),
            "alphabet": self.alphabet.characters,
            "lines": self.splits.total(),
            "splits": {split: self.splits[split] for split in SPLITS},
            "sources": dict(self.sources),
            "cleaning": dict(self.rules),
            "files": {PIXELS: {"bytes": self._offset, "sha256": self._digest.hexdigest()}}
            | {name: _size_and_sha256(self._partial / name) for name in FILES[1:]},
        }


def check_free(out: Path) -> None:
    """Check that a pack can be written to `out`.

    Raises:
        PackError: when `out` exists and is more than an empty folder.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise PackError(f"{out} exists already; remove it or choose another name")


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        found, version = manifest["format"], manifest["version"]
    except OSError:
        raise PackError(
            f"{path} is not a pack: it has no {MANIFEST}; make one with `penname pack`"
        ) from None
    except ODD as error:
        raise PackError(f"{path / MANIFEST} is damaged ({error!r}); pack it again") from None
    if found != FORMAT or version != VERSION:
        raise PackError(
            f"{path} is {found} version {version}, this penname reads {FORMAT} version {VERSION}; "
            "pack it again"
        )
    return manifest


def _check_files(path: Path, manifest: dict[str, Any], verify: bool) -> None:
    for name in FILES:
        expected = manifest.get("files", {}).get(name)
        try:
            size = (path / name).stat().st_size
        except OSError:
            raise PackError(f"{path}: {name} is missing; pack it again") from None
        if not expected or size != expected["bytes"]:
            raise PackError(f"{path}: {name} has {size} bytes, not {expected}; pack it again")
        if (verify or name == INDEX) and _size_and_sha256(path / name) != expected:
            raise PackError(f"{path}: {name} is damaged, its sha256 differs; pack it again")


def _size_and_sha256(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}
