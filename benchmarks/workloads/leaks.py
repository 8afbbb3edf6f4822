"""A network with a layer of each common kind, small enough to be run a million times."""
import numpy
from work import Work


def predicting():
    from thinc.api import (
        HashEmbed,
        LayerNorm,
        Maxout,
        Mish,
        Softmax,
        chain,
        expand_window,
        list2ragged,
        reduce_mean,
        residual,
        with_array,
    )

    model = chain(
        list2ragged(),
        with_array(
            chain(
                HashEmbed(8, 50, column=0),
                residual(chain(expand_window(1), Maxout(8, 24, nP=2), LayerNorm(8))),
                Mish(8, 8),
            )
        ),
        reduce_mean(),
        Softmax(3, 8),
    )
    docs = [numpy.arange(3, dtype="uint64").reshape(3, 1)]
    model.initialize(X=docs)
    return Work(lambda: model.predict(docs), units=1)
