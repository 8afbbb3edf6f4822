"""Model: a name, a forward function and a few dictionaries. All layers are one."""

import threading
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Generic,
    Iterator,
    List,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
    Union,
)

from . import freezing, model_state, model_tree
from .backends import ParamServer, get_current_ops
from .data_inputs import as_data
from .model_errors import LAYER_ERRORS, add_place
from .model_state import deserialize_attr, serialize_attr
from .predictions import PREDICTIONS
from .util import DATA_VALIDATION, validate_fwd_input_output

if TYPE_CHECKING:
    from .backends import Ops
    from .optimizers import Optimizer
    from .shims import Shim

__all__ = [
    "Model",
    "change_attr_values",
    "context_operators",
    "deserialize_attr",
    "empty_init",
    "serialize_attr",
    "set_dropout_rate",
    "wrap_model_recursive",
]

InT = TypeVar("InT")
OutT = TypeVar("OutT")
SelfT = TypeVar("SelfT", bound="Model")

context_operators: ContextVar[dict] = ContextVar("context_operators", default={})  # noqa: B039


def empty_init(model: "Model", *args, **kwargs) -> "Model":
    """The init of a model that has nothing to initialize."""
    return model


def _operator(symbol: str):
    def operate(self: "Model", other: Any) -> "Model":
        function = context_operators.get().get(symbol)
        if function is None:
            raise TypeError(f"Undefined operator: {symbol}")
        return function(self, other)

    operate.__doc__ = f"`model {symbol} other`, as bound by `Model.define_operators`."
    return operate


class Model(Generic[InT, OutT]):
    """A layer, or a composition of layers.

    name: the type of the layer, for messages and for comparing structures. Not unique.
    forward: `forward(model, X, is_train) -> (Y, backprop)`, where `backprop(dY) -> dX`
        also adds the gradients of the parameters, with `model.inc_grad`.
    init: `init(model, X=None, Y=None)` infers dimensions from a sample of the input and
        of the output and allocates the parameters. None: nothing to do.
    dims: sizes by name; None for one that is to be inferred.
    params: arrays by name; None for one that is to be allocated. Stored by reference.
    layers: the models this one is composed of.
    shims: wrapped objects of other frameworks, see thinc.shims.Shim.
    attrs: settings by name, of any kind; those that msgpack can represent are saved.
    refs: names for nodes of the tree; None for one that is to be set.
    ops: the backend; None takes the current one.

    ValueError, TypeError, KeyError and IndexError that pass through a call or through
    initialize get the place in front: 'relu (layers[1] of "linear>>relu"): ...'.
    """

    global_id: int = 0
    global_id_lock: threading.Lock = threading.Lock()
    _context_operators = context_operators

    name: str
    ops: "Ops"
    id: int
    init: Optional[Callable]
    _func: Callable
    _params: ParamServer
    _dims: Dict[str, Optional[int]]
    _attrs: Dict[str, Any]
    _refs: Dict[str, Optional["Model"]]
    _layers: List["Model"]
    _shims: List["Shim"]
    _has_params: Dict[str, Optional[bool]]
    _frozen: Optional[object]  # what stands for the time since when it is
    _prediction: Optional[Callable[[Any], Any]]  # of a frozen model, in place of _func

    __slots__ = (
        "name",
        "id",
        "ops",
        "_func",
        "init",
        "_params",
        "_dims",
        "_attrs",
        "_refs",
        "_layers",
        "_shims",
        "_has_params",
        "_frozen",
        "_prediction",
    )

    def __init__(
        self,
        name: str,
        forward: Callable,
        *,
        init: Optional[Callable] = None,
        dims: Dict[str, Optional[int]] = {},
        params: Dict[str, Optional[Any]] = {},
        layers: Sequence["Model"] = [],
        shims: Sequence["Shim"] = [],
        attrs: Dict[str, Any] = {},
        refs: Dict[str, Optional["Model"]] = {},
        ops: Optional["Ops"] = None,
    ):
        self.name = name
        self.id = Model._new_id()
        self.ops = get_current_ops() if ops is None else ops
        self._func = forward
        self.init = partial(empty_init, self) if init is None else init
        self._params = ParamServer()
        self._dims = dict(dims)
        self._attrs = dict(attrs)
        self._refs = dict(refs)
        self._layers = list(layers)
        self._shims = list(shims)
        self._has_params = {}
        self._frozen = None
        self._prediction = None
        for param_name, value in params.items():
            self.set_param(param_name, value)

    @staticmethod
    def _new_id(at_least: int = 0) -> int:
        """The next id, unique in this process. Always counted on Model itself."""
        with Model.global_id_lock:
            Model.global_id = max(Model.global_id + 1, at_least)
            return Model.global_id

    # Calling. These methods are the whole cost of a layer beyond its own work.

    def __call__(self, X: InT, is_train: bool = False) -> Tuple[OutT, Callable]:
        """Run the model. Returns the output and the callback for the backward pass."""
        try:
            prediction = self._prediction
            if prediction is None or is_train:
                return self._func(self, X, is_train=is_train)
            return prediction(X), partial(self._backprop_prediction, X)
        except LAYER_ERRORS as error:
            add_place(error, self)
            raise

    def predict(self, X: InT) -> OutT:
        """Run the model for its output only."""
        try:
            prediction = self._prediction
            if prediction is not None:
                return prediction(X)
            predict = PREDICTIONS.by_id.get(id(self._func))
            if predict is not None:
                return predict(self, X)
            return self._func(self, X, is_train=False)[0]
        except LAYER_ERRORS as error:
            add_place(error, self)
            raise

    def _backprop_prediction(self, X: InT, dY: Any) -> Any:
        """The gradient of a frozen model's prediction. Hardly anybody asks for it: the model
        then runs once more."""
        return self._func(self, X, is_train=False)[1](dY)

    def begin_update(
        self, X: InT, *, input_gradient: bool = True
    ) -> Tuple[OutT, Callable[[Any], Any]]:
        """Run the model for training.

        Returns the output and a callback that takes the gradient of the output, adds to
        the gradients of the parameters and returns the gradient of the input.
        input_gradient: False if X is data, whose gradient nobody needs. Dense layers that
            take X then leave it out (for a network on wide inputs, up to a third of a step),
            and the callback returns None.
        """
        try:
            if not input_gradient:
                return self._begin_update_on_data(X)
            return self._func(self, X, is_train=True)
        except LAYER_ERRORS as error:
            add_place(error, self)
            raise

    def _begin_update_on_data(self, X: InT) -> Tuple[OutT, Callable[[Any], None]]:
        with as_data(X):
            Y, backprop = self._func(self, X, is_train=True)

        def backprop_without_input(dY: Any) -> None:
            backprop(dY)

        return Y, backprop_without_input

    def initialize(self: SelfT, X: Optional[InT] = None, Y: Optional[OutT] = None) -> SelfT:
        """Infer missing dimensions from samples of input and output, allocate parameters. Frozen
        nodes have theirs, and keep them.

        Raises DataValidationError inside `data_validation(True)` if the samples do not
        fit the annotations of the forward function.
        """
        if self._frozen:
            return self
        try:
            if DATA_VALIDATION.get():
                validate_fwd_input_output(self.name, self._func, X, Y)
            if self.init is not None:
                self.init(self, X=X, Y=Y)
        except LAYER_ERRORS as error:
            add_place(error, self)
            raise
        return self

    # Frozen models.

    def freeze(self: SelfT) -> SelfT:
        """Fix the parameters of the whole tree, for faster predictions. Returns the model.

        Parameters become copies that cannot be written to, and dense layers keep theirs once
        more in the layout that their kernels read, those on windows of three rows about twice
        more. Predictions are those of before, up to rounding. Training goes on around a frozen
        layer: begin_update passes gradients through it, finish_update leaves it as it is.
        set_param, from_bytes and whatever else would change parameters raise ValueError, until
        `unfreeze`. A copy of the model, and one that is loaded, is not frozen. Arrays on a GPU
        and models of other frameworks cannot be protected: nobody must write to theirs.
        Raises ValueError if a parameter has not been allocated; then nothing is frozen.
        """
        freezing.freeze(self.walk(order="dfs_post"))
        return self

    def unfreeze(self: SelfT) -> SelfT:
        """Undo `freeze`, for the whole tree. Returns the model."""
        freezing.unfreeze(self.walk())
        return self

    @property
    def is_frozen(self) -> bool:
        """Whether this node has been frozen (its layers may have been, or not)."""
        return self._frozen is not None

    # What the model holds.

    @property
    def layers(self) -> List["Model"]:
        """The child models: the list itself, so it can be changed."""
        return self._layers

    @property
    def shims(self) -> List["Shim"]:
        """The wrapped objects of other frameworks: the list itself."""
        return self._shims

    @property
    def attrs(self) -> Dict[str, Any]:
        """The settings: the dict itself."""
        return self._attrs

    @property
    def param_names(self) -> Tuple[str, ...]:
        """Names of the parameters, allocated or not."""
        return tuple(self._has_params)

    @property
    def grad_names(self) -> Tuple[str, ...]:
        """Names of the parameters that have a gradient."""
        return tuple(name for name in self._has_params if self.has_grad(name))

    @property
    def dim_names(self) -> Tuple[str, ...]:
        """Names of the dimensions, set or not."""
        return tuple(self._dims)

    @property
    def ref_names(self) -> Tuple[str, ...]:
        """Names of the references, set or not."""
        return tuple(self._refs)

    @property
    def attr_names(self) -> Tuple[str, ...]:
        """Names of the attributes."""
        return tuple(self._attrs)

    # Dimensions.

    def has_dim(self, name: str) -> Optional[bool]:
        """True if set, None if known but unset, False if unknown."""
        if name not in self._dims:
            return False
        return None if self._dims[name] is None else True

    def get_dim(self, name: str) -> int:
        """Raises KeyError if the name is unknown, ValueError if the value is unset."""
        try:
            value = self._dims[name]
        except KeyError:
            raise KeyError(f"Cannot get dimension '{name}' for model '{self.name}'") from None
        if value is None:
            raise ValueError(f"Cannot get dimension '{name}' for model '{self.name}': value unset")
        return value

    def maybe_get_dim(self, name: str) -> Optional[int]:
        """The value, or None."""
        return self._dims.get(name)

    def set_dim(self, name: str, value: Optional[int], *, force: bool = False) -> None:
        """Set a dimension.

        force: allow another value than the one set, as long as no parameter has a value.
        Raises KeyError if the name is unknown, ValueError for a change that is not allowed.
        """
        try:
            old = self._dims[name]
        except KeyError:
            raise KeyError(
                f"Cannot set unknown dimension '{name}' for model '{self.name}'."
            ) from None
        if old is None or old == value or (force and not any(self._has_params.values())):
            self._dims[name] = value
            return
        raise ValueError(
            f"Attempt to change dimension '{name}' for model '{self.name}' from {old} to {value}"
        )

    # Parameters and their gradients.

    def has_param(self, name: str) -> Optional[bool]:
        """True if allocated, None if known but unset, False if unknown."""
        return self._has_params.get(name, False)

    def get_param(self, name: str) -> Any:
        """The array itself. Raises KeyError if it is unknown or has not been allocated."""
        server = self._params
        try:
            if server.proxy is None:
                return server._params[self.id, name]
            if name in self._has_params:
                return server.get_param(self.id, name)
        except KeyError:
            pass
        if name not in self._has_params:
            raise KeyError(f"Unknown param: '{name}' for model '{self.name}'.")
        raise KeyError(f"Parameter '{name}' for model '{self.name}' has not been allocated yet.")

    def maybe_get_param(self, name: str) -> Optional[Any]:
        """The array itself, or None."""
        return self.get_param(name) if self._has_params.get(name) else None

    def set_param(self, name: str, value: Optional[Any]) -> None:
        """Store an array, by reference. None forgets the array and its gradient.

        Raises ValueError if the model is frozen.
        """
        if self._frozen:
            freezing.check_not_frozen(self, f"set parameter '{name}' of")
        if value is None:
            self._has_params[name] = None
            self._params._params.pop((self.id, name), None)
            self._params._grads.pop((self.id, name), None)
        else:
            self._params.set_param(self.id, name, value)
            self._has_params[name] = True

    def has_grad(self, name: str) -> bool:
        """Whether a gradient is stored, be it zero."""
        return (self.id, name) in self._params._grads

    def get_grad(self, name: str) -> Any:
        """The gradient itself. Raises KeyError if there is none."""
        try:
            return self._params._grads[self.id, name]
        except KeyError:
            raise KeyError(f"No gradient for parameter '{name}' of model '{self.name}'.") from None

    def maybe_get_grad(self, name: str) -> Optional[Any]:
        """The gradient itself, or None."""
        return self._params._grads.get((self.id, name))

    def set_grad(self, name: str, value: Optional[Any]) -> None:
        """Store a gradient, by reference. None forgets it."""
        if value is None:
            self._params._grads.pop((self.id, name), None)
        else:
            self._params.set_grad(self.id, name, value)

    def inc_grad(self, name: str, value: Any) -> None:
        """Add to a gradient. The first one is stored as a copy of `value`. A frozen model
        has no gradients."""
        if self._frozen:
            return
        server = self._params
        if server.proxy is not None:
            server.inc_grad(self.id, name, value)
            return
        grads = server._grads
        key = (self.id, name)
        grad = grads.get(key)
        if grad is None:
            grads[key] = value.copy()
        else:
            grad += value
            grads[key] = grad  # a numpy scalar is not changed in place

    def get_gradients(self) -> Dict[Tuple[int, str], Tuple[Any, Any]]:
        """(node id, name) -> (parameter, gradient), for the whole tree."""
        return {
            (node.id, name): (node.get_param(name), node.get_grad(name))
            for node in self.walk()
            for name in node.grad_names
        }

    def finish_update(self, optimizer: "Optimizer") -> None:
        """Update all parameters that have a gradient, and zero the gradients. Frozen nodes
        stay as they are.

        optimizer: called as `optimizer((node.id, name), param, grad)`, returns the new
            parameter and the new gradient. Of the latter nothing is kept: the stored
            gradient is zeroed, here, unless the optimizer has a true attribute
            `zeroes_gradients`, which promises that it has done it in place. Parameters on
            a GPU are given to its method `update_many`, if it has one, all at once.
        """
        nodes = list(self.walk())
        for node in nodes:
            for shim in node.shims:
                shim.finish_update(freezing.keep_weights if node._frozen else optimizer)
        already_zero = getattr(optimizer, "zeroes_gradients", False)
        update_many = getattr(optimizer, "update_many", None) if already_zero else None
        on_gpu = []
        for node in nodes:
            if node._frozen:
                continue
            for name in node.grad_names:
                grad = node.get_grad(name)
                if update_many is not None and node.ops.name == "cupy":
                    on_gpu.append((node, name, node.get_param(name), grad))
                    continue
                param, _ = optimizer((node.id, name), node.get_param(name), grad)  # type: ignore
                node.set_param(name, param)
                if not already_zero:
                    _zero_grad(node, name, grad)
        if on_gpu and update_many is not None:
            update_many([((node.id, name), param, grad) for node, name, param, grad in on_gpu])
            for node, name, param, _ in on_gpu:
                if node._params.proxy is not None:
                    node.set_param(name, param)

    @contextmanager
    def use_params(self, params: Dict[Tuple[int, str], Any]) -> Iterator[None]:
        """Use other parameters inside the block, such as the averages of an optimizer.

        params: (node id, name) -> array; keys that are not in the tree do not matter.
        Whatever happens in the block or while entering it, the parameters come back.
        """
        with ExitStack() as stack:
            for node in self.walk():
                for name in node.param_names:
                    value = params.get((node.id, name))
                    if value is not None:
                        stack.callback(node.set_param, name, node.get_param(name))
                        node.set_param(name, value)
                for shim in node.shims:
                    stack.enter_context(shim.use_params(params))
            yield

    # References.

    def has_ref(self, name: str) -> Optional[bool]:
        """True if set, None if known but unset, False if unknown."""
        if name not in self._refs:
            return False
        return None if self._refs[name] is None else True

    def get_ref(self, name: str) -> "Model":
        """Raises KeyError if the name is unknown, ValueError if the reference is unset."""
        if name not in self._refs:
            raise KeyError(f"Cannot get reference '{name}' for model '{self.name}'.")
        value = self._refs[name]
        if value is None:
            raise ValueError(f"Cannot get reference '{name}' for model '{self.name}': value unset.")
        return value

    def maybe_get_ref(self, name: str) -> Optional["Model"]:
        """The node, or None."""
        return self._refs.get(name)

    def set_ref(self, name: str, value: Optional["Model"]) -> None:
        """Name a node of this tree, or None. Raises ValueError for a node outside of it."""
        if value is not None and not any(node is value for node in self.walk()):
            raise ValueError("Cannot add reference to node not in tree.")
        self._refs[name] = value

    # Attributes: the dict `attrs`, and methods in the manner of dims, params and refs.

    def has_attr(self, name: str) -> bool:
        """Whether the attribute exists, whatever its value."""
        return name in self._attrs

    def get_attr(self, name: str) -> Any:
        """Raises KeyError if the attribute does not exist."""
        if name not in self._attrs:
            raise KeyError(f"Cannot get attribute '{name}' for model '{self.name}'.")
        return self._attrs[name]

    def set_attr(self, name: str, value: Any) -> None:
        """Set an attribute, new or not."""
        self._attrs[name] = value

    # The tree.

    def walk(self, *, order: str = "bfs") -> Iterator["Model"]:
        """The nodes of the tree, this one included, each once.

        order: "bfs" breadth first; "dfs_pre" depth first, parents before children;
            "dfs_post" depth first, children before parents.
        Raises ValueError for another order.
        """
        return model_tree.walk(self, order)

    def remove_node(self, node: "Model") -> None:
        """Take a node out of all lists of layers below this one, and unset the references
        that would then point out of the tree."""
        model_tree.remove_node(self, node)

    def replace_node(self, old: "Model", new: "Model") -> bool:
        """Put `new` in the place of `old`, in lists of layers and in references.

        Returns whether `old` was found. This node itself cannot be replaced.
        """
        return model_tree.replace_node(self, old, new)

    def replace_callbacks(self, forward: Callable, *, init: Optional[Callable] = None) -> None:
        """Exchange the forward and the init function. Without init, initialize does nothing."""
        self._func = forward
        self.init = init
        self._prediction = None

    def copy(self: SelfT) -> SelfT:
        """A copy of the tree with new ids: parameters, gradients, dims and attributes are
        deep copies, references point to the copied nodes, functions are the same. The copy of
        a frozen model is not frozen."""
        return model_tree.copy_tree(self, _bare_copy, empty_init, {})

    def __deepcopy__(self: SelfT, memo: Dict[int, Any]) -> SelfT:
        return model_tree.copy_tree(self, _bare_copy, empty_init, memo)

    def __getstate__(self) -> Dict[str, Any]:
        state = {name: getattr(self, name) for name in Model.__slots__}
        state.update(getattr(self, "__dict__", {}))  # of a subclass
        state.update(_frozen=None, _prediction=None)  # layouts are this process's own
        return state

    def __setstate__(self, state: Any) -> None:
        # thinc 8.3 pickles a pair: the dict of a subclass or None, and the slots.
        parts = state if isinstance(state, tuple) else (state,)
        self._frozen, self._prediction = None, None
        for part in parts:
            for name, value in (part or {}).items():
                setattr(self, name, value)
        # A model made later must not get an id that this one has brought with it.
        with Model.global_id_lock:
            Model.global_id = max(Model.global_id, self.id)

    # Devices.

    def to_gpu(self, gpu_id: int) -> Any:
        """Move parameters, gradients and shims to a GPU. Returns the cupy device."""
        import cupy.cuda.device

        from .backends import CupyOps

        device = cupy.cuda.device.Device(gpu_id)
        with device:
            self._to_ops(CupyOps(device_id=gpu_id))
        return device

    def to_cpu(self) -> None:
        """Move parameters, gradients and shims to the CPU."""
        from .backends import NumpyOps

        self._to_ops(NumpyOps())

    def _to_ops(self, ops: "Ops") -> None:
        frozen = [node for node in self.walk(order="dfs_post") if node.is_frozen]
        freezing.unfreeze(frozen)
        for node in self.walk():
            node.ops = ops
            for name in node.param_names:
                if node.has_param(name):
                    grad = node.maybe_get_grad(name)
                    node.set_param(name, ops.asarray(node.get_param(name)))
                    if grad is not None:
                        node.set_grad(name, ops.asarray(grad))
            for shim in node.shims:
                shim.to_device(ops.device_type, ops.device_id)
        freezing.freeze(frozen)

    # Saving and loading.

    def to_dict(self) -> Dict[str, Any]:
        """The model's state as a dict of plain data and of the arrays themselves.

        Raises ValueError if a reference points outside of the tree.
        """
        return model_state.to_dict(self)

    def to_bytes(self) -> bytes:
        """The model's state as bytes: see thinc.serialize for the format.

        Attributes that msgpack cannot represent are left out, unless a serializer is
        registered with `serialize_attr`.
        Raises ValueError if a reference points outside of the tree or a parameter's dtype
        cannot be saved.
        """
        return model_state.to_bytes(self)

    def to_disk(self, path: Any) -> None:
        """Write `to_bytes()` to a file. A crash leaves the old file or the new one.

        path: a str or a path; an object with an `open` method of its own is opened with it.
        """
        model_state.to_disk(self, path)

    def from_dict(self: SelfT, msg: Dict[str, Any]) -> SelfT:
        """Load a state into this model, which must have the same structure.

        Everything is checked before anything is changed.
        Raises thinc.serialize.DeserializationError (a ValueError) if it does not fit.
        """
        model_state.from_dict(self, msg)
        return self

    def from_bytes(self: SelfT, data: Union[bytes, bytearray, memoryview]) -> SelfT:
        """Load what `to_bytes` returned into this model, which must have the same structure.

        Everything is checked before anything is changed; loading runs no code that the
        data brings along.
        Raises thinc.serialize.DeserializationError (a ValueError) if it does not fit.
        """
        model_state.from_bytes(self, data)
        return self

    def from_disk(self: SelfT, path: Any) -> SelfT:
        """Load what `to_disk` wrote. Errors as for from_bytes, and those of the file system."""
        model_state.from_bytes(self, model_state.read_file(path))
        return self

    def can_from_dict(self, msg: Dict[str, Any], *, strict: bool = True) -> bool:
        """Whether the state fits this model.

        strict: names of nodes and values of attributes have to agree, too.
        """
        return model_state.can_from_dict(self, msg, strict=strict)

    def can_from_bytes(self, data: bytes, *, strict: bool = True) -> bool:
        """Whether the state fits this model, see can_from_dict."""
        return model_state.can_from_bytes(self, data, strict=strict)

    def can_from_disk(self, path: Any, *, strict: bool = True) -> bool:
        """Whether there is such a file and its state fits this model, see can_from_dict."""
        data = model_state.read_file_if_there(path)
        return data is not None and self.can_from_bytes(data, strict=strict)

    def to_safetensors(self, path: Any) -> None:
        """Write all parameters to a file that other programs can read: safetensors.

        A tensor is called after the place of its node: "layers.0.W", "W" in the root. So are
        weights of JAX and Keras, "layers.1.shims.0.params.W"; other shims become a tensor of
        bytes each. Dims, refs and attributes go into the metadata. A crash leaves the old
        file or the new one.
        Raises ImportError if safetensors is not installed; otherwise as to_bytes.
        """
        from .safetensors_files import to_safetensors

        to_safetensors(self, path)

    def from_safetensors(self: SelfT, path: Any) -> SelfT:
        """Load what `to_safetensors` wrote, or a file of another program whose tensors have
        the same names. The model must have the same structure.

        Everything is checked before anything is changed, most of it before any tensor is
        read; loading runs no code that the file brings along.
        Raises thinc.serialize.DeserializationError (a ValueError) if it does not fit,
        ImportError if safetensors is not installed, and the errors of the file system.
        """
        from .safetensors_files import from_safetensors

        from_safetensors(self, path)
        return self

    # Operators.

    @classmethod
    @contextmanager
    def define_operators(cls, operators: Dict[str, Callable]) -> Iterator[None]:
        """Bind operators to functions of two models inside the block, in this context:

            with Model.define_operators({">>": chain}):
                model = Relu() >> Softmax()

        Symbols: + - * @ / // % ** << >> & ^ |. An inner block replaces the outer one's.
        """
        token = context_operators.set(dict(operators))
        try:
            yield
        finally:
            context_operators.reset(token)

    __add__ = _operator("+")
    __sub__ = _operator("-")
    __mul__ = _operator("*")
    __matmul__ = _operator("@")
    __div__ = _operator("/")
    __truediv__ = _operator("/")
    __floordiv__ = _operator("//")
    __mod__ = _operator("%")
    __pow__ = _operator("**")
    __lshift__ = _operator("<<")
    __rshift__ = _operator(">>")
    __and__ = _operator("&")
    __xor__ = _operator("^")
    __or__ = _operator("|")


def _bare_copy(node: Model) -> Model:
    """A node of the same class, name, functions and ops, without any content."""
    copied = object.__new__(type(node))
    Model.__init__(copied, node.name, node._func, init=node.init, ops=node.ops)
    if node.init is None:
        copied.init = None
    if hasattr(node, "__dict__"):
        copied.__dict__.update(node.__dict__)
    return copied


def _zero_grad(node: Model, name: str, grad: Any) -> None:
    try:
        grad[...] = 0
    except (TypeError, ValueError, IndexError):  # a scalar, or a read-only array
        node.set_grad(name, None)


def change_attr_values(model: Model, mapping: Dict[str, Dict[str, Any]]) -> Model:
    """Change attributes of all nodes of certain names.

    mapping: name of a node -> name of an attribute -> new value. Attributes that a node
        does not have are not added.
    Returns the model.
    """
    for node in model.walk():
        for name, value in mapping.get(node.name, {}).items():
            if name in node.attrs:
                node.attrs[name] = value
    return model


def set_dropout_rate(model: Model, drop: float, attrs: Sequence[str] = ("dropout_rate",)) -> Model:
    """Set the dropout rate of every node that has one. Returns the model.

    attrs: names of the attributes to set.
    """
    for node in model.walk():
        for name in attrs:
            if name in node.attrs:
                node.attrs[name] = drop
    return model


def wrap_model_recursive(model: Model, wrapper: Callable[[Model], Model]) -> Model:
    """Wrap every node of the tree, in place; returns the wrapped root.

    wrapper: called once for each node below the root, breadth first, and for the root at
        the end. A node that stands in several places gets one wrapper for all of them.
    """
    for node in list(model.walk()):
        if node is not model:
            model.replace_node(node, wrapper(node))
    return wrapper(model)
