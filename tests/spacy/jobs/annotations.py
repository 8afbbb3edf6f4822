"""What a pipeline says about texts, as plain data that two environments can compare."""

import json
from pathlib import Path
from typing import Any, Dict, Iterable, List

from spacy.tokens import Doc


def annotation(doc: Doc) -> Dict[str, Any]:
    """Everything that the components of these tests set on a doc.

    The numbers among it ("cats", "scores", "tensor") depend on how sums were rounded,
    the rest does not: see `labels`.
    """
    return {
        "words": [token.text for token in doc],
        "tags": [token.tag_ for token in doc],
        "pos": [token.pos_ for token in doc],
        "morphs": [str(token.morph) for token in doc],
        "lemmas": [token.lemma_ for token in doc],
        "heads": [token.head.i for token in doc],
        "deps": [token.dep_ for token in doc],
        "sentences": [token.is_sent_start for token in doc],
        "entities": [[e.start, e.end, e.label_, e.kb_id_] for e in doc.ents],
        "spans": {
            key: [[span.start, span.end, span.label_] for span in group]
            for key, group in doc.spans.items()
        },
        "scores": {
            key: [float(score) for score in group.attrs.get("scores", ())]
            for key, group in doc.spans.items()
        },
        "cats": {label: float(score) for label, score in doc.cats.items()},
        "tensor": doc.tensor.tolist(),
    }


def annotations(docs: Iterable[Doc]) -> List[Dict[str, Any]]:
    return [annotation(doc) for doc in docs]


def labels(annotated: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """The annotations without their numbers; of the categories, which one is likelier."""
    numbers = ("cats", "scores", "tensor")
    return [
        {key: value for key, value in doc.items() if key not in numbers}
        | {"category": max(doc["cats"], key=doc["cats"].__getitem__, default=None)}
        for doc in annotated
    ]


def write(path: Path, annotated: List[Dict[str, Any]]) -> None:
    path.write_text(json.dumps(annotated), encoding="utf8")


def read(path: Path) -> List[Dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf8"))
