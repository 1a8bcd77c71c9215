"""The handlers of libragdot_jax.so: loaded, registered with XLA, and called from traced code."""

import ctypes
import os
from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ragdot._library import installed

# By XLA's names of platforms.
_NAMES = {"cpu": ("gmm", "tgmm", "quantize", "quantize_both"), "CUDA": ("cuda_gmm", "cuda_tgmm", "cuda_quantize")}


def _register(names_of: dict[str, tuple[str, ...]]) -> None:
    """A handler loads where XLA's interface is as new as the headers that it was built with, or newer."""
    if other := os.environ.get("RAGDOT_LIBRARY"):
        path = Path(other).with_name("libragdot_jax.so")
    else:
        path = installed("lib/libragdot_jax.so")
    if not path.exists():
        raise ImportError(f"ragdot.jax: {path} does not exist; build with the headers of jaxlib, as the wheel is")
    library = ctypes.CDLL(str(path))
    for platform, names in names_of.items():
        for name in names:
            jax.ffi.register_ffi_target(f"ragdot_{name}", jax.ffi.pycapsule(getattr(library, f"ragdot_jax_{name}")), platform=platform)


_register(_NAMES)


def varying_axes(x: Any) -> frozenset[Hashable]:
    """Axes of the mesh along which x differs from device to device, as shard_map with check_vma knows them."""
    aval = jax.typeof(x)
    kind = getattr(aval, "manual_axis_type", None)  # its name from jax 0.10 on
    return frozenset(getattr(aval, "vma", ()) if kind is None else kind.varying)


def _vary(x: Any, axes: frozenset[Hashable]) -> Any:
    missing = tuple(sorted(axes - varying_axes(x), key=str))
    if not missing:
        return x
    if hasattr(jax.lax, "pcast"):
        return jax.lax.pcast(x, missing, to="varying")
    return jax.lax.pvary(x, missing)  # type: ignore[attr-defined]  # its name in jax 0.8


def whole(x: Any) -> Any:
    """x on every device, where a mesh with explicit axes has parts of it on each."""
    sharding = jax.typeof(x).sharding
    if all(axis is None for axis in sharding.spec):
        return x
    return jax.sharding.reshard(x, sharding.update(spec=jax.sharding.PartitionSpec(*(None,) * x.ndim)))


@jax.tree_util.register_static
@dataclass(frozen=True)
class Placement:
    """The type of a value that its gradient has to have, besides the shape."""

    dtype: np.dtype
    axes: frozenset[Hashable]
    sharding: Any

    @staticmethod
    def of(x: Any) -> "Placement":
        return Placement(x.dtype, varying_axes(x), jax.typeof(x).sharding)

    def gradient(self, x: Any) -> Any:
        """Its gradient from the parts that devices have: their sum, where the value is the same on several of them."""
        extra = tuple(sorted(varying_axes(x) - self.axes, key=str))
        x = jax.lax.psum(x, extra) if extra else x
        # On meshes with explicit axes a handler's result is whole on every device. A value of no mesh has a gradient of none.
        return x if self.sharding.mesh.empty or jax.typeof(x).sharding == self.sharding else jax.sharding.reshard(x, self.sharding)


def as_bytes(x: Any) -> Any:
    """FP8 numbers as uint8, others as they are. On a CPU, XLA makes float16 of FP8 numbers and back where a loop stacks them, as scan does with
    what is kept for the way back, and vmap with results: loops get bytes."""
    return jax.lax.bitcast_convert_type(x, jnp.uint8) if x.dtype.itemsize == 1 and x.dtype != jnp.int8 else x


def of_bytes(x: Any, dtype: np.dtype) -> Any:
    """What as_bytes was given."""
    return x if x.dtype == dtype else jax.lax.bitcast_convert_type(x, dtype)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _call(name: str, results: tuple[jax.ShapeDtypeStruct, ...], attributes: tuple[tuple[str, Any], ...], *operands: Any) -> tuple[Any, ...]:
    # shard_map wants operands that vary along the same axes, and takes the results for values that do not vary.
    axes = frozenset[Hashable]().union(*map(varying_axes, operands))
    numbers = {key: np.array(value, np.int64) if isinstance(value, tuple) else np.int64(value) for key, value in attributes}
    call = jax.ffi.ffi_call(f"ragdot_{name}", results)

    @jax.custom_batching.sequential_vmap
    def on_bytes(*operands: Any) -> tuple[Any, ...]:
        return tuple(map(as_bytes, call(*map(of_bytes, operands, dtypes), **numbers)))

    dtypes = [x.dtype for x in operands]
    made = on_bytes(*(as_bytes(_vary(x, axes)) for x in operands))
    return tuple(_vary(of_bytes(x, result.dtype), axes) for x, result in zip(made, results))


@_call.defjvp
def _call_jvp(name: str, results: Any, attributes: Any, primals: Any, tangents: Any) -> Any:
    raise NotImplementedError(f"ragdot.jax.{name} has no gradient; use ragdot.jax.ragged_dot, which quantises inside, or put "
                              "jax.lax.stop_gradient around what you give it")  # fmt: skip


def call(name: str, results: tuple[jax.ShapeDtypeStruct, ...], *operands: Any, **attributes: int | tuple[int, ...]) -> tuple[Any, ...]:
    """Calls a handler, on each device by itself in shard_map, for each element of a batch in turn under vmap."""
    return _call(name, results, tuple(attributes.items()), *operands)
