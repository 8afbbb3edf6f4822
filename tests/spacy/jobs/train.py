"""Train a pipeline on the made-up corpus and save it.

python train.py OUT_DIR [--components tok2vec,tagger] [--epochs 8] [--docs 400]
                        [--vectors DIR]     start from a saved pipeline's vectors
"""

import argparse
import json
from pathlib import Path
from typing import Optional

import corpus
import pipelines
import spacy

TRAIN_SEED, DEV_SEED = 1, 2


def train(components, epochs: int, docs: int = 400, vectors: Optional[Path] = None):
    """A trained pipeline and its scores on other docs."""
    nlp = spacy.blank("en") if vectors is None else spacy.load(vectors)
    nlp = pipelines.make_pipeline(components, nlp=nlp, vectors=vectors is not None)
    pipelines.train(nlp, corpus.make_examples(nlp, docs, TRAIN_SEED), epochs)
    return nlp, nlp.evaluate(corpus.make_examples(nlp, 100, DEV_SEED))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--components", default=",".join(pipelines.EVERYTHING))
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--docs", type=int, default=400)
    parser.add_argument("--vectors", type=Path)
    args = parser.parse_args()
    nlp, scores = train(args.components.split(","), args.epochs, args.docs, args.vectors)
    nlp.to_disk(args.out)
    print(json.dumps({key: score for key, score in scores.items() if isinstance(score, float)}))


if __name__ == "__main__":
    main()
