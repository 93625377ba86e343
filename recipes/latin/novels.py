"""Running text for the word bigrams of `latin`, from novels in TEI XML: a paragraph a line.

Usage: novels.py OUT.txt XML.... The included model learned from the European Literary Text
Collection (github.com/COST-ELTeC): ELTeC-fra, its extension ELTeC-fra-ext1 and, for a fifth of the
text, ELTeC-eng, novels of 1840 to 1920 in the public domain, their encoding CC BY 4.0.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

from penname.alphabet import nfc

TEI = "{http://www.tei-c.org/ns/1.0}"
PARAGRAPHS = {TEI + "p", TEI + "head", TEI + "l"}
WRITTEN = str.maketrans({"“": '"', "”": '"', "…": "...", "´": "’", "‘": "’"})
LEFT_OUT = {TEI + "note", TEI + "ref"}


def main() -> None:
    """Write one text of all novels."""
    out, *files = map(Path, sys.argv[1:])
    partial = out.with_name(f".{out.name}.partial")
    characters = 0
    with partial.open("w", encoding="utf-8") as stream:
        for file in files:
            try:
                body = ET.parse(file).find(f".//{TEI}body")
            except ET.ParseError as error:
                sys.exit(f"{file}: {error}; get it anew or leave it out")
            if body is None:
                sys.exit(f"{file}: no TEI body; leave it out")
            for paragraph in body.iter():
                if paragraph.tag in PARAGRAPHS and (text := nfc(text_of(paragraph))):
                    characters += stream.write(text.translate(WRITTEN) + "\n")
    partial.replace(out)
    print(f"{out}: {len(files)} novels, {characters:,} characters")


def text_of(element: ET.Element) -> str:
    """Return what stands in an element, without notes; a broken line is a space."""
    if element.tag in LEFT_OUT:
        return ""
    space = " " if element.tag in {TEI + "lb", TEI + "l"} else ""
    inside = (text_of(child) + (child.tail or "") for child in element)
    return (element.text or "") + "".join(inside) + space


if __name__ == "__main__":
    main()
