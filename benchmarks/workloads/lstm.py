"""A bidirectional LSTM, 128 wide, over 32 sequences of 30 steps."""
import numpy
from work import Work

from .weights import drawn, set_weights

WIDTH, STEPS, SEQUENCES = 128, 30, 32
HIDDEN = WIDTH // 2


def data():
    rng = numpy.random.default_rng(0)
    X = rng.normal(size=(STEPS, SEQUENCES, WIDTH)).astype("float32")
    return X, rng.normal(size=X.shape).astype("float32") / X.size


def forward_flops():
    per_row = 2 * (4 * HIDDEN * WIDTH + 4 * HIDDEN * HIDDEN)
    return 2.0 * STEPS * SEQUENCES * per_row


def padded(values):
    from thinc.api import Padded

    return Padded(
        values,
        numpy.full(STEPS, SEQUENCES, "int32"),
        numpy.full(SEQUENCES, STEPS, "int32"),
        numpy.arange(SEQUENCES, dtype="int32"),
    )


def thinc_model():
    from thinc.api import LSTM

    model = LSTM(WIDTH, WIDTH, bi=True).initialize()
    set_weights(model)
    return model


def thinc_train():
    """One step: forward, backward, Adam."""
    from thinc.api import Adam

    X, dY = map(padded, data())
    model, optimizer = thinc_model(), Adam(0.001)

    def step():
        _, backprop = model.begin_update(X)
        # The peer changes the gradient it is given, so it needs a copy of its own.
        backprop(padded(dY.data.copy()))
        model.finish_update(optimizer)

    # Compared is the forward pass: the peer's gradients are wrong (docs/differences.md).
    fresh = thinc_model()
    return Work(
        step,
        lambda: {"Y": fresh.begin_update(X)[0].data},
        flops=3 * forward_flops(),
        units=STEPS * SEQUENCES,
    )


def thinc_predict():
    X = padded(data()[0])
    model = thinc_model()
    return Work(
        lambda: model.predict(X),
        lambda: {"Y": model.predict(X).data},
        flops=forward_flops(),
        units=STEPS * SEQUENCES,
    )


def thinc_gradients():
    """Not for timing: what a backward pass gives, to be compared with PyTorch's."""
    X, dY = map(padded, data())
    model = thinc_model()

    def result():
        Y, backprop = model.begin_update(X)
        return {"Y": Y.data, "dX": backprop(dY).data}

    return Work(result, result)


def torch_model():
    import torch

    model = torch.nn.LSTM(WIDTH, HIDDEN, bidirectional=True)
    sizes = (4 * HIDDEN * WIDTH, 4 * HIDDEN, 4 * HIDDEN * HIDDEN, 4 * HIDDEN)
    vector = drawn("lstm.LSTM#0", 2 * sum(sizes))
    names = ("weight_ih_l0", "bias_ih_l0", "weight_hh_l0", "bias_hh_l0")
    start = 0
    with torch.no_grad():
        for suffix in ("", "_reverse"):
            for name, size in zip(names, sizes, strict=True):
                gates = numpy.split(vector[start : start + size], 4)
                start += size
                # Ours: forget, input, output, candidate; PyTorch's: i, f, candidate, o.
                order = numpy.concatenate([gates[i] for i in (1, 0, 3, 2)])
                parameter = getattr(model, name + suffix)
                parameter.copy_(torch.from_numpy(order).reshape(parameter.shape))
    return model


def torch_train():
    import torch

    X, dY = map(torch.from_numpy, data())
    X.requires_grad_()
    model = torch_model()
    optimizer = torch.optim.Adam(model.parameters(), 0.001, fused=True)

    def step():
        optimizer.zero_grad()
        X.grad = None
        model(X)[0].backward(dY)
        optimizer.step()

    fresh = torch_model()
    return Work(
        step, lambda: {"Y": fresh(X)[0].detach().numpy()}, units=STEPS * SEQUENCES
    )


def torch_gradients():
    import torch

    X, dY = map(torch.from_numpy, data())
    X.requires_grad_()
    model = torch_model()

    def result():
        X.grad = None
        Y = model(X)[0]
        Y.backward(dY)
        return {"Y": Y.detach().numpy(), "dX": X.grad.numpy().copy()}

    return Work(result, result)


def torch_predict():
    import torch

    X = torch.from_numpy(data()[0])
    model = torch_model().eval()

    def predict():
        with torch.inference_mode():
            return model(X)[0]

    return Work(predict, lambda: {"Y": predict().numpy()}, units=STEPS * SEQUENCES)
