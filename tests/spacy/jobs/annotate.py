"""Annotate texts with a saved pipeline: python annotate.py PIPELINE TEXTS.json OUT.json"""

import json
import sys
from pathlib import Path

import annotations
import spacy


def main() -> None:
    pipeline, texts, out = map(Path, sys.argv[1:])
    nlp = spacy.load(pipeline)
    docs = nlp.pipe(json.loads(texts.read_text(encoding="utf8")), batch_size=32)
    annotations.write(out, annotations.annotations(docs))


if __name__ == "__main__":
    main()
