"""The device half of ragdot (src/cuda/launch.hpp) over torch tensors: what checks and timings on a GPU call."""

import ctypes as c
import os

import torch

INTERFACE = 2  # kInterface of launch.hpp, whose structs these are
FORMATS = {torch.float32: 1, torch.bfloat16: 2, torch.float8_e4m3fn: 4, torch.float8_e5m2: 5}


class GroupNumbers(c.Structure):
    _fields_ = [("kind", c.c_int32), ("index_bits", c.c_int32), ("data", c.c_void_p), ("sizes", c.c_void_p),
                ("count", c.c_int32), ("first", c.c_int32), ("local", c.c_int32)]


class Lines(c.Structure):
    _fields_ = [("data", c.c_void_p), ("format", c.c_int32), ("lines", c.c_int64), ("length", c.c_int64),
                ("pitch_bytes", c.c_int64), ("batch", c.c_int64), ("batch_pitch_bytes", c.c_int64)]


class ScaleGrid(c.Structure):
    _fields_ = [("data", c.c_void_p), ("batch_stride", c.c_int64), ("row_stride", c.c_int64), ("col_stride", c.c_int64)]


class Product(c.Structure):
    _fields_ = [("op", c.c_int32), ("m", c.c_int64), ("k", c.c_int64), ("n", c.c_int64), ("a", Lines), ("b", Lines),
                ("a_across", c.c_bool), ("b_across", c.c_bool), ("a_scales", ScaleGrid), ("b_scales", ScaleGrid),
                ("groups", GroupNumbers), ("out", c.c_void_p), ("out_format", c.c_int32), ("out_pitch", c.c_int64),
                ("out_batch_pitch", c.c_int64), ("accumulate", c.c_bool), ("zero_outside", c.c_bool), ("starts_aligned", c.c_bool),
                ("multiprocessors", c.c_int32), ("workspace", c.c_void_p)]


class DeviceHalf(c.Structure):
    _fields_ = [("interface", c.c_int32), ("refusal", c.CFUNCTYPE(c.c_char_p)),
                ("product", c.CFUNCTYPE(c.c_char_p, c.POINTER(Product), c.c_void_p)),
                ("quantize", c.CFUNCTYPE(c.c_char_p, c.c_void_p, c.c_void_p))]


def load(path):
    library = c.CDLL(os.path.abspath(path))
    library.ragdot_cuda_device_half.restype = c.POINTER(DeviceHalf)
    half = library.ragdot_cuda_device_half().contents
    if half.interface != INTERFACE:
        raise RuntimeError(f"{path} has interface {half.interface} and half.py {INTERFACE}; build both from one source")
    why = half.refusal()
    if why:
        raise RuntimeError(why.decode())
    return half


def lines(t):
    """The last axis is contiguous; [lines, length] or [batch, lines, length]."""
    assert t.stride(-1) == 1
    batch = t.shape[0] if t.dim() == 3 else 1
    size = t.element_size()
    return Lines(t.data_ptr(), FORMATS[t.dtype], t.shape[-2], t.shape[-1], t.stride(-2) * size, batch,
                 t.stride(0) * size if t.dim() == 3 else 0)


def groups(sizes, starts=None, first=0, local=None):
    """Touching groups of these sizes, or groups that begin at `starts`."""
    data, kind = (sizes, 0) if starts is None else (starts, 3)
    return GroupNumbers(kind, 64 if sizes.dtype == torch.int64 else 32, data.data_ptr(), sizes.data_ptr() if kind == 3 else None,
                        len(sizes), first, len(sizes) if local is None else local)


def grid(scales):
    if scales is None:
        return ScaleGrid(None, 0, 0, 0)
    return ScaleGrid(scales.data_ptr(), scales.stride(0) if scales.dim() == 3 else 0, scales.stride(-2), scales.stride(-1))


def up(x, to):
    return -(-x // to) * to


def workspace_bytes(p):
    """product_workspace_bytes of launch.hpp."""
    local = p.groups.local
    spans = 2 * local + 1 if p.op == 0 else local
    bytes_ = 128 + up(spans * 28, 128) + (local * 256 if p.op == 1 else 0)
    if p.op == 1 and not p.starts_aligned:
        pitch = up(p.m + 16 * (local + 1), 16) * (2 if p.a.format == FORMATS[torch.bfloat16] else 1)
        bytes_ += (0 if p.a_across else up(p.k * pitch, 128)) + (0 if p.b_across else p.n * pitch)
    return bytes_


def prepared(half, op, a, b, out, sizes, a_scales=None, b_scales=None, a_across=False, b_across=False, accumulate=False,
             zero_outside=True, multiprocessors=0, first=0, local=None, m=None, starts=None, starts_aligned=False):
    """A function that enqueues the product, and the struct that it keeps alive."""
    p = Product()
    p.op = {"gmm": 0, "tgmm": 1}[op]
    if op == "gmm":
        p.m, p.k, p.n = out.shape[0], a.shape[-1], out.shape[1]
    else:
        p.m, p.k, p.n = (a.shape[0] if a_across else a.shape[1]) if m is None else m, out.shape[1], out.shape[2]
        p.out_batch_pitch = out.stride(0)
    p.a, p.b, p.a_across, p.b_across = lines(a), lines(b), a_across, b_across
    p.a_scales, p.b_scales = grid(a_scales), grid(b_scales)
    p.groups = groups(sizes, starts, first=first, local=local)
    p.starts_aligned = starts_aligned
    p.out, p.out_format, p.out_pitch = out.data_ptr(), FORMATS[out.dtype], out.stride(-2)
    p.accumulate, p.zero_outside, p.multiprocessors = accumulate, zero_outside, multiprocessors
    workspace = torch.empty(workspace_bytes(p), dtype=torch.uint8, device="cuda")
    p.workspace = workspace.data_ptr()
    keep = (p, workspace, a, b, out, sizes, starts, a_scales, b_scales)

    def run():
        assert keep
        why = half.product(c.byref(p), c.c_void_p(torch.cuda.current_stream().cuda_stream))
        if why:
            raise RuntimeError(why.decode())

    return run
