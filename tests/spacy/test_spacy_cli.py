"""spaCy's command line: a config is made, checked, trained, evaluated and looked into."""

import json

import corpus
import pytest
import spacy
import train
from spacy.tokens import DocBin

PIPELINE = "tagger,morphologizer,parser,ner,textcat"


@pytest.fixture(scope="module")
def project(tmp_path_factory, ours):
    """A folder with data and a config, and a function that runs `python -m spacy` there."""
    folder = tmp_path_factory.mktemp("project")
    vocab = spacy.blank("en").vocab
    for name, count, seed in (("train", 200, train.TRAIN_SEED), ("dev", 80, train.DEV_SEED)):
        DocBin(docs=corpus.make_docs(vocab, count, seed), store_user_data=True).to_disk(
            folder / f"{name}.spacy"
        )
    config = folder / "config.cfg"
    ours.run("-m", "spacy", "init", "config", config, "--lang", "en", "--pipeline", PIPELINE)
    return folder


@pytest.fixture(scope="module")
def paths(project):
    return ("--paths.train", project / "train.spacy", "--paths.dev", project / "dev.spacy")


@pytest.fixture(scope="module")
def output(project, paths, ours):
    """Where `spacy train` left its best and last pipelines."""
    log = ours.run(
        *("-m", "spacy", "train", project / "config.cfg", "--output", project / "output"),
        *("--training.max_epochs", 8, "--training.eval_frequency", 50, *paths),
    )
    assert "Saved pipeline to output directory" in log
    return project / "output"


def test_init_config_makes_the_pipeline(project):
    config = spacy.util.load_config(project / "config.cfg")
    assert config["nlp"]["pipeline"] == ["tok2vec", *PIPELINE.split(",")]
    assert config["training"]["optimizer"]["@optimizers"] == "Adam.v1"


def test_fill_config_changes_nothing_in_a_full_one(project, ours):
    filled = project / "filled.cfg"
    ours.run("-m", "spacy", "init", "fill-config", project / "config.cfg", filled)
    assert filled.read_text() == (project / "config.cfg").read_text()


def test_train_and_evaluate(output, project, ours):
    scores = project / "scores.json"
    ours.run(
        *("-m", "spacy", "evaluate", output / "model-best", project / "dev.spacy"),
        *("--output", scores),
    )
    found = json.loads(scores.read_text())
    assert found["tag_acc"] > 0.98
    assert found["morph_acc"] > 0.98
    assert found["dep_las"] > 0.95
    assert found["ents_f"] > 0.95
    assert found["cats_score"] > 0.95


def test_the_scores_in_meta_json_are_those_of_evaluate(output, project):
    nlp = spacy.load(output / "model-best")
    dev = DocBin().from_disk(project / "dev.spacy").get_docs(nlp.vocab)
    scores = nlp.evaluate([spacy.training.Example(nlp.make_doc(d.text), d) for d in dev])
    for score in ("tag_acc", "dep_las", "ents_f"):
        assert nlp.meta["performance"][score] == pytest.approx(scores[score])


def test_training_can_be_resumed_from_a_pipeline(output, project, paths, ours):
    config = spacy.util.load_config(project / "config.cfg")
    for name in ("tok2vec", *PIPELINE.split(",")):
        config["components"][name] = {"source": str(output / "model-last")}
    config["initialize"]["vectors"] = None
    config.to_disk(project / "resume.cfg")
    ours.run(
        *("-m", "spacy", "train", project / "resume.cfg", "--output", project / "resumed"),
        *("--training.max_epochs", 1, *paths),
    )
    assert spacy.load(project / "resumed/model-best").meta["performance"]["tag_acc"] > 0.98


def test_debug_config(project, paths, ours):
    shown = ours.run("-m", "spacy", "debug", "config", project / "config.cfg", *paths)
    assert "Config is valid" in shown or "Config validation" in shown


def test_debug_data(project, paths, ours):
    shown = ours.run("-m", "spacy", "debug", "data", project / "config.cfg", *paths)
    assert "Corpus is loadable" in shown


@pytest.mark.parametrize("component", ["tok2vec", "tagger", "parser", "textcat"])
def test_debug_model(project, paths, ours, component):
    shown = ours.run(
        *("-m", "spacy", "debug", "model", project / "config.cfg", component),
        *("--print-step0", "--print-step1", "--print-step2", "--print-step3", "--dimensions"),
        *("--parameters", "--gradients", "--attributes", *paths),
    )
    assert "Analysing model" in shown
    assert "STEP 3" in shown


def test_apply_and_benchmark_speed(output, project, texts, ours):
    (project / "texts.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf8"
    )
    pipeline = output / "model-best"
    ours.run("-m", "spacy", "apply", pipeline, project / "texts.jsonl", project / "out.spacy")
    nlp = spacy.load(pipeline)
    docs = list(DocBin().from_disk(project / "out.spacy").get_docs(nlp.vocab))
    for doc, text in zip(docs, texts, strict=True):
        assert [token.tag_ for token in doc] == [token.tag_ for token in nlp(text)]
    shown = ours.run(
        *("-m", "spacy", "benchmark", "speed", pipeline, project / "dev.spacy"),
        *("--batches", 30, "--warmup", 1, "--batch-size", 8),
    )
    assert "words/s" in shown
