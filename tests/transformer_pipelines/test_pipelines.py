"""spaCy pipelines around transformers of random weights: they train, are saved and loaded.

Run by bin/test-transformers, which provides the models (random_models.py) and the packages.
"""

import numpy
import pytest
from frameworks import import_or_skip

spacy = import_or_skip("spacy")
import_or_skip("spacy_transformers")
import_or_skip("spacy_curated_transformers")

from spacy.training import Example  # noqa: E402
from spacy.util import load_model_from_config  # noqa: E402

from thinc.api import Config  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # those of other packages

HUGGING_FACE = """
[nlp]
lang = "en"
pipeline = ["transformer", "tagger"]

[components]

[components.transformer]
factory = "transformer"

[components.transformer.model]
@architectures = "spacy-transformers.TransformerModel.v3"
name = "{name}"
mixed_precision = {mixed_precision}

[components.transformer.model.get_spans]
@span_getters = "spacy-transformers.strided_spans.v1"
window = 128
stride = 96

[components.tagger]
factory = "tagger"

[components.tagger.model]
@architectures = "spacy.Tagger.v2"

[components.tagger.model.tok2vec]
@architectures = "spacy-transformers.TransformerListener.v1"
grad_factor = 1.0
pooling = {{"@layers": "reduce_mean.v1"}}

[training]

[training.optimizer]
@optimizers = "Adam.v1"
learn_rate = 0.005
use_averages = true
"""

CURATED = """
[nlp]
lang = "en"
pipeline = ["transformer", "tagger"]

[components]

[components.transformer]
factory = "curated_transformer"

[components.transformer.model]
@architectures = "spacy-curated-transformers.BertTransformer.v2"
vocab_size = 300
num_hidden_layers = 2
hidden_width = 32
intermediate_width = 64
num_attention_heads = 2
mixed_precision = {mixed_precision}
piece_encoder = {{"@architectures": "spacy-curated-transformers.BertWordpieceEncoder.v1"}}
with_spans = {{"@architectures": "spacy-curated-transformers.WithStridedSpans.v1"}}

[components.tagger]
factory = "tagger"

[components.tagger.model]
@architectures = "spacy.Tagger.v2"

[components.tagger.model.tok2vec]
@architectures = "spacy-curated-transformers.LastTransformerLayerListener.v1"
width = 32
pooling = {{"@layers": "reduce_mean.v1"}}

[initialize]

[initialize.components]

[initialize.components.transformer]

[initialize.components.transformer.piecer_loader]
@model_loaders = "spacy-curated-transformers.HFPieceEncoderLoader.v1"
name = "bert-base-cased"

[training]

[training.optimizer]
@optimizers = "Adam.v1"
learn_rate = 0.005
use_averages = true
"""

SENTENCES = [
    ("the cat went to the house", "D N V P D N"),
    ("a man fell down the hill", "D N V P D N"),
    ("she broke an eye", "R V D N"),
    ("the old woman was right", "D J N V J"),
    ("they fetch water from the hill", "R V N P D N"),
]

PIPELINES = {
    "distilbert": HUGGING_FACE.format(name="distilbert-base-uncased", mixed_precision="false"),
    "roberta": HUGGING_FACE.format(name="roberta-base", mixed_precision="false"),
    "distilbert, bfloat16": HUGGING_FACE.format(
        name="distilbert-base-uncased", mixed_precision="true"
    ),
    "curated": CURATED.format(mixed_precision="false"),
}


def examples(nlp):
    return [
        Example.from_dict(nlp.make_doc(text), {"tags": tags.split()}) for text, tags in SENTENCES
    ]


def train(config, steps=60):
    import torch

    spacy.util.fix_random_seed(0)
    torch.manual_seed(0)
    nlp = load_model_from_config(Config().from_str(config), auto_fill=True, validate=True)
    optimizer = nlp.initialize(lambda: examples(nlp))
    losses = []
    for _ in range(steps):
        found = {}
        nlp.update(examples(nlp), sgd=optimizer, losses=found, drop=0.0)
        losses.append(found["tagger"])
    return nlp, optimizer, losses


def torch_module(nlp):
    """The wrapped PyTorch module of the pipeline."""
    for node in nlp.get_pipe("transformer").model.walk():
        for shim in node.shims:
            if shim._model is not None:
                return shim._model
    raise AssertionError("no shim")


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_trains_through_the_transformer_and_survives_the_disk(name, tmp_path):
    nlp, optimizer, losses = train(PIPELINES[name])
    assert losses[-1] < 0.2 * losses[0]
    tags = [tag for text, _ in SENTENCES for tag in (token.tag_ for token in nlp(text))]
    truth = [tag for _, tags in SENTENCES for tag in tags.split()]
    assert numpy.mean([a == b for a, b in zip(tags, truth, strict=True)]) > 0.9

    # The transformer itself has learned, not the tagger alone.
    trained = {key[1] for key in optimizer.mom1}
    names = {name for name, _ in torch_module(nlp).named_parameters()}
    assert len(names & trained) > 10

    nlp.to_disk(tmp_path / "pipeline")
    loaded = spacy.load(tmp_path / "pipeline")
    for text, _ in SENTENCES:
        assert [t.tag_ for t in loaded(text)] == [t.tag_ for t in nlp(text)]
    state, same = torch_module(nlp).state_dict(), torch_module(loaded).state_dict()
    assert list(state) == list(same)
    assert all((state[key] == same[key]).all() for key in state)


@pytest.mark.parametrize("name", ["distilbert", "curated"])
def test_averages_reach_the_transformer(name):
    nlp, optimizer, _ = train(PIPELINES[name], steps=10)
    module = torch_module(nlp)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with nlp.use_params(optimizer.averages):
        inside = module.state_dict()
        changed = [key for key in before if not (inside[key] == before[key]).all()]
        assert len(changed) > 10
    after = module.state_dict()
    assert all((after[key] == before[key]).all() for key in before)
