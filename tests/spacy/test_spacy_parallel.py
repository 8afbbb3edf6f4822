"""Several processes and threads give exactly what one gives."""

import threading
from concurrent.futures import ThreadPoolExecutor

import annotations
import pytest
import spacy


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("batch_size", [4, 50])
def test_two_processes(nlp, texts, batch_size):
    one = annotations.annotations(nlp.pipe(texts, batch_size=batch_size))
    two = annotations.annotations(nlp.pipe(texts, batch_size=batch_size, n_process=2))
    assert two == one


def test_four_threads_share_a_pipeline(nlp, texts, expected):
    barrier = threading.Barrier(4)

    def annotate(_):
        barrier.wait(timeout=60)
        return annotations.annotations(nlp(text) for text in texts)

    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(annotate, range(4)):
            assert result == expected


def test_four_threads_with_batches(nlp, texts):
    expected = annotations.annotations(nlp.pipe(texts, batch_size=16))

    def annotate(_):
        return annotations.annotations(nlp.pipe(texts, batch_size=16))

    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(annotate, range(4)):
            assert result == expected


def test_threads_that_load_their_own_pipeline(saved, texts, expected):
    def annotate(_):
        nlp = spacy.load(saved)
        return annotations.annotations(nlp(text) for text in texts)

    with ThreadPoolExecutor(2) as pool:
        for result in pool.map(annotate, range(2)):
            assert result == expected
