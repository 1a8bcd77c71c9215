/* The products and quantisers of ragdot on a GPU: the structs of ragdot.h, with pointers into device memory.

   Every pointer in args (values, scales, out, group numbers) is one that kernels of the current device can use. Calls enqueue
   kernels on a stream and return: they allocate nothing, wait for nothing, read no memory themselves, and can be captured in a
   CUDA graph after a first call like it, which loads kernels. Memory stays in place until the stream has passed the call.
   Conventions of ragdot.h hold: codes, sentences, struct sizes, thread-safety, refused calls write nothing.

   Group numbers are read by the kernels alone, so no call can refuse them. They are clamped: a start to [end of the group
   before, M], an end to [start, M]; wrong numbers give wrong results, and no access outside the operands.

   What the GPU takes, with layouts, and the numerics: docs/cuda.md. A legal call that it does not take is RAGDOT_UNSUPPORTED
   with the way out; a launch that the driver refuses is RAGDOT_FAILED. */
#ifndef RAGDOT_CUDA_H
#define RAGDOT_CUDA_H

#include "ragdot/ragdot.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Tokens of a transposed operand lie side by side, and tgmm reads them from multiples of 16 on. Groups that begin anywhere
   cost it a pass over the operand; quantize_both can place each group at the next multiple of 16 instead. Where: two arrays
   [G] in device memory, of the index type of the groups, which the call writes. */
typedef struct ragdot_cuda_group_places {
  void* starts; /* each group's first row in the copy: a multiple of 16 */
  void* sizes;  /* its rows */
} ragdot_cuda_group_places;

/* A null pointer to options means the defaults. */
typedef struct ragdot_cuda_options {
  size_t struct_size;
  void* stream;            /* a cudaStream_t of the current device; null: its default stream */
  int32_t multiprocessors; /* products run so many blocks, one on each, two at least; quantisers twice as many; 0: all */
  int32_t starts_aligned;  /* tgmm: 1 promises that each group's first row is a multiple of 16, 0 does not. Where the promise is
                              broken, the group's result is wrong, with no access outside the operands */
  const ragdot_cuda_group_places* col_wise_groups; /* quantize_both: not null: col_wise is stored transposed (row_stride 1) with
                                                      aligned groups and has ragdot_cuda_aligned_rows rows or more. What is no
                                                      group's is not written. Its scales are as without. Give tgmm such copies
                                                      whole (M: their rows), groups by starts and sizes, and starts_aligned */
} ragdot_cuda_options;

/* "" when the GPU can be used: libragdot_cuda.so is installed and the current device can run its kernels. Else why not. Valid
   until this thread's next call of this function. */
const char* ragdot_cuda_refusal(void);

/* Scale rows to make room for in a per_group grid with blocks of `block` rows: what the worst sizes of `groups` groups over
   `rows` rows need. Views of per_group scales have so many rows or more. */
static inline int64_t ragdot_cuda_scale_rows(int64_t rows, int64_t groups, int64_t block) {
  const int64_t filled = groups < rows ? groups : rows;
  return filled + (rows - filled) / block;
}

/* Rows to make room for in a copy with aligned groups. */
static inline int64_t ragdot_cuda_aligned_rows(int64_t rows, int64_t groups) { return rows + 15 * groups; }

/* Bytes of device memory, aligned to 128, that a call with these options needs as workspace. Shapes, formats and strides count;
   addresses and group numbers are not looked at. One workspace serves one call at a time: the next may begin once the stream
   has passed it. */
int ragdot_cuda_gmm_workspace_bytes(const ragdot_gmm_args* args, const ragdot_cuda_options* options, size_t* bytes);
int ragdot_cuda_tgmm_workspace_bytes(const ragdot_tgmm_args* args, const ragdot_cuda_options* options, size_t* bytes);
int ragdot_cuda_quantize_workspace_bytes(const ragdot_quantize_args* args, const ragdot_cuda_options* options, size_t* bytes);
int ragdot_cuda_quantize_both_workspace_bytes(const ragdot_quantize_both_args* args, const ragdot_cuda_options* options,
                                              size_t* bytes);

/* As ragdot_gmm and the others say. */
int ragdot_cuda_gmm(const ragdot_gmm_args* args, const ragdot_cuda_options* options, void* workspace, size_t workspace_bytes);
int ragdot_cuda_tgmm(const ragdot_tgmm_args* args, const ragdot_cuda_options* options, void* workspace, size_t workspace_bytes);
int ragdot_cuda_quantize(const ragdot_quantize_args* args, const ragdot_cuda_options* options, void* workspace,
                         size_t workspace_bytes);
int ragdot_cuda_quantize_both(const ragdot_quantize_both_args* args, const ragdot_cuda_options* options, void* workspace,
                              size_t workspace_bytes);

#ifdef __cplusplus
}
#endif

#endif /* RAGDOT_CUDA_H */
