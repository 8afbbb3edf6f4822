"""One model, predicting in one thread or in two at once."""
import threading

from work import Work

from . import tagger


def predicting(threads, repeat=3):
    docs, _ = tagger.data()
    model = tagger.thinc_model()

    def predict():
        for _ in range(repeat):
            for i in range(0, len(docs), tagger.BATCH):
                model.predict(docs[i : i + tagger.BATCH])

    def run():
        workers = [threading.Thread(target=predict) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    return Work(run, units=threads * repeat * sum(map(len, docs)))


def one():
    return predicting(1)


def two():
    return predicting(2)
