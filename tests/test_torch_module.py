"""as_torch_module: a Model in loops, losses and optimizers of PyTorch's."""

import copy
import io
import pickle

import numpy
import pytest
from frameworks import import_or_skip
from numpy.testing import assert_allclose, assert_array_equal

torch = import_or_skip("torch")

from thinc.api import (  # noqa: E402
    LSTM,
    SGD,
    Adam,
    Dropout,
    Embed,
    HashEmbed,
    LayerNorm,
    Linear,
    Maxout,
    Model,
    Padded,
    PyTorchWrapper,
    Ragged,
    Relu,
    Shim,
    Softmax,
    add,
    as_torch_module,
    chain,
    clone,
    concatenate,
    expand_window,
    list2array,
    list2ragged,
    noop,
    reduce_mean,
    residual,
    siamese,
    tuplify,
    with_array,
)

F = torch.nn.functional


def floats(*shape, seed=0, dtype="float32"):
    return numpy.random.default_rng(seed).normal(size=shape).astype(dtype)


def network(nI=3, nO=2, hidden=4):
    return chain(Relu(hidden), LayerNorm(), Linear(nO)).initialize(
        X=floats(5, nI), Y=floats(5, nO)
    )


# ---- gradients ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        network(),
        chain(Maxout(4, normalize=True), residual(Maxout(4)), Linear(2)),
        concatenate(Linear(2), chain(Relu(3), Linear(2))),
        chain(Linear(3), expand_window(1), Linear(2)),
    ],
    ids=lambda model: model.name,
)
def test_gradcheck(model):
    torch.manual_seed(0)
    numpy.random.seed(0)
    model.initialize(X=floats(5, 3), Y=floats(5, 2))
    module = as_torch_module(model).double()
    X = torch.from_numpy(floats(5, 3, dtype="float64")).requires_grad_()
    params = list(module.parameters())
    for parameter in params:  # away from the kinks of relu
        parameter.data += 0.05 * torch.rand_like(parameter)
    assert torch.autograd.gradcheck(lambda x, *_: module(x), (X, *params))


def test_gradcheck_of_lists():
    model = chain(list2ragged(), reduce_mean(), Linear(2, 3)).initialize()
    module = as_torch_module(model).double()
    Xs = [torch.from_numpy(floats(n, 3, dtype="float64")).requires_grad_() for n in (2, 3)]
    assert torch.autograd.gradcheck(lambda *xs: module(list(xs)), Xs)


def test_a_module_used_twice_adds_up_the_gradients_of_both_uses():
    model = network()
    module = as_torch_module(model)
    a, b = (torch.from_numpy(floats(4, 3, seed=seed)).requires_grad_() for seed in (1, 2))
    (module(a).sum() + 2 * module(b).sum()).backward()
    both = [p.grad.clone() for p in module.parameters()]
    module.zero_grad()
    module(a.detach()).sum().backward()
    (2 * module(b.detach()).sum()).backward()
    for one, p in zip(both, module.parameters(), strict=True):
        assert_allclose(one, p.grad, rtol=1e-5, atol=1e-6)
    assert a.grad is not None and b.grad is not None


def test_a_module_applied_to_its_own_output():
    model = Linear(3, 3).initialize()
    module = as_torch_module(model).double()
    X = torch.from_numpy(floats(4, 3, dtype="float64")).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: module(module(x)), (X, *module.parameters()))


def test_gradients_of_the_model_itself_stay_as_they_are():
    model = network()
    Y, backprop = model.begin_update(floats(4, 3))
    backprop(Y)
    before = {key: grad.copy() for key, (_, grad) in model.get_gradients().items()}
    module = as_torch_module(model)
    module(torch.from_numpy(floats(4, 3))).sum().backward()
    for key, (_, grad) in model.get_gradients().items():
        assert_array_equal(grad, before[key])


def test_retained_graphs_can_be_used_again():
    module = as_torch_module(Linear(2, 3).initialize())
    loss = module(torch.from_numpy(floats(4, 3))).sum()
    loss.backward(retain_graph=True)
    first = module.get_parameter("W").grad.clone()
    loss.backward()
    assert_allclose(module.get_parameter("W").grad, 2 * first)


def test_gradients_of_gradients_are_refused():
    module = as_torch_module(Linear(2, 3).initialize())
    X = torch.from_numpy(floats(4, 3)).requires_grad_()
    (dX,) = torch.autograd.grad(module(X).pow(2).sum(), X, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        dX.sum().backward()


def test_frozen_parameters_have_no_gradient():
    module = as_torch_module(network())
    name, frozen = next(iter(module.named_parameters()))
    frozen.requires_grad_(False)
    module(torch.from_numpy(floats(4, 3))).sum().backward()
    for other, parameter in module.named_parameters():
        assert (parameter.grad is None) is (other == name)


# ---- parameters --------------------------------------------------------------------------


def test_parameters_are_the_models_arrays_under_the_names_of_their_places():
    model = network()
    module = as_torch_module(model)
    assert isinstance(module, torch.nn.Module)
    names = [name for name, _ in module.named_parameters()]
    assert names == [
        "layers.0.W", "layers.0.b", "layers.1.G", "layers.1.b", "layers.2.W", "layers.2.b"
    ]  # fmt: skip
    for name, parameter in module.named_parameters():
        _, layer, param = name.split(".")
        array = model.layers[int(layer)].get_param(param)
        assert parameter.data_ptr() == array.__array_interface__["data"][0]
        assert parameter.requires_grad and parameter.is_leaf


def test_a_model_that_is_one_layer_has_plain_names():
    assert list(as_torch_module(Linear(2, 3).initialize()).state_dict()) == ["W", "b"]


def test_a_layer_in_two_places_has_its_parameters_once():
    shared = Linear(3, 3)
    model = chain(shared, Relu(3, 3), shared).initialize()
    module = as_torch_module(model)
    assert list(module.state_dict()) == ["layers.0.W", "layers.0.b", "layers.1.W", "layers.1.b"]
    module.double()
    X = torch.from_numpy(floats(4, 3, dtype="float64")).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: module(x), (X, *module.parameters()))


def test_optimizers_of_pytorch_update_the_model_and_those_of_thinc_the_module():
    model = network()
    module = as_torch_module(model)
    X = floats(4, 3)
    optimizer = torch.optim.Adam(module.parameters(), 0.1)
    before = model.predict(X)
    for _ in range(3):
        optimizer.zero_grad()
        module(torch.from_numpy(X)).pow(2).sum().backward()
        optimizer.step()
    assert numpy.abs(model.predict(X) - before).max() > 0.05
    with torch.no_grad():
        assert_allclose(module(torch.from_numpy(X)), model.predict(X), rtol=1e-6)
    Y, backprop = model.begin_update(X)
    backprop(Y)
    model.finish_update(Adam(0.1))
    with torch.no_grad():
        assert_allclose(module(torch.from_numpy(X)), model.predict(X), rtol=1e-6)
    for parameter, node, name in bound(module, model):
        assert parameter.data_ptr() == node.get_param(name).__array_interface__["data"][0]


def bound(module, model):
    for name, parameter in module.named_parameters():
        *path, param = name.split(".")
        node = model
        for index in path[1::2]:
            node = node.layers[int(index)]
        yield parameter, node, param


def test_new_arrays_in_the_model_reach_the_module():
    model = Linear(2, 3).initialize()
    module = as_torch_module(model)
    optimizer = torch.optim.SGD(module.parameters(), 1.0)
    model.set_param("W", numpy.ones((2, 3), "f"))
    Y = module(torch.ones(1, 3))
    assert Y.tolist() == [[3, 3]]
    Y.sum().backward()
    optimizer.step()
    assert model.get_param("W").tolist() == [[0, 0, 0]] * 2


def test_new_tensors_in_the_module_reach_the_model():
    model = Linear(2, 3).initialize()
    module = as_torch_module(model)
    module.get_parameter("W").data = torch.full((2, 3), 2.0)
    assert module(torch.ones(1, 3)).tolist() == [[6, 6]]
    assert model.get_param("W").tolist() == [[2, 2, 2]] * 2
    module.double()
    assert model.get_param("W").dtype == "float64"
    assert model.predict(numpy.ones((1, 3))).dtype == "float64"
    module.float()
    assert model.get_param("W").dtype == "float32"


def test_state_dicts_go_round():
    model, other = network(), network()
    module, loaded = as_torch_module(model), as_torch_module(other)
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    loaded.load_state_dict(torch.load(buffer, weights_only=True))
    X = floats(4, 3)
    assert_array_equal(other.predict(X), model.predict(X))
    with torch.no_grad():
        assert_array_equal(loaded(torch.from_numpy(X)), model.predict(X))
    assert other.to_bytes() == model.to_bytes()


def test_files_of_the_model_can_be_loaded_behind_the_module():
    model, other = network(), network()
    module = as_torch_module(other)
    other.from_bytes(model.to_bytes())
    with torch.no_grad():
        assert_array_equal(module(torch.from_numpy(floats(4, 3))), model.predict(floats(4, 3)))
    assert_array_equal(module.get_parameter("layers.2.W").detach(), model.layers[2].get_param("W"))


def identity_forward(model, X, is_train):
    return X * model.get_param("scale"), lambda dY: dY


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_independent_and_keep_their_settings(duplicate):
    model = Linear(2, 3).initialize()
    module = as_torch_module(model).eval()
    module.get_parameter("b").requires_grad_(False)
    copied = duplicate(module)
    assert not copied.training and not copied.get_parameter("b").requires_grad
    X = torch.from_numpy(floats(4, 3))
    assert torch.equal(copied(X), module(X))
    with torch.no_grad():
        copied.get_parameter("W").zero_()
    assert numpy.abs(model.get_param("W")).max() > 0
    assert torch.equal(copied(X), torch.zeros(4, 2))


def test_read_only_and_integer_parameters():
    W = numpy.ones(3, "f")
    W.flags.writeable = False
    model = Model(
        "scale", identity_forward, params={"scale": W, "ids": numpy.arange(3)}
    )  # fmt: skip
    module = as_torch_module(model)
    assert [name for name, _ in module.named_parameters()] == ["scale"]
    assert [name for name, _ in module.named_buffers()] == ["ids"]
    assert module(torch.ones(2, 3)).tolist() == [[1, 1, 1]] * 2


def test_gradients_pass_through_wrapped_modules():
    torch.manual_seed(0)
    inner = torch.nn.Linear(3, 4)
    model = chain(Linear(3, 3), PyTorchWrapper(inner), Linear(2, 4)).initialize()
    module = as_torch_module(model)
    X = torch.from_numpy(floats(5, 3)).requires_grad_()
    module(X).pow(2).sum().backward()
    found = {name: p.grad.clone() for name, p in module.named_parameters()}
    dX, X.grad = X.grad, None
    module.zero_grad()
    weights = dict(module.named_parameters())
    Y = F.linear(X, weights["layers.0.W"], weights["layers.0.b"])
    Y = F.linear(inner(Y), weights["layers.2.W"], weights["layers.2.b"])
    Y.pow(2).sum().backward()
    assert_allclose(dX, X.grad, rtol=1e-4, atol=1e-5)
    for name, parameter in weights.items():
        assert_allclose(found[name], parameter.grad, rtol=1e-4, atol=1e-5)


def test_wrapped_modules_are_submodules_and_train():
    torch.manual_seed(0)
    inner = torch.nn.Linear(4, 2)
    model = chain(Relu(4, 3), PyTorchWrapper(inner)).initialize()
    module = as_torch_module(model)
    assert list(module.state_dict()) == [
        "layers.0.W", "layers.0.b", "layers.1.shims.0.weight", "layers.1.shims.0.bias"
    ]  # fmt: skip
    assert module.get_submodule("layers.1.shims.0") is inner
    X, target = torch.from_numpy(floats(8, 3)), torch.from_numpy(floats(8, 2, seed=1))
    optimizer = torch.optim.Adam(module.parameters(), 0.05)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = F.mse_loss(module(X), target)
        loss.backward()
        assert all(p.grad is not None for p in module.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


# ---- modes -------------------------------------------------------------------------------


def test_the_mode_of_the_module_is_is_train():
    seen = []

    def forward(model, X, is_train):
        seen.append(is_train)
        return X * 2, lambda dY: 2 * dY

    module = as_torch_module(Model("notes", forward))
    X = torch.ones(2, requires_grad=True)
    module(X)
    module.eval()(X).sum().backward()
    assert X.grad.tolist() == [2, 2]
    with torch.no_grad():
        module.train()(X)
    assert seen == [True, False, True]
    dropout = as_torch_module(Dropout(0.5))
    ones = torch.ones(40, 40)
    assert set(dropout(ones).unique().tolist()) == {0.0, 2.0}
    assert torch.equal(dropout.eval()(ones), ones)


# ---- inputs and outputs --------------------------------------------------------------------


def test_memory_is_shared_with_inputs_and_outputs():
    addresses = {}

    def forward(model, X, is_train):
        Y = X * 2
        addresses.update(X=X.__array_interface__["data"][0], Y=Y.__array_interface__["data"][0])
        return Y, lambda dY: dY

    X = torch.ones(3)
    Y = as_torch_module(Model("notes", forward))(X)
    assert (X.data_ptr(), Y.data_ptr()) == (addresses["X"], addresses["Y"])


def test_an_output_that_is_the_input_is_copied():
    X = torch.ones(3, requires_grad=True)
    Y = as_torch_module(noop())(X)
    with torch.no_grad():
        Y.zero_()
    assert X.tolist() == [1, 1, 1]
    Y.sum().backward()
    assert X.grad.tolist() == [1, 1, 1]


def test_lists_ragged_padded_tuples_and_other_values():
    W = Linear(2, 3).initialize()
    Xs = [torch.from_numpy(floats(n, 3)).requires_grad_() for n in (2, 3)]
    lists = as_torch_module(with_array(W))(Xs)
    assert isinstance(lists, list) and [tuple(y.shape) for y in lists] == [(2, 2), (3, 2)]
    lists[1].sum().backward()
    assert Xs[0].grad.abs().max() == 0 and Xs[1].grad.abs().max() > 0

    data = torch.from_numpy(floats(5, 3)).requires_grad_()
    ragged = as_torch_module(with_array(W))(Ragged(data, numpy.array([2, 3], "i")))
    assert isinstance(ragged, Ragged) and torch.is_tensor(ragged.data)
    assert ragged.lengths.tolist() == [2, 3]
    ragged.data.sum().backward()
    assert_allclose(data.grad, numpy.tile(W.get_param("W").sum(0), (5, 1)), rtol=1e-5)

    pair = as_torch_module(tuplify(W, noop()))(torch.ones(1, 3, requires_grad=True))
    assert isinstance(pair, tuple) and all(torch.is_tensor(y) for y in pair)

    texts = Model("lengths", lambda model, X, is_train: (
        numpy.array([[len(x)] for x in X], "f"), lambda dY: []
    ))  # fmt: skip
    module = as_torch_module(chain(texts, Linear(2, 1)).initialize())
    module(["a", "bc"]).sum().backward()
    assert module.get_parameter("layers.1.W").grad.tolist() == [[3], [3]]
    assert module(["a"]).grad_fn is not None


def test_padded_and_lstm():
    numpy.random.seed(0)
    model = LSTM(2, 3).initialize()
    Xp = model.ops.list2padded([floats(3, 3), floats(1, 3, seed=1)])
    data = torch.from_numpy(Xp.data).requires_grad_()
    module = as_torch_module(model)
    Yp = module(Padded(data, Xp.size_at_t, Xp.lengths, Xp.indices))
    assert isinstance(Yp, Padded) and tuple(Yp.data.shape) == (3, 2, 2)
    Yp.data.sum().backward()
    assert data.grad.abs().max() > 0 and module.get_parameter("LSTM").grad.abs().max() > 0
    assert module.get_parameter("HC0").grad is None  # a constant


def test_two_inputs():
    model = siamese(Linear(2, 3), Model("difference", lambda model, X, is_train: (
        X[0] - X[1], lambda dY: (dY, -dY)
    ))).initialize()  # fmt: skip
    a, b = (torch.from_numpy(floats(2, 3, seed=seed)).requires_grad_() for seed in (0, 1))
    as_torch_module(model)((a, b)).sum().backward()
    assert_allclose(a.grad, -b.grad)


def test_ids_and_outputs_that_are_integers():
    module = as_torch_module(Embed(2, 5).initialize())
    ids = torch.tensor([1, 1, 4])
    module(ids).sum().backward()
    assert module.get_parameter("E").grad[:, 0].tolist() == [0, 2, 0, 0, 1]
    best = Model("best", lambda model, X, is_train: (X.argmax(-1), lambda dY: None))
    Y = as_torch_module(best)(torch.ones(2, 3, requires_grad=True))
    assert Y.tolist() == [0, 0] and not Y.requires_grad


def test_gradients_that_are_views_reach_the_layers_as_plain_arrays():
    module = as_torch_module(Linear(2, 3).initialize())
    X = torch.from_numpy(floats(4, 3)).requires_grad_()
    module(X).T[0].expand(2, 4).sum().backward()
    assert_allclose(X.grad, numpy.tile(2 * module.model.get_param("W")[0], (4, 1)), rtol=1e-6)


def test_inside_a_network_of_pytorch():
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 4), as_torch_module(Relu(4, 4).initialize()), torch.nn.Linear(4, 2)
    )
    assert len(list(module.parameters())) == 6
    module.double()
    X = torch.from_numpy(floats(5, 3, dtype="float64")).requires_grad_()
    for parameter in module.parameters():
        parameter.data += 0.1 * torch.rand_like(parameter)
    assert torch.autograd.gradcheck(lambda x, *_: module(x), (X, *module.parameters()))


# ---- errors --------------------------------------------------------------------------------


def test_a_model_that_is_not_initialized():
    with pytest.raises(ValueError, match=r"linear \(layers\[1\] of .*no value for .* 'W': initial"):
        as_torch_module(chain(Relu(2, 2).initialize(), Linear(2, 2)))


def test_models_of_a_third_framework():
    other = Model("other", lambda model, X, is_train: (X, None), shims=[Shim(None)])
    with pytest.raises(ValueError, match=r"other \(layers\[1\].* another framework \(Shim\)"):
        as_torch_module(chain(noop(), other))


def test_errors_of_layers_keep_their_words():
    module = as_torch_module(chain(Linear(3, 3), Linear(2, 3)).initialize())
    with pytest.raises(ValueError, match=r"linear \(layers\[0\].* input width 2 does not match"):
        module(torch.ones(1, 2))


# ---- training ------------------------------------------------------------------------------


def tagged_sentences():
    """A small language: the tag of a word depends on the word and on the one before."""
    rng = numpy.random.default_rng(0)
    sentences = [rng.integers(1, 30, size=rng.integers(2, 12)) for _ in range(60)]
    tags = [
        numpy.array([(w + (s[i - 1] if i else 0)) % 2 + 2 * (w % 2) for i, w in enumerate(s)])
        for s in sentences
    ]
    return [s.reshape(-1, 1).astype("uint64") for s in sentences], tags


def tagger():
    numpy.random.seed(1)
    ids = [numpy.ones((3, 1), "uint64")]
    return chain(
        with_array(
            chain(
                HashEmbed(16, 100, column=0, seed=7),
                residual(chain(expand_window(1), Maxout(16, 48, normalize=True))),
                Linear(4, 16),
            )
        ),
        list2array(),
    ).initialize(X=ids)


def test_a_tagger_trains_in_a_loop_of_pytorch_as_it_does_natively():
    Xs, tags = tagged_sentences()
    truth = numpy.concatenate(tags)
    one_hot = numpy.eye(4, dtype="f")[truth]

    native, sgd = tagger(), SGD(0.5, grad_clip=0)
    model = tagger()
    module = as_torch_module(model)
    optimizer = torch.optim.SGD(module.parameters(), 0.5)
    labels = torch.from_numpy(truth)
    losses = {"native": [], "torch": []}
    for _ in range(40):
        logits, backprop = native.begin_update(Xs)
        probs = numpy.exp(logits - logits.max(1, keepdims=True))
        probs /= probs.sum(1, keepdims=True)
        losses["native"].append(-numpy.log(probs[numpy.arange(len(truth)), truth]).mean())
        backprop((probs - one_hot) / len(truth))
        native.finish_update(sgd)

        optimizer.zero_grad()
        loss = F.cross_entropy(module(Xs), labels)
        loss.backward()
        optimizer.step()
        losses["torch"].append(loss.item())
    assert_allclose(losses["native"], losses["torch"], rtol=2e-3)
    assert losses["torch"][-1] < 0.5 * losses["torch"][0]
    accuracies = [(m.predict(Xs).argmax(1) == truth).mean() for m in (native, model)]
    assert accuracies[0] > 0.9 and abs(accuracies[0] - accuracies[1]) < 0.02


def test_softmax_takes_the_gradient_of_the_logits_as_it_always_does():
    model = Softmax(3, 4).initialize()
    X, truth = floats(5, 4), numpy.eye(3, dtype="f")[[0, 1, 2, 0, 1]]
    Y, backprop = model.begin_update(X)
    backprop(Y - truth)
    module = as_torch_module(model)
    Y = module(torch.from_numpy(X))
    Y.backward(Y.detach() - torch.from_numpy(truth))
    assert_allclose(module.get_parameter("W").grad, model.get_grad("W"), rtol=1e-6)


def test_clones_and_sums():
    numpy.random.seed(0)
    model = add(clone(Linear(3), 2), Linear(3)).initialize(X=floats(2, 3), Y=floats(2, 3))
    module = as_torch_module(model).double()
    X = torch.from_numpy(floats(4, 3, dtype="float64")).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: module(x), (X, *module.parameters()))
