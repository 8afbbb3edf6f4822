import contextlib
import copy
import pickle
import threading
from functools import partial

import numpy
import pytest
from numpy.testing import assert_array_equal
from small_models import affine, carrier, identity_forward, pipeline, two_layers

from thinc.api import chain, with_array
from thinc.backends import get_current_ops
from thinc.model import (
    Model,
    change_attr_values,
    empty_init,
    set_dropout_rate,
    wrap_model_recursive,
)
from thinc.shims import Shim


def names(nodes):
    return [node.name for node in nodes]


# Construction


def test_arguments_are_copied_but_not_deeply():
    dims, layers, attrs, shared = {"nO": 1}, [carrier("child")], {}, [1]
    attrs["list"] = shared
    model = carrier(dims=dims, layers=layers, attrs=attrs)
    dims["nI"], attrs["more"] = 2, 3
    layers.append(carrier())
    assert model.dim_names == ("nO",)
    assert names(model.layers) == ["child"]
    assert model.attrs == {"list": [1]} and model.attrs["list"] is shared


def test_ids_count_up_on_the_base_class():
    class Sub(Model):
        pass

    first = carrier()
    second = Sub("sub", identity_forward)
    assert second.id == first.id + 1
    assert Model.global_id == second.id and "global_id" not in vars(Sub)


def test_model_is_slotted_and_no_container():
    model = carrier()
    with pytest.raises(AttributeError):
        model.unknown = 1
    for read_only in ("layers", "shims", "attrs", "param_names", "dim_names", "attr_names"):
        with pytest.raises(AttributeError):
            setattr(model, read_only, None)
    for operation in (iter, len, lambda m: m[0], lambda m: 1 in m):
        with pytest.raises(TypeError):
            operation(model)
    assert model and model == model and model != carrier()


def test_generic_alias_makes_a_plain_model():
    model = Model[int, int]("name", identity_forward)
    assert type(model) is Model and model.predict(3) == 3


def test_default_init_returns_the_model():
    model = carrier()
    assert isinstance(model.init, partial) and model.init.func is empty_init
    assert model.init(model, X=1, Y=2) is model
    assert model.initialize(X=1) is model


# Dimensions, references, attributes


def test_dims_are_set_once():
    model = carrier(dims={"nO": None, "nI": 0})
    assert (model.has_dim("nO"), model.has_dim("nI"), model.has_dim("x")) == (None, True, False)
    with pytest.raises(ValueError, match="Cannot get dimension 'nO' .*: value unset"):
        model.get_dim("nO")
    with pytest.raises(KeyError, match="Cannot get dimension 'x' for model 'carrier'"):
        model.get_dim("x")
    with pytest.raises(KeyError, match="Cannot set unknown dimension 'x'"):
        model.set_dim("x", 1)
    model.set_dim("nO", 3)
    model.set_dim("nO", 3)
    with pytest.raises(ValueError, match="from 3 to 4"):
        model.set_dim("nO", 4)
    with pytest.raises(ValueError, match="from 3 to None"):
        model.set_dim("nO", None)
    assert model.get_dim("nO") == model.maybe_get_dim("nO") == 3
    assert model.maybe_get_dim("x") is None


def test_dims_can_be_forced_while_no_parameter_depends_on_them():
    model = carrier(dims={"nO": 3}, params={"W": None})
    model.set_dim("nO", 4, force=True)
    model.set_param("W", numpy.zeros(4))
    with pytest.raises(ValueError, match="from 4 to 5"):
        model.set_dim("nO", 5, force=True)


def test_refs_name_nodes_of_the_tree():
    child = carrier("child")
    model = carrier(layers=[child], refs={"unset": None})
    model.set_ref("child", child)
    model.set_ref("self", model)
    assert (model.has_ref("child"), model.has_ref("unset"), model.has_ref("x")) == (
        True, None, False,
    )  # fmt: skip
    assert model.get_ref("child") is child and model.maybe_get_ref("unset") is None
    with pytest.raises(ValueError, match="node not in tree"):
        model.set_ref("stranger", carrier())
    with pytest.raises(ValueError, match="'unset' .*: value unset"):
        model.get_ref("unset")
    with pytest.raises(KeyError, match="Cannot get reference 'x'"):
        model.get_ref("x")
    model.set_ref("child", None)
    assert model.ref_names == ("unset", "child", "self") and model.has_ref("child") is None


def test_attr_accessors_are_views_of_the_dict():
    model = carrier(attrs={"a": None})
    assert model.has_attr("a") is True and model.has_attr("b") is False
    model.set_attr("b", 2)
    assert model.attrs["b"] == model.get_attr("b") == 2
    assert model.attr_names == ("a", "b")
    with pytest.raises(KeyError, match="Cannot get attribute 'c' for model 'carrier'"):
        model.get_attr("c")


# Parameters and gradients


def test_params_are_stored_by_reference_and_forgotten_with_none():
    W = numpy.zeros(3)
    model = carrier(params={"W": W, "b": None})
    assert model.get_param("W") is W and model.param_names == ("W", "b")
    assert (model.has_param("W"), model.has_param("b"), model.has_param("x")) == (
        True, None, False,
    )  # fmt: skip
    with pytest.raises(KeyError, match="Unknown param: 'x' for model 'carrier'"):
        model.get_param("x")
    with pytest.raises(KeyError, match="Parameter 'b' .* has not been allocated yet"):
        model.get_param("b")
    model.inc_grad("W", W)
    model.set_param("W", None)
    assert model.has_param("W") is None and not model.has_grad("W")
    with pytest.raises(KeyError, match="has not been allocated yet"):
        model.get_param("W")
    assert model.maybe_get_param("W") is model.maybe_get_param("x") is None


def test_first_gradient_is_copied_and_later_ones_are_added():
    model = carrier(params={"W": numpy.zeros(2)})
    dW = numpy.array([1.0, 2.0])
    model.inc_grad("W", dW)
    model.inc_grad("W", dW)
    assert_array_equal(model.get_grad("W"), [2.0, 4.0])
    assert_array_equal(dW, [1.0, 2.0])
    with pytest.raises(ValueError, match="broadcast"):
        model.inc_grad("W", numpy.zeros(3))


def test_scalar_gradients_add_up():
    model = carrier()
    for _ in range(3):
        model.inc_grad("scale", numpy.float32(2.0))
    assert model.get_grad("scale") == 6.0


def test_missing_gradient_is_named_and_none_clears():
    model = carrier(params={"W": numpy.zeros(2)})
    with pytest.raises(KeyError, match="No gradient for parameter 'W' of model 'carrier'"):
        model.get_grad("W")
    model.set_grad("W", numpy.zeros(2))
    assert model.has_grad("W") is True and model.grad_names == ("W",)
    model.set_grad("W", None)
    assert model.has_grad("W") is False and model.maybe_get_grad("W") is None


class Proxy:
    """Parameters kept elsewhere."""

    def __init__(self):
        self.log, self.values = [], {}

    def get_param(self, id_, name):
        return self.values[id_, name]

    def set_param(self, id_, name, value):
        self.values[id_, name] = value

    def inc_grad(self, id_, name, value):
        self.log.append(("inc", name))

    def set_grad(self, id_, name, value):
        self.log.append(("set", name))


def test_params_come_from_a_proxy_and_gradients_go_to_it():
    model = carrier(params={"W": numpy.zeros(2)})
    model._params.proxy = proxy = Proxy()
    model.set_param("W", numpy.ones(2))
    proxy.values[model.id, "W"] = numpy.full(2, 5.0)
    assert_array_equal(model.get_param("W"), [5.0, 5.0])
    model.inc_grad("W", numpy.ones(2))
    model.set_grad("W", numpy.ones(2))
    assert proxy.log == [("inc", "W"), ("set", "W")] and not model.has_grad("W")
    with pytest.raises(KeyError, match="Unknown param"):
        model.get_param("x")


# Updates


def step(key, param, grad, **kwargs):
    return param - grad, grad


def test_finish_update_zeroes_gradients_that_the_optimizer_left():
    model = carrier(params={"W": numpy.ones(2)})
    model.inc_grad("W", numpy.ones(2))
    grad = model.get_grad("W")
    model.finish_update(step)
    assert_array_equal(model.get_param("W"), [0.0, 0.0])
    assert model.get_grad("W") is grad
    assert_array_equal(grad, [0.0, 0.0])


def test_finish_update_zeroes_nan():
    model = carrier(params={"W": numpy.ones(2)})
    model.inc_grad("W", numpy.array([numpy.nan, numpy.inf]))
    model.finish_update(lambda key, param, grad: (param, grad))
    assert_array_equal(model.get_grad("W"), [0.0, 0.0])


def test_finish_update_believes_an_optimizer_that_zeroes():
    class Optimizer:
        zeroes_gradients = True

        def __call__(self, key, param, grad):
            return param, grad

    model = carrier(params={"W": numpy.ones(2)})
    model.inc_grad("W", numpy.ones(2))
    model.finish_update(Optimizer())
    assert_array_equal(model.get_grad("W"), [1.0, 1.0])


def test_finish_update_forgets_a_gradient_it_cannot_zero():
    model = carrier(params={"W": numpy.float32(1.0)})
    model.inc_grad("W", numpy.float32(0.25))
    model.finish_update(step)
    assert model.get_param("W") == 0.75 and not model.has_grad("W")


def test_finish_update_visits_a_shared_node_once_in_walk_order():
    shared = carrier("shared", params={"W": numpy.ones(1)})
    root = carrier("root", params={"b": numpy.ones(1), "a": numpy.ones(1)}, layers=[shared, shared])
    keys = []

    def optimizer(key, param, grad):
        keys.append(key)
        return param, grad

    for node in root.walk():
        for name in node.param_names:
            node.inc_grad(name, numpy.ones(1))
    assert set(root.get_gradients()) == {(root.id, "b"), (root.id, "a"), (shared.id, "W")}
    root.finish_update(optimizer)
    assert keys == [(root.id, "b"), (root.id, "a"), (shared.id, "W")]


class LoggingShim(Shim):
    def __init__(self, log, fail_on_enter=False):
        super().__init__(None)
        self.log, self.fail_on_enter = log, fail_on_enter

    def finish_update(self, optimizer):
        self.log.append("update")

    @contextlib.contextmanager
    def use_params(self, params):
        if self.fail_on_enter:
            raise RuntimeError("cannot enter")
        self.log.append("enter")
        try:
            yield
        finally:
            self.log.append("exit")

    def to_device(self, device_type, device_id):
        self.log.append((device_type, device_id))


def test_use_params_restores_whatever_happens():
    child = carrier("child", params={"W": numpy.zeros(1)}, shims=[LoggingShim(log := [])])
    root = carrier(layers=[child, child], params={"b": numpy.zeros(1)})
    W, b = child.get_param("W"), root.get_param("b")
    new = {(child.id, "W"): numpy.ones(1), (root.id, "b"): numpy.ones(1), (0, "x"): numpy.ones(1)}
    with pytest.raises(RuntimeError, match="inside"):
        with root.use_params(new):
            assert child.get_param("W") is new[child.id, "W"]
            assert root.get_param("b") is new[root.id, "b"]
            raise RuntimeError("inside")
    assert child.get_param("W") is W and root.get_param("b") is b
    assert log == ["enter", "exit"]


def test_use_params_restores_when_entering_fails_half_way():
    bad = carrier("bad", shims=[LoggingShim([], fail_on_enter=True)])
    root = carrier(params={"b": numpy.zeros(1)}, layers=[bad])
    b = root.get_param("b")
    with pytest.raises(RuntimeError, match="cannot enter"):
        with root.use_params({(root.id, "b"): numpy.ones(1)}):
            raise AssertionError("not reached")
    assert root.get_param("b") is b


def test_use_params_of_an_unset_param_raises_and_nests():
    model = carrier(params={"W": numpy.zeros(1), "b": None})
    W = model.get_param("W")
    with pytest.raises(KeyError, match="has not been allocated"):
        with model.use_params({(model.id, "W"): numpy.ones(1), (model.id, "b"): numpy.ones(1)}):
            raise AssertionError("not reached")
    one, two = numpy.ones(1), numpy.ones(1)
    with model.use_params({(model.id, "W"): one}):
        with model.use_params({(model.id, "W"): two}):
            assert model.get_param("W") is two
        assert model.get_param("W") is one
    assert model.get_param("W") is W


# The tree


def example_tree():
    five = carrier("5")
    two = carrier("2", layers=[carrier("3"), five])
    return carrier("1", layers=[two, carrier("4", layers=[five])])


@pytest.mark.parametrize(
    "order, expected", [("bfs", "12435"), ("dfs_pre", "12354"), ("dfs_post", "35241")]
)
def test_walk(order, expected):
    assert "".join(names(example_tree().walk(order=order))) == expected


def test_walk_survives_cycles_and_refuses_unknown_orders():
    root = example_tree()
    root.layers[0].layers.append(root)
    assert len(list(root.walk())) == 5
    assert len(list(root.walk(order="dfs_post"))) == 5
    with pytest.raises(ValueError, match="must be one of: bfs, dfs_pre, dfs_post"):
        root.walk(order="sideways")


def test_walk_of_a_deep_tree_needs_no_recursion():
    node = carrier()
    for _ in range(3000):
        node = carrier(layers=[node])
    for order in ("bfs", "dfs_pre", "dfs_post"):
        assert len(list(node.walk(order=order))) == 3001
    assert len(list(node.copy().walk())) == 3001


def test_remove_node_takes_its_references_along():
    child = carrier("child", layers=[inner := carrier("inner")])
    root = carrier("root", layers=[child, carrier("other"), child], refs={"unset": None})
    root.set_ref("inner", inner)
    root.set_ref("other", root.layers[1])
    kept = root.layers
    root.remove_node(child)
    assert root.layers is kept and names(kept) == ["other"]
    assert root.has_ref("inner") is None and root.get_ref("other") is kept[0]
    root.remove_node(root)
    root.remove_node(child)
    assert names(root.walk()) == ["root", "other"]


def test_replace_node_everywhere_in_place():
    old, new = carrier("old"), carrier("new")
    branch = carrier("branch", layers=[old])
    stranger = carrier("stranger", refs={"unset": None, "far": old})
    root = carrier("root", layers=[branch, old, stranger], refs={"old": old})
    kept = root.layers
    assert root.replace_node(old, new) is True
    assert root.layers is kept and names(kept) == ["branch", "new", "stranger"]
    assert branch.layers == [new]
    assert root.get_ref("old") is new and stranger.get_ref("far") is new
    assert root.replace_node(old, new) is False
    assert root.replace_node(root, new) is True and names(root.layers) == names(kept)


def test_replace_node_by_a_wrapper_keeps_the_node_inside():
    node = carrier("node")
    root = carrier("root", layers=[node])
    root.replace_node(node, wrapper := carrier("wrapper", layers=[node]))
    assert root.layers == [wrapper] and wrapper.layers == [node]


def test_replace_node_by_its_parent_makes_no_cycle():
    node = carrier("node")
    parent = carrier("parent", layers=[node])
    root = carrier("root", layers=[node, parent])
    assert root.replace_node(node, parent) is True
    assert root.layers == [parent, parent] and parent.layers == [node]


def test_wrap_model_recursive_wraps_each_node_once():
    root = example_tree()
    root.set_ref("five", root.layers[1].layers[0])
    root.set_ref("unset", None)
    wrapped = []

    def wrapper(node):
        wrapped.append(node.name)
        return carrier(f"w{node.name}", layers=[node])

    outer = wrap_model_recursive(root, wrapper)
    assert wrapped == ["2", "4", "3", "5", "1"]
    assert names(outer.walk()) == ["w1", "1", "w2", "w4", "2", "4", "w3", "w5", "3", "5"]
    assert root.get_ref("five").name == "w5"


def test_replace_callbacks():
    model = affine(2, 3)
    model.replace_callbacks(identity_forward)
    assert model.init is None and model.initialize(X="anything").predict(7) == 7


def test_attrs_are_changed_where_they_exist():
    one = carrier("drop", attrs={"dropout_rate": 0.1, "other": 1})
    root = carrier("root", layers=[one, carrier("plain")])
    assert set_dropout_rate(root, 0.5) is root
    assert one.attrs["dropout_rate"] == 0.5 and "dropout_rate" not in root.attrs
    change_attr_values(root, {"drop": {"other": 2, "new": 3}, "absent": {"x": 1}})
    assert one.attrs == {"dropout_rate": 0.5, "other": 2}


# Copies


def all_params(model):
    return [node.get_param(n) for node in model.walk() for n in node.param_names]


def assert_independent_copy(model, copied):
    originals, copies = list(model.walk()), list(copied.walk())
    assert names(originals) == names(copies)
    assert not {node.id for node in originals} & {node.id for node in copies}
    for old, new in zip(all_params(model), all_params(copied), strict=True):
        assert_array_equal(old, new)
        assert not numpy.shares_memory(old, new)


@pytest.mark.parametrize("make_copy", [Model.copy, copy.deepcopy])
def test_copies_are_independent_and_complete(make_copy):
    model = two_layers()
    model.set_ref("third", model.layers[1].layers[1])
    model.set_ref("unset", None)
    model.attrs["list"] = [1, [2]]
    model.layers[0].inc_grad("W", numpy.ones((4, 3), dtype="f"))
    model.layers[0].set_grad("unregistered", numpy.ones(1))
    copied = make_copy(model)
    assert_independent_copy(model, copied)
    assert copied.get_ref("third") is copied.layers[1].layers[1]
    assert copied.has_ref("unset") is None
    assert copied.attrs == model.attrs and copied.attrs["list"][1] is not model.attrs["list"][1]
    assert copied.ops is model.ops and copied._func is model._func
    grads = copied.layers[0]
    assert_array_equal(grads.get_grad("W"), numpy.ones((4, 3)))
    assert grads.get_grad("W") is not model.layers[0].get_grad("W")
    assert grads.has_grad("unregistered")


@pytest.mark.parametrize("make_copy", [Model.copy, copy.deepcopy])
def test_copies_keep_sharing_and_cycles(make_copy):
    shared = carrier("shared", shims=[shim := Shim(None)])
    outside = carrier("outside")
    root = carrier("root", layers=[shared, shared], shims=[shim], refs={"outside": outside})
    root.layers.append(root)
    copied = make_copy(root)
    assert copied.layers[0] is copied.layers[1] is not shared
    assert copied.layers[2] is copied
    assert copied.shims[0] is copied.layers[0].shims[0] is not shim
    assert copied.shims[0].id != shim.id
    assert copied.has_ref("outside") is None
    assert copied.init.args == (copied,)


def test_copies_keep_the_subclass():
    class Sub(Model):
        pass

    model = Sub("sub", identity_forward, params={"W": numpy.ones(1)})
    model.extra = "kept"
    assert type(model.copy()) is Sub and model.copy().extra == "kept"


def test_shallow_copy_shares_everything():
    model = two_layers()
    shallow = copy.copy(model)
    assert shallow.id == model.id and shallow.layers is model.layers


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_keeps_ids_and_later_models_get_others(protocol, monkeypatch):
    model = two_layers()
    model.set_ref("third", model.layers[1].layers[1])
    data = pickle.dumps(model, protocol)
    highest = max(node.id for node in model.walk())
    monkeypatch.setattr(Model, "global_id", 0)  # as in a new process
    loaded = pickle.loads(data)
    assert [n.id for n in loaded.walk()] == [n.id for n in model.walk()]
    assert carrier().id > highest
    assert loaded.get_ref("third") is loaded.layers[1].layers[1]
    X = numpy.ones((2, 3), dtype="f")
    assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.layers[0].init is model.layers[0].init


def test_default_init_survives_pickling():
    loaded = pickle.loads(pickle.dumps(carrier()))
    assert loaded.initialize() is loaded


# Devices and operators


def test_to_cpu_keeps_dtypes_and_moves_shims():
    log = []
    model = carrier(
        params={"d": numpy.ones(2), "f": numpy.ones(2, dtype="f")}, shims=[LoggingShim(log)]
    )
    model.inc_grad("d", numpy.ones(2))
    model.to_cpu()
    assert model.get_param("d").dtype == "float64" and model.get_grad("d").dtype == "float64"
    assert model.get_param("f").dtype == "float32"
    assert log == [("cpu", -1)]
    assert type(model.ops).__name__ == "NumpyOps"


@pytest.mark.gpu
def test_to_gpu_keeps_dtypes_and_returns_the_device():
    cupy = pytest.importorskip("cupy")
    model = carrier(params={"d": numpy.ones(2)})
    device = model.to_gpu(0)
    assert isinstance(device, cupy.cuda.Device) and device.id == 0
    assert isinstance(model.get_param("d"), cupy.ndarray)
    assert model.get_param("d").dtype == "float64"
    model.to_cpu()
    assert isinstance(model.get_param("d"), numpy.ndarray)


OPERATORS = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b,
    "@": lambda a, b: a @ b, "/": lambda a, b: a / b, "//": lambda a, b: a // b,
    "%": lambda a, b: a % b, "**": lambda a, b: a**b, "<<": lambda a, b: a << b,
    ">>": lambda a, b: a >> b, "&": lambda a, b: a & b, "^": lambda a, b: a ^ b,
    "|": lambda a, b: a | b,
}  # fmt: skip


@pytest.mark.parametrize("symbol", OPERATORS)
def test_operators_are_bound_inside_the_block_only(symbol):
    a, b = carrier("a"), carrier("b")
    with Model.define_operators({symbol: lambda left, right: (symbol, left, right)}):
        assert OPERATORS[symbol](a, b) == (symbol, a, b)
        for other in OPERATORS.keys() - {symbol}:
            with pytest.raises(TypeError, match="Undefined operator"):
                OPERATORS[other](a, b)
    with pytest.raises(TypeError, match="Undefined operator: "):
        OPERATORS[symbol](a, b)


def test_operators_nest_by_replacing_and_end_with_an_exception():
    a = carrier()
    with pytest.raises(RuntimeError):
        with Model.define_operators({"+": lambda x, y: "outer"}):
            with Model.define_operators({"*": lambda x, y: "inner"}):
                assert a * 1 == "inner"
                with pytest.raises(TypeError):
                    a + 1
            assert a + 1 == "outer"
            raise RuntimeError
    assert Model._context_operators.get() == {}


def test_define_operators_is_a_decorator_and_takes_a_snapshot():
    operators = {"+": lambda x, y: "bound"}

    @Model.define_operators(operators)
    def build():
        operators.clear()
        return carrier() + carrier()

    assert build() == "bound"
    with pytest.raises(TypeError):
        1 + carrier()


# Calling


def test_calls_pass_the_mode():
    def forward(model, X, is_train):
        return (X, is_train), lambda dY: dY

    model = Model("mode", forward)
    assert model("X")[0] == ("X", False)
    assert model("X", True)[0] == ("X", True)
    assert model.predict("X") == ("X", False)
    assert model.begin_update("X")[0] == ("X", True)


def test_initialize_infers_dimensions_through_the_layers():
    model = pipeline(affine(4), affine())
    model.initialize(X=numpy.zeros((2, 3), dtype="f"), Y=numpy.zeros((2, 5), dtype="f"))
    assert model.layers[0].get_dim("nI") == 3
    assert (model.layers[1].get_dim("nI"), model.layers[1].get_dim("nO")) == (4, 5)


def test_ops_are_those_of_the_moment_of_construction():
    assert carrier().ops is get_current_ops()
    other = type(get_current_ops())()
    assert carrier(ops=other).ops is other


def test_shim_ids_do_not_collide_with_those_of_models():
    models, shims = [], []

    def work():
        for _ in range(100):
            models.append(carrier())
            shims.append(Shim(None))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({x.id for x in models + shims}) == 800


class Times:
    """A forward function that has no hash."""

    __hash__ = None

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, model, X, is_train):
        return X * self.factor, lambda dY: dY * self.factor


@pytest.mark.parametrize("rows", [2, 9000])
def test_any_callable_is_a_forward_function(rows):
    model = chain(Model("double", Times(2)), with_array(Model("triple", Times(3)), pad=2))
    X = numpy.ones((rows, 3), dtype="f")
    for _ in range(2):
        assert (model.predict(X) == 6).all()
        assert (model.layers[1].predict([X])[0] == 3).all()
        model.freeze()
