"""A few small products of every family for compute-sanitizer: python3 sanitize.py LIBRARY. Sizes meet every edge: empty groups,
tails of tiles, rows outside, columns that no whole store fits."""

import sys

import check
import edges
import half as device_half
import torch


def main():
    half = device_half.load(sys.argv[1])
    generator = torch.Generator(device="cuda").manual_seed(7)
    sizes = [3, 0, 130, 40]
    for formats in ((check.E4M3, check.E5M2), (check.BF16, check.BF16)):
        for out_dtype in (check.BF16, check.F32):
            check.check_gmm(half, generator, sizes, 180, 272, 136, formats, out_dtype, True)
            check.check_gmm(half, generator, [0, 1030], 1037, 272, 136, formats, out_dtype, True)  # tiles of 192 rows
            check.check_tgmm(half, generator, sizes, 180, 144, 136, formats, out_dtype, True)
            check.check_tgmm(half, generator, sizes, 180, 192, 136, formats, out_dtype, True)
    edges.check_wrong_numbers(half, generator, m=180, k=144)
    edges.check_gaps(half, generator)
    print(f"{len(check.failures)} failures")
    return 1 if check.failures else 0


if __name__ == "__main__":
    sys.exit(main())
