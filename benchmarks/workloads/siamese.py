"""A siamese network: one encoder for two inputs, and the similarity of the encodings."""
import numpy
from work import Work

from .weights import load, set_weights

BATCH, INPUTS, WIDTH = 128, 300, 128


def data():
    rng = numpy.random.default_rng(0)
    A = rng.normal(size=(BATCH, INPUTS)).astype("float32")
    # Near enough that similarities are not all zero.
    B = (A + 0.1 * rng.normal(size=A.shape)).astype("float32")
    return (A, B), rng.random(BATCH).astype("float32")


def forward_flops():
    return 2 * 2.0 * BATCH * (INPUTS * WIDTH + WIDTH * WIDTH)


def thinc_model():
    from thinc.api import CauchySimilarity, Relu, chain, siamese

    encoder = chain(Relu(WIDTH, INPUTS), Relu(WIDTH, WIDTH))
    model = siamese(encoder, CauchySimilarity(WIDTH)).initialize(X=data()[0])
    set_weights(model)
    return model


def thinc_train():
    """One step on 128 pairs, squared error, Adam."""
    from thinc.api import Adam

    X, truth = data()
    model, optimizer = thinc_model(), Adam(0.001)

    def step(model, optimizer):
        guess, backprop = model.begin_update(X)
        backprop(2 * (guess - truth) / BATCH)
        model.finish_update(optimizer)

    def result():
        other, fresh = thinc_model(), Adam(0.001)
        step(other, fresh)
        return {"similarity": other.predict(X)}

    return Work(
        lambda: step(model, optimizer), result, flops=3 * forward_flops(), units=BATCH
    )


def torch_train():
    import torch

    (A, B), truth = data()
    A, B, truth = map(torch.from_numpy, (A, B, truth))

    class Siamese(torch.nn.Module):
        def __init__(self):
            super().__init__()
            nn = torch.nn
            self.encoder = nn.Sequential(
                nn.Linear(INPUTS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()
            )
            self.W = nn.Parameter(torch.ones(WIDTH))

        def forward(self, A, B):
            diff = self.encoder(A) - self.encoder(B)
            return 1 / (1 + (self.W * diff * diff).sum(dim=1))

    def make():
        model = Siamese()
        for n, layer in enumerate((model.encoder[0], model.encoder[2])):
            load(layer.weight, f"relu.W#{n}", *layer.weight.shape)
            load(layer.bias, f"relu.b#{n}", *layer.bias.shape)
        load(model.W, "cauchy_similarity.W#0", WIDTH)
        return model

    # PyTorch computes no gradient of its input unless asked; the encoder may be any part
    # of a network, so it is asked here, as ours always gives it.
    A.requires_grad_()
    B.requires_grad_()

    def step(model, optimizer):
        optimizer.zero_grad()
        A.grad = B.grad = None
        ((model(A, B) - truth) ** 2).mean().backward()
        optimizer.step()

    model = make()
    optimizer = torch.optim.Adam(model.parameters(), 0.001, fused=True)

    def result():
        other = make()
        step(other, torch.optim.Adam(other.parameters(), 0.001, fused=True))
        with torch.inference_mode():
            return {"similarity": other(A, B).numpy()}

    return Work(lambda: step(model, optimizer), result, units=BATCH)
