"""Calls of ragdot/cuda.h with memory of the GPU at hand: python3 calls.py FOLDER, which holds libragdot.so and
libragdot_cuda.so. A training step's three products from its quantisers on, groups aligned and not. Ends with the failures."""

import ctypes as c
import importlib.util
import pathlib
import sys

import data
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("abi", ROOT / "python/ragdot/_abi.py")
abi = importlib.util.module_from_spec(spec)
spec.loader.exec_module(abi)

FORMATS = {torch.float32: 1, torch.bfloat16: 2, torch.float8_e4m3fn: 4, torch.float8_e5m2: 5}
E4M3, BF16, F32 = torch.float8_e4m3fn, torch.bfloat16, torch.float32
LOSS = 2.0**-11  # of the sum of the magnitudes of all terms (docs/numerics.md)

failures = []


class Places(c.Structure):
    _fields_ = [("starts", c.c_void_p), ("sizes", c.c_void_p)]


class CudaOptions(c.Structure):
    _fields_ = [("struct_size", c.c_size_t), ("stream", c.c_void_p), ("multiprocessors", c.c_int32), ("starts_aligned", c.c_int32),
                ("col_wise_groups", c.POINTER(Places))]


def expect(name, passed, detail=""):
    if not passed:
        failures.append(name)
        print(f"FAILED {name} {detail}")


def view(t):
    """[rows, cols] or [batch, rows, cols] as it lies."""
    t = t if t.dim() == 3 else t[None]
    return abi.View(t.data_ptr(), FORMATS[t.dtype], *t.shape, t.stride(0) if len(t) > 1 else t.shape[1] * t.shape[2], t.stride(1), t.stride(2))


def operand(values, scales, rows, cols, per_group=False):
    return abi.Operand(view(values), abi.Scales(view(scales), rows, cols, 1 if per_group else 0))


def quantised(values, scales, rows, cols):
    return abi.QuantizedOut(view(values), abi.ScalesOut(view(scales), rows, cols), 0)


def groups(kind, first, second=None):
    return abi.Groups(kind, 1 if first.dtype == torch.int64 else 0, first.data_ptr(), None if second is None else second.data_ptr(), len(first))


class Library:
    def __init__(self, folder):
        self.c = c.CDLL(str(pathlib.Path(folder).resolve() / "libragdot.so"))
        for name in ("ragdot_last_error", "ragdot_cuda_refusal"):
            getattr(self.c, name).restype = c.c_char_p

    def call(self, op, args, starts_aligned=False, places=None):
        """Enqueues on torch's stream; the workspace lives as long as the caller keeps what comes back."""
        args.struct_size = c.sizeof(args)
        options = CudaOptions(c.sizeof(CudaOptions), torch.cuda.current_stream().cuda_stream, 0, int(starts_aligned),
                              c.pointer(places) if places is not None else None)
        size = c.c_size_t()
        self.must(getattr(self.c, f"ragdot_cuda_{op}_workspace_bytes")(c.byref(args), c.byref(options), c.byref(size)))
        workspace = torch.empty(size.value, dtype=torch.uint8, device="cuda")
        self.must(getattr(self.c, f"ragdot_cuda_{op}")(c.byref(args), c.byref(options), c.c_void_p(workspace.data_ptr()), size))
        return workspace

    def must(self, code):
        if code != 0:
            raise RuntimeError(self.c.ragdot_last_error().decode())


def both_copies(library, x, numbers, aligned):
    """Row-wise, and column-wise stored transposed; with the groups' numbers for the latter."""
    m, cols = x.shape
    count = len(numbers)
    rows = m + 15 * count if aligned else m
    row = torch.empty(m, cols, dtype=E4M3, device="cuda")
    row_scales = torch.empty(m, data.ceil(cols, 128), device="cuda")
    column = torch.zeros(cols, data.ceil(rows, 16) * 16, dtype=E4M3, device="cuda")[:, :rows]
    column.view(torch.uint8)[:] = 0x7F  # NaN: what is not written reaches nothing
    worst = min(count, rows) + (rows - min(count, rows)) // 128
    column_scales = torch.empty(worst, data.ceil(cols, 4) * 4, device="cuda")[:, :cols]
    args = abi.QuantizeBothArgs()
    args.input = view(x)
    group_struct = groups(0, numbers)
    args.groups = c.pointer(group_struct)
    args.row_wise = quantised(row, row_scales, 1, 128)
    args.col_wise = quantised(column.t(), column_scales, 128, 1)
    starts, sizes = torch.full_like(numbers, -1), torch.full_like(numbers, -1)
    places = Places(starts.data_ptr(), sizes.data_ptr()) if aligned else None
    library.call("quantize_both", args, places=places)
    return (row, row_scales), (column, column_scales), (starts, sizes)


def within(name, out, exact, total):
    error = (out.double() - exact).abs() / (total * LOSS + exact.abs() * (2.0**-8 if out.dtype == BF16 else 0) + 1e-30)
    expect(name, bool((error <= 1).all()), f"error / bound {error.max().item():.3g}")


def check_step(library, sizes, k, n, index, generator):
    """Forward, the input's gradient, and the weights' gradient both ways."""
    name = f"{sizes} k={k} n={n} {index}"
    counts = torch.tensor(sizes)
    numbers = counts.to(index).cuda()
    m, g = sum(sizes), len(sizes)
    x = torch.randn(m, k, generator=generator, device="cuda").to(BF16)
    dy = torch.randn(m, n, generator=generator, device="cuda").to(BF16)
    w = torch.randn(g, k, n, generator=generator, device="cuda")
    w8, w_scales = data.quantised_squares(w, E4M3)
    results = []
    for aligned in (False, True):
        (x8, x_scales), (xt, xt_scales), (starts, placed) = both_copies(library, x, numbers, aligned)
        _, (dyt, dyt_scales), _ = both_copies(library, dy, numbers, aligned)
        y = torch.full((m, n), float("nan"), dtype=BF16, device="cuda")
        args = abi.GmmArgs()
        args.lhs, args.rhs = operand(x8, x_scales, 1, 128), operand(w8.transpose(1, 2), w_scales, 128, 128)
        args.groups, args.out = groups(0, numbers), view(y)
        library.call("gmm", args)
        within(f"gmm {name}", y, *data.gmm_exact(x8, x_scales, w8, w_scales, counts))

        dw = torch.full((g, k, n), float("nan"), device="cuda")
        args = abi.TgmmArgs()
        args.lhs, args.rhs = operand(xt.t(), xt_scales, 128, 1, True), operand(dyt.t(), dyt_scales, 128, 1, True)
        args.groups = groups(3, starts, placed) if aligned else groups(0, numbers)
        args.out = view(dw)
        library.call("tgmm", args, starts_aligned=aligned)
        results.append(dw)
        if aligned:
            expect(f"places {name}", torch.equal(placed, numbers) and bool((starts % 16 == 0).all()))
            again = torch.full_like(dw, float("nan"))
            args.out = view(again)
            library.call("tgmm", args)  # without the promise
            expect(f"tgmm without the promise {name}", torch.equal(again, dw))
        else:
            within(f"tgmm {name}", dw, *data.tgmm_exact(xt, xt_scales, dyt, dyt_scales, counts))
    expect(f"tgmm aligned {name}", torch.equal(*results))


def check_refusals(library):
    numbers = torch.tensor([4, 4], dtype=torch.int32)  # on the host
    args = abi.GmmArgs()
    a = torch.zeros(8, 16, dtype=BF16, device="cuda")
    b = torch.zeros(2, 16, 16, dtype=BF16, device="cuda")
    out = torch.zeros(8, 16, dtype=BF16, device="cuda")
    args.lhs.values, args.rhs.values, args.out, args.groups = view(a), view(b), view(out), groups(0, numbers)
    try:
        library.call("gmm", args)
        expect("memory of the host is refused", False)
    except RuntimeError as error:
        expect("memory of the host is refused", "the address of the group numbers lies in memory of the host" in str(error), str(error))


def main():
    library = Library(sys.argv[1])
    why = library.c.ragdot_cuda_refusal().decode()
    if why:
        print(why)
        return 1
    generator = torch.Generator(device="cuda").manual_seed(11)
    for index in (torch.int32, torch.int64):
        for sizes in ([256, 128], [1], [0, 130, 0, 1, 17], [300, 5, 0, 129], [3, 127, 128, 129, 255, 64]):
            check_step(library, sizes, 256, 384, index, generator)
            check_step(library, sizes, 144, 80, index, generator)
    check_refusals(library)
    torch.cuda.synchronize()
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
