"""The pipelines that the tests train: what is in them, and how they are trained."""

import random
from typing import Callable, Dict, List, Optional

import corpus
import spacy
from spacy.language import Language
from spacy.training import Example
from spacy.util import fix_random_seed, minibatch

from thinc.api import Adam

EVERYTHING = (
    "tok2vec tagger morphologizer senter parser ner textcat spancat trainable_lemmatizer "
    "entity_linker"
).split()


def hash_embed_cnn(width: int, depth: int, rows: int = 1000, vectors: bool = False) -> Dict:
    """The architecture spaCy's own pipelines use, with its subword features."""
    return {
        "@architectures": "spacy.HashEmbedCNN.v2",
        "width": width,
        "depth": depth,
        "embed_size": rows,
        "window_size": 1,
        "maxout_pieces": 3,
        "subword_features": True,
        "pretrained_vectors": vectors or None,
    }


def listener(width: int) -> Dict:
    return {"@architectures": "spacy.Tok2VecListener.v1", "width": width, "upstream": "*"}


def component_configs(tok2vec: Dict) -> Dict[str, Dict]:
    """Settings of each component, all of which see the vectors of `tok2vec`."""
    width = tok2vec["width"]
    parser = {"model": {"tok2vec": tok2vec, "hidden_width": 64}}
    return {
        "tagger": {"model": {"tok2vec": tok2vec}},
        "morphologizer": {"model": {"tok2vec": tok2vec}},
        "senter": {"model": {"tok2vec": tok2vec}},
        "parser": parser,
        "ner": parser,
        "beam_parser": parser,
        "beam_ner": parser,
        "textcat": {
            "model": {
                "@architectures": "spacy.TextCatEnsemble.v2",
                "tok2vec": tok2vec,
                "linear_model": {
                    "@architectures": "spacy.TextCatBOW.v3",
                    "exclusive_classes": True,
                    "ngram_size": 1,
                    "no_output_layer": False,
                    "length": 4096,
                },
            }
        },
        "spancat": {
            "spans_key": corpus.SPANS_KEY,
            "suggester": {"@misc": "spacy.ngram_suggester.v1", "sizes": [1, 2, 3]},
            "model": {"tok2vec": tok2vec},
        },
        "trainable_lemmatizer": {"min_tree_freq": 1, "model": {"tok2vec": tok2vec}},
        "entity_linker": {
            "entity_vector_length": corpus.ENTITY_WIDTH,
            "model": {
                "@architectures": "spacy.EntityLinker.v2",
                "tok2vec": hash_embed_cnn(min(width, 32), 2),
            },
        },
    }


def make_pipeline(
    components: List[str],
    width: int = 64,
    depth: int = 2,
    nlp: Optional[Language] = None,
    vectors: bool = False,
) -> Language:
    """A pipeline of these components, on a shared tok2vec if that is one of them."""
    nlp = nlp or spacy.blank("en")
    cnn = hash_embed_cnn(width, depth, vectors=vectors)
    shared = "tok2vec" in components
    configs = component_configs(listener(width) if shared else cnn)
    for name in components:
        config = {"model": cnn} if name == "tok2vec" else configs[name]
        nlp.add_pipe(name, config=config)
    return nlp


def train(
    nlp: Language,
    examples: List[Example],
    epochs: int,
    seed: int = 0,
    batch_size: int = 16,
    learn_rate: float = 0.002,
    after_epoch: Optional[Callable[[int, Dict[str, float]], None]] = None,
) -> None:
    """Initialize the pipeline and train it, the same way for the same seed."""
    fix_random_seed(seed)
    if "entity_linker" in nlp.pipe_names:
        nlp.config["initialize"]["components"]["entity_linker"] = {}
        nlp.get_pipe("entity_linker").set_kb(corpus.knowledge_base)
    nlp.initialize(lambda: examples)
    optimizer = Adam(learn_rate)
    rng = random.Random(seed)
    for epoch in range(epochs):
        examples = rng.sample(examples, len(examples))
        losses: Dict[str, float] = {}
        for batch in minibatch(examples, batch_size):
            nlp.update(batch, sgd=optimizer, drop=0.1, losses=losses)
        if after_epoch is not None:
            after_epoch(epoch, losses)
