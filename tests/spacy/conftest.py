"""spaCy's published wheel on this package: bin/test-spacy makes the environments and runs this.

The folder is outside the ordinary run (norecursedirs in pyproject.toml): it needs spaCy
beside an installed thinc, and a second environment where spaCy has the thinc it was
published with. What both have to run stands in jobs/.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest

HERE = Path(__file__).resolve().parent
JOBS = HERE / "jobs"
PEER = Path(os.environ.get("THINC_SPACY_PEER", HERE.parents[1] / ".venv-spacy-peer/bin/python"))
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

sys.path.insert(0, str(JOBS))

import annotations  # noqa: E402 - found through the line above
import corpus  # noqa: E402
import pipelines  # noqa: E402
import train  # noqa: E402

UNSEEN_SEED = 3


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.spacy)


class Interpreter:
    """A Python environment that runs the jobs, away from the source tree."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.python = python
        self.folder = folder

    def run(self, *arguments: Any) -> str:
        """Run `python ARGUMENTS`; returns what it printed. Fails the test if it fails."""
        result = subprocess.run(
            [str(self.python), *map(str, arguments)],
            cwd=self.folder,
            env={**os.environ, **ONE_THREAD},
            capture_output=True,
            text=True,
            timeout=300,
        )
        if result.returncode:
            pytest.fail(
                f"{self.python} {' '.join(map(str, arguments))} failed:\n"
                f"{result.stdout[-4000:]}\n{result.stderr[-4000:]}"
            )
        return result.stdout

    def train(self, out: Path, *options: Any) -> Dict[str, float]:
        """Train a pipeline and save it in `out`; returns its scores."""
        return json.loads(self.run(JOBS / "train.py", out, *options).splitlines()[-1])

    def annotate(self, pipeline: Path, texts: List[str]) -> List[Dict[str, Any]]:
        """What the pipeline saved in that folder says about the texts."""
        source, target = self.folder / "texts.json", self.folder / "annotations.json"
        source.write_text(json.dumps(texts), encoding="utf8")
        target.unlink(missing_ok=True)
        self.run(JOBS / "annotate.py", pipeline, source, target)
        return annotations.read(target)


@pytest.fixture(scope="session")
def ours(tmp_path_factory) -> Interpreter:
    """This environment, in a process of its own."""
    return Interpreter(Path(sys.executable), tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="session")
def peer(tmp_path_factory) -> Interpreter:
    """The environment where spaCy runs on the thinc it was published with."""
    if not PEER.exists():
        pytest.fail(f"There is no {PEER}: bin/test-spacy makes it.")
    return Interpreter(PEER, tmp_path_factory.mktemp("peer"))


@pytest.fixture(scope="session")
def trained():
    """A pipeline of ten components, trained here, and its scores on unseen texts."""
    return train.train(pipelines.EVERYTHING, epochs=8)


@pytest.fixture(scope="session")
def nlp(trained):
    return trained[0]


@pytest.fixture(scope="session")
def saved(nlp, tmp_path_factory) -> Path:
    """The folder where the trained pipeline was saved."""
    folder = tmp_path_factory.mktemp("trained") / "pipeline"
    nlp.to_disk(folder)
    return folder


@pytest.fixture(scope="session")
def texts() -> List[str]:
    """Texts like the corpus that no pipeline was trained on, and some unlike it."""
    import spacy

    like = corpus.make_texts(spacy.blank("en").vocab, 60, UNSEEN_SEED)
    return [*like, ".", "Jordan", "no such words 12 %, \u00fcber \U0001f600 x\n\ny", like[0] * 20]


@pytest.fixture(scope="session")
def expected(nlp, texts) -> List[Dict[str, Any]]:
    """What the trained pipeline says about the texts, one after another."""
    return annotations.annotations(nlp(text) for text in texts)
