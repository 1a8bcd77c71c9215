"""Large pages for large results.

Memory that PyTorch's allocator has just got from the system is given to the process page by page, as it is written: of 4 KiB, 46 MB take
as long as the product that fills them (decision 123). glibc gives blocks of 32 MiB and more back to the system when they are freed,
so that every step of a training loop pays. numpy asks for large pages in the same way.
"""

import ctypes

import torch

LARGE_BYTES = 4 << 20
_PAGE = 2 << 20
_MADV_HUGEPAGE = 14
_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def with_large_pages(x: torch.Tensor) -> torch.Tensor:
    """x, unwritten and dense; where it is large, the system is asked for large pages. A wish: refused, it is memory all the same."""
    if x.nbytes >= LARGE_BYTES:
        begin = -(-x.data_ptr() // _PAGE) * _PAGE
        end = (x.data_ptr() + x.nbytes) // _PAGE * _PAGE
        if end > begin:
            _madvise(begin, end - begin, _MADV_HUGEPAGE)
    return x
