"""Small Keras models for the tests."""

import keras
import numpy

from thinc.api import keras_subclass


def dense(nI=4, nO=3, dtype="float32", seed=0):
    """A smooth network, so that finite differences agree with its gradients."""
    return keras.Sequential(
        [
            keras.layers.Input((nI,), dtype=dtype),
            keras.layers.Dense(5, activation="tanh", dtype=dtype, kernel_initializer=normal(seed)),
            keras.layers.Dense(nO, dtype=dtype, kernel_initializer=normal(seed + 1)),
        ]
    )


def normal(seed):
    return keras.initializers.RandomNormal(stddev=0.5, seed=seed)


def with_statistics(nI=4):
    return keras.Sequential(
        [
            keras.layers.Input((nI,)),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5, seed=1),
            keras.layers.Dense(3),
        ]
    )


def two_inputs_two_outputs(names=("left", "right"), as_dict=False):
    left, right = keras.Input((4,), name=names[0]), keras.Input((2,), name=names[1])
    both = keras.layers.Concatenate()([left, right])
    outputs = [keras.layers.Dense(3)(both), keras.layers.Dense(2)(right)]
    inputs = {names[0]: left, names[1]: right} if as_dict else [left, right]
    return keras.Model(inputs, outputs)


class Described(keras.Model):
    """A subclassed model that says how it was made, and has no weights at first."""

    def __init__(self, width):
        super().__init__()
        self.dense = keras.layers.Dense(width)

    def call(self, X):
        return self.dense(X)

    def get_config(self):
        return {"width": self.dense.units}


class Undescribed(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.dense = layer

    def call(self, X):
        return self.dense(X)

    def get_config(self):  # what some releases of Keras 3 say by themselves
        raise NotImplementedError


@keras_subclass("thinc_tests.v1", numpy.zeros((2, 4), "f"), numpy.zeros((2, 3), "f"), (None, 4))
class Decorated(keras.Model):
    def __init__(self, width, activation="tanh"):
        super().__init__()
        self.dense = keras.layers.Dense(width, activation=activation)

    def call(self, X):
        return self.dense(X)
