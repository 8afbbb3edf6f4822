"""A few models made of nothing but Model, for tests that are not about layers."""

import numpy

from thinc.model import Model


def affine(nO=None, nI=None, name="affine"):
    """Y = X W^T + b. Starts with fixed values that differ from each other."""
    return Model(
        name, affine_forward, init=affine_init, dims={"nO": nO, "nI": nI},
        params={"W": None, "b": None},
    )  # fmt: skip


def affine_forward(model, X, is_train):
    W, b = model.get_param("W"), model.get_param("b")
    if X.shape[1] != W.shape[1]:
        raise ValueError(f"input width {X.shape[1]} does not match nI={W.shape[1]}")

    def backprop(dY):
        model.inc_grad("W", dY.T @ X)
        model.inc_grad("b", dY.sum(axis=0))
        return dY @ W

    return X @ W.T + b, backprop


def affine_init(model, X=None, Y=None):
    if X is not None:
        model.set_dim("nI", X.shape[1])
    if Y is not None:
        model.set_dim("nO", Y.shape[1])
    nO, nI = model.get_dim("nO"), model.get_dim("nI")
    model.set_param("W", numpy.linspace(-1, 1, nO * nI, dtype="f").reshape(nO, nI))
    model.set_param("b", numpy.linspace(0, 1, nO, dtype="f"))


def pipeline(*layers, name=None, **kwargs):
    """Each layer on the output of the one before."""
    name = name or ">>".join(layer.name for layer in layers)
    return Model(name, pipeline_forward, init=pipeline_init, layers=layers, **kwargs)


def pipeline_forward(model, X, is_train):
    callbacks = []
    for layer in model.layers:
        X, callback = layer(X, is_train=is_train)
        callbacks.append(callback)

    def backprop(dY):
        for callback in reversed(callbacks):
            dY = callback(dY)
        return dY

    return X, backprop


def pipeline_init(model, X=None, Y=None):
    for layer in model.layers:
        layer.initialize(X=X, Y=Y if layer is model.layers[-1] else None)
        X = layer.predict(X) if X is not None else None


def carrier(name="carrier", **kwargs):
    """Passes its input through; carries whatever it is given."""
    return Model(name, identity_forward, **kwargs)


def identity_forward(model, X, is_train):
    return X, lambda dY: dY


def two_layers():
    """affine>>pipeline(affine, affine), initialized, 3 inputs and 2 outputs."""
    inner = pipeline(affine(4, 4, "second"), affine(2, 4, "third"), name="inner")
    model = pipeline(affine(4, 3, "first"), inner, name="outer")
    return model.initialize(X=numpy.ones((1, 3), dtype="f"))
