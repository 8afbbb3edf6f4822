"""Arrays of other libraries: telling them apart, and converting to and fro.

No framework is imported to tell whether an object belongs to it: if it is not
loaded, it does not. A conversion imports the framework it needs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn, Optional

import numpy

from . import compat

if TYPE_CHECKING:
    from .backends import Ops


def is_numpy_array(obj: Any) -> bool:
    """Whether obj is a numpy array."""
    return isinstance(obj, numpy.ndarray)


def is_cupy_array(obj: Any) -> bool:
    """Whether obj is a cupy array."""
    return _is_instance(obj, "cupy", "ndarray")


def is_xp_array(obj: Any) -> bool:
    """Whether obj is a numpy or cupy array."""
    return is_numpy_array(obj) or is_cupy_array(obj)


def is_torch_array(obj: Any) -> bool:
    """Whether obj is a PyTorch tensor."""
    return _is_instance(obj, "torch", "Tensor")


def is_torch_cuda_array(obj: Any) -> bool:
    """Whether obj is a PyTorch tensor on a CUDA device."""
    return is_torch_array(obj) and obj.is_cuda


def is_torch_mps_array(obj: Any) -> bool:
    """Whether obj is a PyTorch tensor on a Mac's GPU."""
    return is_torch_array(obj) and getattr(obj, "is_mps", False)


def is_torch_gpu_array(obj: Any) -> bool:
    """Whether obj is a PyTorch tensor on a GPU."""
    return is_torch_cuda_array(obj) or is_torch_mps_array(obj)


def is_tensorflow_array(obj: Any) -> bool:
    """Whether obj is a TensorFlow tensor (a Variable is not)."""
    return _is_instance(obj, "tensorflow", "Tensor")


def is_tensorflow_gpu_array(obj: Any) -> bool:
    """Whether obj is a TensorFlow tensor on a GPU."""
    return is_tensorflow_array(obj) and "GPU:" in obj.device


def is_jax_array(obj: Any) -> bool:
    """Whether obj is a JAX array, a traced one included."""
    return _is_instance(obj, "jax", "Array")


def is_mxnet_array(obj: Any) -> bool:
    """Whether obj is an MXNet array."""
    cls = getattr(getattr(sys.modules.get("mxnet"), "nd", None), "NDArray", None)
    return cls is not None and isinstance(obj, cls)


def is_mxnet_gpu_array(obj: Any) -> bool:
    """Whether obj is an MXNet array on a GPU."""
    return is_mxnet_array(obj) and obj.context.device_type != "cpu"


def _is_instance(obj: Any, module_name: str, class_name: str) -> bool:
    cls = getattr(sys.modules.get(module_name), class_name, None)
    return cls is not None and isinstance(obj, cls)


def get_array_module(arr: Any) -> Any:
    """numpy or cupy, whichever arr is an array of. Raises ValueError for anything else."""
    if is_numpy_array(arr):
        return numpy
    if is_cupy_array(arr):
        return compat.cupy
    raise ValueError(
        f"Only numpy and cupy arrays are supported, but found {type(arr)} instead. If "
        "get_array_module module wasn't called directly, this might indicate a bug in Thinc."
    )


def to_numpy(data: Any) -> Any:
    """data as a numpy array: itself if it is one, else a copy."""
    if is_numpy_array(data):
        return data
    if is_cupy_array(data):
        return data.get()
    return numpy.array(data)


def copy_array(dst: Any, src: Any) -> None:
    """Copy src into dst, an array of numpy or cupy, in place and with broadcasting."""
    if is_numpy_array(dst):
        numpy.copyto(dst, src.get() if is_cupy_array(src) else src)
    else:
        xp = get_array_module(dst)
        xp.copyto(dst, xp.asarray(src))


# ---- PyTorch ---------------------------------------------------------------------


def assert_pytorch_installed() -> None:
    """Raise ImportError, with a hint, unless PyTorch can be imported."""
    if not compat.has_torch:
        raise ImportError("PyTorch support requires torch: pip install thinc[torch]")


def get_torch_default_device() -> Any:
    """The torch.device for the current Ops: CUDA for CupyOps, MPS for MPSOps, else CPU."""
    from .backends import CupyOps, MPSOps, get_current_ops

    if not compat.has_torch:
        raise ValueError("Cannot get default Torch device when Torch is not available.")
    torch = compat.torch
    ops = get_current_ops()
    if isinstance(ops, CupyOps):
        return torch.device(f"cuda:{torch.cuda.current_device()}")
    return torch.device("mps" if isinstance(ops, MPSOps) else "cpu")


def xp2torch(xp_tensor: Any, requires_grad: bool = False, device: Optional[Any] = None) -> Any:
    """A numpy or cupy array as a PyTorch tensor on device (default: the current Ops's).

    On the same device they share memory, so that what an in-place module does to
    the tensor happens to the array. What PyTorch cannot share is copied: read-only
    arrays, negative strides, foreign byte orders, strides that are no multiple of the
    item size. A tensor comes back detached, sharing its memory.
    requires_grad: record gradients of the result, which is a leaf; floats only.

    Raises ImportError without PyTorch, TypeError for what is no array or holds no numbers.
    """
    assert_pytorch_installed()
    if device is None:
        device = get_torch_default_device()
    if is_numpy_array(xp_tensor):
        tensor = _numpy2torch(xp_tensor)
    elif is_torch_array(xp_tensor):
        tensor = xp_tensor.detach()
    elif hasattr(xp_tensor, "__dlpack__"):
        if any(stride < 0 for stride in getattr(xp_tensor, "strides", ())):
            xp_tensor = xp_tensor.copy()
        tensor = compat.torch.utils.dlpack.from_dlpack(xp_tensor)
    else:
        raise TypeError(
            f"xp2torch expects a numpy or cupy array, got an object of type "
            f"{type(xp_tensor).__name__}."
        )
    if tensor.device != device:
        tensor = tensor.to(device)
    return tensor.requires_grad_() if requires_grad else tensor


def _numpy2torch(array: numpy.ndarray) -> Any:
    from_numpy = compat.torch.from_numpy
    if array.flags.writeable:
        try:
            return from_numpy(array)
        except ValueError:  # strides or byte order that torch does not know
            pass
    native = array.dtype.newbyteorder("=")
    return from_numpy(numpy.array(array, dtype=native, order="C", copy=True))


def torch2xp(torch_tensor: Any, *, ops: Optional[Ops] = None) -> Any:
    """A PyTorch tensor, detached, as an array of ops.

    Without ops: cupy for a tensor on CUDA, else numpy. Memory is shared where the
    device stays the same and the array library has the dtype: bfloat16, which it does
    not have, is copied to float32.

    Raises ImportError without PyTorch or, for cupy arrays, CuPy; TypeError for what is no
    tensor, is sparse, or is of another dtype unknown to NumPy.
    """
    assert_pytorch_installed()
    if not is_torch_array(torch_tensor):
        raise TypeError(
            f"torch2xp expects a torch.Tensor, got an object of type {type(torch_tensor).__name__}."
        )
    if torch_tensor.dtype is compat.torch.bfloat16:
        torch_tensor = torch_tensor.detach().float()
    if ops is None and not torch_tensor.is_cuda:
        return torch_tensor.numpy(force=True)
    from .backends import NumpyOps

    if isinstance(ops, NumpyOps):
        return torch_tensor.numpy(force=True)
    if not torch_tensor.is_cuda:
        return _to_cupy(torch_tensor.numpy(force=True))
    if compat.cupy_from_dlpack is None:
        raise ImportError(
            "A CUDA tensor becomes a cupy array, but CuPy is not installed: pip install "
            "thinc[cuda12x], or ask for a numpy array with torch2xp(tensor, ops=NumpyOps())."
        )
    # CuPy knows neither lazy conjugation nor lazy negation.
    return compat.cupy_from_dlpack(torch_tensor.detach().resolve_conj().resolve_neg())


# ---- TensorFlow ------------------------------------------------------------------


def assert_tensorflow_installed() -> None:
    """Import TensorFlow. Raises ImportError, with a hint, if that is not possible."""
    try:
        compat.load_tensorflow()
    except ImportError as error:
        raise ImportError(
            "TensorFlow support requires tensorflow>=2.16: pip install thinc[tensorflow] "
            f"({error})"
        ) from error


def xp2tensorflow(xp_tensor: Any, requires_grad: bool = False, as_variable: bool = False) -> Any:
    """A numpy or cupy array as a TensorFlow tensor, or variable.

    requires_grad: let gradients flow through the tensor; as_variable: make the variable
    a trainable one. Host memory is copied, because TensorFlow's tensors never change;
    cupy's is shared.
    """
    assert_tensorflow_installed()
    tf = compat.tensorflow
    if is_cupy_array(xp_tensor):
        tensor = tf.experimental.dlpack.from_dlpack(xp_tensor.__dlpack__())
    else:
        # TensorFlow aborts on DLPack memory that is not aligned as its own is.
        tensor = tf.convert_to_tensor(xp_tensor)
    if as_variable:
        with tf.device(tensor.device):
            return tf.Variable(tensor, trainable=requires_grad)
    return tensor if requires_grad else tf.stop_gradient(tensor)


def tensorflow2xp(tf_tensor: Any, *, ops: Optional[Ops] = None) -> Any:
    """A TensorFlow tensor (or variable) as an array of ops; without ops, of its device.

    numpy arrays are copies, hence writable; cupy arrays share the tensor's memory.
    """
    from .backends import NumpyOps

    assert_tensorflow_installed()
    if "GPU:" in tf_tensor.device and not isinstance(ops, NumpyOps):
        return _tensorflow_to_cupy(compat.tensorflow.convert_to_tensor(tf_tensor))
    array = tf_tensor.numpy()
    return array if ops is None or isinstance(ops, NumpyOps) else _to_cupy(array)


def _tensorflow_to_cupy(tf_tensor: Any) -> Any:
    return compat.cupy_from_dlpack(compat.tensorflow.experimental.dlpack.to_dlpack(tf_tensor))


# ---- JAX -------------------------------------------------------------------------


def assert_jax_installed() -> None:
    """Raise ImportError, with a hint, unless JAX can be imported."""
    if not compat.has_jax:
        raise ImportError("JAX support requires jax>=0.4.36: pip install thinc[jax]")


def get_jax_default_device() -> Any:
    """The jax.Device for the current Ops: a GPU for CupyOps, else the CPU."""
    from .backends import CupyOps, get_current_ops

    assert_jax_installed()
    if not isinstance(get_current_ops(), CupyOps):
        return compat.jax.devices("cpu")[0]
    return compat.jax.devices("gpu")[compat.cupy.cuda.runtime.getDevice()]


def xp2jax(xp_tensor: Any, device: Optional[Any] = None) -> Any:
    """A numpy or cupy array as a JAX array on device (default: the current Ops's).

    On the same device they share memory where JAX can take it as it is (numpy: C order,
    aligned to 64 bytes): until JAX is done with it, the array must not be changed. JAX
    makes 64-bit numbers 32-bit ones unless its option jax_enable_x64 is set.
    """
    assert_jax_installed()
    jax = compat.jax
    if device is None:
        device = get_jax_default_device()
    if is_cupy_array(xp_tensor):
        return jax.device_put(jax.dlpack.from_dlpack(xp_tensor), device)
    if is_numpy_array(xp_tensor) and xp_tensor.dtype.byteorder == _FOREIGN_ORDER:
        xp_tensor = xp_tensor.astype(xp_tensor.dtype.newbyteorder("="))
    return jax.device_put(xp_tensor, device)


_FOREIGN_ORDER = ">" if sys.byteorder == "little" else "<"


def jax2xp(jax_array: Any, *, ops: Optional[Ops] = None) -> Any:
    """A JAX array as an array of ops; without ops, of the device it is on.

    Memory is shared where the device stays the same. JAX's arrays never change, so that
    the numpy array is read-only: copy it before you write to it.
    """
    from .backends import NumpyOps

    assert_jax_installed()
    wants_numpy = ops is None or isinstance(ops, NumpyOps)
    if isinstance(ops, NumpyOps) or _jax_platform(jax_array) == "cpu":
        array = numpy.asarray(jax_array)
        return array if wants_numpy else _to_cupy(array)
    if not compat.has_cupy:
        return numpy.asarray(jax_array)
    return compat.cupy_from_dlpack(jax_array)


def _jax_platform(jax_array: Any) -> str:
    return next(iter(jax_array.devices())).platform


# ---- MXNet -----------------------------------------------------------------------


def assert_mxnet_installed() -> NoReturn:
    """Raises ImportError: MXNet is retired upstream. The message says what to use instead."""
    raise ImportError(compat.MXNET_IS_RETIRED)


def xp2mxnet(xp_tensor: Any, requires_grad: bool = False) -> Any:
    """Raises ImportError: MXNet is retired upstream. The message says what to use instead."""
    assert_mxnet_installed()


def mxnet2xp(mx_tensor: Any, *, ops: Optional[Ops] = None) -> Any:
    """Raises ImportError: MXNet is retired upstream. The message says what to use instead."""
    assert_mxnet_installed()


# ---- for CupyOps -------------------------------------------------------------------


def _to_cupy(array: Any) -> Any:
    if not compat.has_cupy:
        raise ImportError("This ops needs a cupy array, but CuPy is not installed.")
    return compat.cupy.asarray(array)


def device_tensor_as_cupy(obj: Any) -> Any:
    """A GPU tensor of another framework as a cupy array that shares its memory, else None."""
    if is_torch_cuda_array(obj):
        return compat.cupy_from_dlpack(obj.detach())
    if is_tensorflow_gpu_array(obj):
        return _tensorflow_to_cupy(obj)
    if is_jax_array(obj) and _jax_platform(obj) != "cpu":
        return compat.cupy_from_dlpack(obj)
    return None
