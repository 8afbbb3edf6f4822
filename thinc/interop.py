"""Arrays of other libraries: telling them apart, and converting to and fro.

No framework is imported to tell whether an object belongs to it: if it is not
loaded, it does not. TensorFlow and MXNet must have been enabled, too.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Optional

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
    return compat.has_tensorflow and isinstance(obj, compat.tensorflow.Tensor)


def is_tensorflow_gpu_array(obj: Any) -> bool:
    """Whether obj is a TensorFlow tensor on a GPU."""
    return is_tensorflow_array(obj) and "GPU:" in obj.device


def is_mxnet_array(obj: Any) -> bool:
    """Whether obj is an MXNet array."""
    return compat.has_mxnet and isinstance(obj, compat.mxnet.nd.NDArray)


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
    the tensor happens to the array. Read-only arrays are copied.
    """
    assert_pytorch_installed()
    if device is None:
        device = get_torch_default_device()
    if is_numpy_array(xp_tensor):
        # torch knows neither read-only memory nor negative strides.
        if not xp_tensor.flags.writeable or any(stride < 0 for stride in xp_tensor.strides):
            xp_tensor = xp_tensor.copy()
    if hasattr(xp_tensor, "__dlpack__"):
        tensor = compat.torch.utils.dlpack.from_dlpack(xp_tensor)
    else:
        tensor = compat.torch.from_numpy(xp_tensor)
    tensor = tensor.to(device)
    return tensor.requires_grad_() if requires_grad else tensor


def torch2xp(torch_tensor: Any, *, ops: Optional[Ops] = None) -> Any:
    """A PyTorch tensor, detached, as an array of ops.

    Without ops: cupy for a tensor on CUDA, else numpy. Memory is shared where the
    device stays the same.
    """
    from .backends import NumpyOps

    assert_pytorch_installed()
    tensor = torch_tensor.detach()
    if is_torch_cuda_array(tensor):
        if isinstance(ops, NumpyOps):
            return tensor.cpu().numpy()
        return compat.cupy_from_dlpack(tensor)
    array = tensor.cpu().numpy()
    return array if ops is None or isinstance(ops, NumpyOps) else _to_cupy(array)


# ---- TensorFlow ------------------------------------------------------------------


def assert_tensorflow_installed() -> None:
    """Raise ImportError, with a hint, unless TensorFlow has been enabled."""
    if not compat.has_tensorflow:
        raise ImportError(
            "TensorFlow support requires tensorflow>=2.0.0,<2.6.0: "
            "pip install thinc[tensorflow]\n\n"
            "Enable TensorFlow support with thinc.api.enable_tensorflow()"
        )


def xp2tensorflow(xp_tensor: Any, requires_grad: bool = False, as_variable: bool = False) -> Any:
    """A numpy or cupy array as a TensorFlow tensor, or variable."""
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
    """A TensorFlow tensor as an array of ops; without ops, of the device it is on."""
    from .backends import NumpyOps

    assert_tensorflow_installed()
    if is_tensorflow_gpu_array(tf_tensor) and not isinstance(ops, NumpyOps):
        return _tensorflow_to_cupy(tf_tensor)
    array = tf_tensor.numpy()
    return array if ops is None or isinstance(ops, NumpyOps) else _to_cupy(array)


def _tensorflow_to_cupy(tf_tensor: Any) -> Any:
    return compat.cupy_from_dlpack(compat.tensorflow.experimental.dlpack.to_dlpack(tf_tensor))


# ---- MXNet -----------------------------------------------------------------------


def assert_mxnet_installed() -> None:
    """Raise ImportError, with a hint, unless MXNet has been enabled."""
    if not compat.has_mxnet:
        raise ImportError(
            "MXNet support requires mxnet: pip install thinc[mxnet]\n\n"
            "Enable MXNet support with thinc.api.enable_mxnet()"
        )


def xp2mxnet(xp_tensor: Any, requires_grad: bool = False) -> Any:
    """A numpy or cupy array as an MXNet array. Host memory is copied."""
    assert_mxnet_installed()
    if is_cupy_array(xp_tensor):
        tensor = compat.mxnet.nd.from_dlpack(xp_tensor.toDlpack())
    else:
        # Without the copy, MXNet would make the caller's array read-only.
        tensor = compat.mxnet.nd.from_numpy(xp_tensor.copy())
    if requires_grad:
        tensor.attach_grad()
    return tensor


def mxnet2xp(mx_tensor: Any, *, ops: Optional[Ops] = None) -> Any:
    """An MXNet array as an array of ops; without ops, of the device it is on."""
    from .backends import NumpyOps

    assert_mxnet_installed()
    if is_mxnet_gpu_array(mx_tensor) and not isinstance(ops, NumpyOps):
        return compat.cupy_from_dlpack(mx_tensor.to_dlpack_for_write())
    array = mx_tensor.detach().asnumpy()
    return array if ops is None or isinstance(ops, NumpyOps) else _to_cupy(array)


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
    if is_mxnet_gpu_array(obj):
        return compat.cupy_from_dlpack(obj.to_dlpack_for_write())
    return None
