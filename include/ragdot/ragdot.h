/* The C interface of ragdot: grouped matrix multiplication with block-scaled FP8, for C and for foreign function interfaces.

   Conventions of every function that returns int: RAGDOT_OK, or another code below with one sentence in
   ragdot_last_error(). A refused call has written nothing into its outputs. Nothing is aborted or thrown, and nothing is
   printed but plans where the environment has RAGDOT_VERBOSE=1. All functions are thread-safe; a thread must not be cancelled
   (pthread_cancel) within one. Variables of the environment are read once, at the first call. Pointers are borrowed for the
   call only, unless a comment says otherwise.

   Structs that begin with struct_size are set to zero first, then struct_size to sizeof(the struct), then what is needed:
   zero is the default of every field that may be left out. A library takes the smaller structs of older headers (fields they
   lack are zero) and refuses larger ones, and sizes that no header had. The structs without struct_size never change.

   Meaning of the operations, field by field: docs/api.md; numerics: docs/numerics.md. */
#ifndef RAGDOT_RAGDOT_H
#define RAGDOT_RAGDOT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of this header; ragdot_version() is that of the library. */
#define RAGDOT_VERSION_MAJOR 0
#define RAGDOT_VERSION_MINOR 1
#define RAGDOT_VERSION_PATCH 0

/* ---- results ---------------------------------------------------------------------------------------------------------- */

enum {
  RAGDOT_OK = 0,
  RAGDOT_INVALID_ARGUMENT = 1, /* the call breaks a rule; the message says which and what to change */
  RAGDOT_UNSUPPORTED = 2,      /* not offered here: a format pair, a kernel this CPU cannot run */
  RAGDOT_OUT_OF_MEMORY = 3,    /* an allocation failed */
  RAGDOT_FAILED = 4 /* an exception of the caller's executor, or one nobody expected, ended at this border, or the driver
                       of a GPU refused a launch; outputs
                       may be half written */
};

/* The sentence of this thread's last call that was not RAGDOT_OK; "" before the first one. Valid until this thread's next
   refused call. */
const char* ragdot_last_error(void);

/* "0.1.0". Static. */
const char* ragdot_version(void);

/* ---- numbers that mean something: fields and arguments of type int32_t ------------------------------------------------- */

/* Formats of values, scales and outputs. */
enum {
  RAGDOT_NONE = 0, /* absent */
  RAGDOT_F32 = 1,
  RAGDOT_BF16 = 2,
  RAGDOT_F16 = 3,  /* outputs of products, inputs of quantisers */
  RAGDOT_E4M3 = 4, /* OCP E4M3FN: max 448, NaN 0x7F and 0xFF, no Inf */
  RAGDOT_E5M2 = 5, /* OCP E5M2: max 57344, Inf and NaN */
  RAGDOT_I8 = 6,
  RAGDOT_E8M0 = 7 /* scales only: 2^(code - 127), 255 is NaN */
};

/* Activations of gmm: applied to the f32 result, after bias, before it is rounded to the output format. */
enum {
  RAGDOT_ACTIVATION_NONE = 0,
  RAGDOT_RELU = 1,
  RAGDOT_TANH = 2,
  RAGDOT_SILU = 3,
  RAGDOT_GELU_TANH = 4,
  RAGDOT_GELU_ERF = 5
};

enum { RAGDOT_RHS_STRIDED = 0, RAGDOT_RHS_PACKED = 1 };               /* gmm: how the values of rhs lie in memory */
enum { RAGDOT_ROWS_OUTSIDE_ZERO = 0, RAGDOT_ROWS_OUTSIDE_LEAVE = 1 }; /* gmm: rows that belong to no local group */
enum { RAGDOT_OVERWRITE = 0, RAGDOT_ACCUMULATE = 1 };                 /* accumulate: out += result; out is f32 */
enum { RAGDOT_ORIGIN_GLOBAL = 0, RAGDOT_ORIGIN_PER_GROUP = 1 };       /* where scale blocks start on a grouped row axis */
enum { RAGDOT_ABSMAX = 0, RAGDOT_POW2 = 1, RAGDOT_MX = 2, RAGDOT_FIXED = 3 }; /* recipes, see ragdot_quantize */
enum { RAGDOT_PACKED_COLS = 32 };                                             /* columns of a block of packed weights */
enum { RAGDOT_MOST_THREADS = 1024 };                                          /* of a call */
enum { RAGDOT_IEEE = 0, RAGDOT_STRICT = 1 }; /* strict: scales that are NaN, Inf, zero or negative are errors */

/* Forms of group metadata. */
enum {
  RAGDOT_SIZES = 0,           /* [G]: groups touch, the first starts at row 0 */
  RAGDOT_ENDS = 1,            /* [G]: end offsets; groups touch, the first starts at row 0 */
  RAGDOT_OFFSETS = 2,         /* [G + 1]: start offsets and the last end; groups touch, rows before the first are outside */
  RAGDOT_STARTS_AND_SIZES = 3 /* [G] and [G]: gaps are legal */
};
enum { RAGDOT_INDEX_I32 = 0, RAGDOT_INDEX_I64 = 1 };

/* As the block of a scale grid: one scale for the whole axis. */
#define RAGDOT_WHOLE_AXIS INT64_MAX

/* ---- memory with a shape ------------------------------------------------------------------------------------------------ */

/* Element (b, r, c) lies at data + (b * batch_stride + r * row_stride + c * col_stride) elements of `format`. Strides are in
   elements and zero or more; a view may not overlap itself; no alignment is asked for. format RAGDOT_NONE: absent. data may be
   null where an extent is 0. A single matrix has batch 1. */
typedef struct ragdot_view {
  void* data;
  int32_t format;
  int64_t batch;
  int64_t rows;
  int64_t cols;
  int64_t batch_stride;
  int64_t row_stride;
  int64_t col_stride;
} ragdot_view;

/* The same for memory that is only read. */
typedef struct ragdot_const_view {
  const void* data;
  int32_t format;
  int64_t batch;
  int64_t rows;
  int64_t cols;
  int64_t batch_stride;
  int64_t row_stride;
  int64_t col_stride;
} ragdot_const_view;

/* Dense row-major matrices [batch, rows, cols]; `ld` elements from row to row, 0 for cols. */
static inline ragdot_view ragdot_matrices(void* data, int32_t format, int64_t batch, int64_t rows, int64_t cols) {
  const ragdot_view view = {data, format, batch, rows, cols, (int64_t)((uint64_t)rows * (uint64_t)cols), cols, 1};
  return view;
}
static inline ragdot_view ragdot_matrix(void* data, int32_t format, int64_t rows, int64_t cols, int64_t ld) {
  const ragdot_view view = {data, format, 1, rows, cols, 0, ld == 0 ? cols : ld, 1};
  return view;
}
static inline ragdot_const_view ragdot_const_matrices(const void* data, int32_t format, int64_t batch, int64_t rows,
                                                      int64_t cols) {
  const ragdot_const_view view = {data, format, batch, rows, cols, (int64_t)((uint64_t)rows * (uint64_t)cols), cols, 1};
  return view;
}
static inline ragdot_const_view ragdot_const_matrix(const void* data, int32_t format, int64_t rows, int64_t cols, int64_t ld) {
  const ragdot_const_view view = {data, format, 1, rows, cols, 0, ld == 0 ? cols : ld, 1};
  return view;
}

/* The scales of an operand: scale (r / block_rows, c / block_cols) belongs to element (r, c). Formats: f32, bf16, e8m0.
   Extents are ceil(dim / block), 1 for RAGDOT_WHOLE_AXIS. With origin per_group the scale rows of all groups follow each
   other: ceil(size / block_rows) each, for RAGDOT_WHOLE_AXIS one each (empty groups too). No scales: view.format is none, the
   rest is not read. */
typedef struct ragdot_scales {
  ragdot_const_view view;
  int64_t block_rows;
  int64_t block_cols;
  int32_t origin;
} ragdot_scales;

/* Values and, where they are quantised, scales: dequantised = value * scale. Of rows and columns, one has stride 1 (an axis of
   extent 1 may have any stride). Scales belong to e4m3, e5m2 and i8. */
typedef struct ragdot_operand {
  ragdot_const_view values;
  ragdot_scales scales;
} ragdot_operand;

/* Which rows belong to which of `count` groups. Groups ascend and do not overlap. */
typedef struct ragdot_groups {
  int32_t kind;      /* RAGDOT_SIZES ... */
  int32_t index;     /* RAGDOT_INDEX_I32 or RAGDOT_INDEX_I64 */
  const void* data;  /* sizes, ends, offsets or starts */
  const void* sizes; /* for RAGDOT_STARTS_AND_SIZES only */
  int64_t count;     /* G */
} ragdot_groups;

/* Work-item size in elements of out rows, reduction depth and out columns, each 1 or more. Never changes a bit. */
typedef struct ragdot_tiling {
  int64_t tm;
  int64_t tk;
  int64_t tn;
} ragdot_tiling;

/* ---- how a call runs ---------------------------------------------------------------------------------------------------- */

/* Calls task(task_context, i) once for every i in [0, tasks), on any threads in any order; returns when all have returned. The
   calling thread must be able to do all of them alone. A task takes up to 192 KiB of stack. The caller's floating-point
   environment is put aside for the time of the call. An exception that comes out of it ends the call with RAGDOT_FAILED; its
   tasks must have returned by then. */
typedef void (*ragdot_task)(void* task_context, int32_t index);
typedef void (*ragdot_run_tasks)(void* context, int32_t tasks, ragdot_task task, void* task_context);

/* None of it changes a bit of the result. A null pointer to options means the defaults. */
typedef struct ragdot_options {
  size_t struct_size;
  const ragdot_tiling* tiling; /* null: chosen by the plan */
  const char* kernel;          /* null or "": the first usable one, or the forced one */
  int32_t threads;             /* 0: as many as the executor has; more than RAGDOT_MOST_THREADS count as so many */
  int32_t strictness;
  ragdot_run_tasks run;                  /* the caller's executor; null: the library's own, which has as many threads as the
                                            first caller in the process might run on. A plan keeps it */
  int32_t (*concurrency)(void* context); /* how many tasks can make progress at once; needed with run */
  void* executor_context;                /* passed to run and concurrency */
} ragdot_options;

/* An executor on the OpenMP threads of a runtime that the process has loaded, such as PyTorch's: its threads spin for a while
   after each of their own regions, and threads of another pool get half a core in that time. The library links no OpenMP. Set
   `run` and `concurrency` of the options to these functions, and `executor_context` to a ragdot_openmp that lives as long; with
   nulls in it the calling thread does all. */
typedef struct ragdot_openmp {
  void (*parallel)(void (*body)(void* data), void* data, unsigned threads, unsigned flags); /* GOMP_parallel */
  int (*max_threads)(void);                                                                 /* omp_get_max_threads */
} ragdot_openmp;
void ragdot_openmp_run(void* openmp, int32_t tasks, ragdot_task task, void* task_context);
int32_t ragdot_openmp_concurrency(void* openmp);

/* ---- packed weights ----------------------------------------------------------------------------------------------------- */

typedef struct ragdot_packed_rhs ragdot_packed_rhs;

/* Packs the rhs [L, K, N] of gmm, rows or columns contiguous, on the threads of options, whose tiling, kernel and strictness
   have no effect: the copy serves every kernel. *packed is set on success only, is immutable, serves any number of threads,
   keeps no reference to rhs, and is freed by ragdot_packed_free. */
int ragdot_pack_rhs(const ragdot_operand* rhs, const ragdot_options* options, ragdot_packed_rhs** packed);
void ragdot_packed_free(ragdot_packed_rhs* packed); /* null is fine */
size_t ragdot_packed_size_bytes(const ragdot_packed_rhs* packed);
/* One line: formats, shape, scale grid, bytes. Lives as long as `packed`; "" for null. */
const char* ragdot_packed_describe(const ragdot_packed_rhs* packed);
/* Writes what ragdot_pack_rhs keeps into memory of the caller's own, so that a file, a tensor or other processes can hold it:
   the values of rhs [L, K, N], N a multiple of 32, as [L][N / 32][K][32] elements without gaps. `bytes` is the size of that,
   and `to` may not overlap rhs. A gmm takes them as rhs, rhs_layout RAGDOT_RHS_PACKED, with the scales as they were. */
int ragdot_pack_values(const ragdot_const_view* rhs, const ragdot_options* options, void* to, size_t bytes);

/* ---- products ----------------------------------------------------------------------------------------------------------- */

/* out[m, :] = act(lhs[m, :] . rhs[g(m) - first_group] + bias[g(m) - first_group]) for the rows of the L local groups. */
typedef struct ragdot_gmm_args {
  size_t struct_size;
  ragdot_operand lhs;                  /* [M, K]; scales on any grid, global or per_group rows */
  ragdot_operand rhs;                  /* [L, K, N]; weights stored [L, N, K] have rows K, cols N, row_stride 1 */
  const ragdot_packed_rhs* packed_rhs; /* instead of rhs */
  ragdot_groups groups;                /* G groups over the M rows */
  ragdot_view out;                     /* [M, N]; f32, bf16 or f16 */
  ragdot_const_view bias;              /* [L, N] f32 (rows L, cols N), or absent */
  int32_t activation;
  int32_t rows_outside;
  int32_t out_mode;
  int32_t rhs_layout;  /* of the values of rhs: by their strides, or as ragdot_pack_values writes them, strides not read */
  int64_t first_group; /* the L matrices of rhs belong to groups [first_group, first_group + L) */
} ragdot_gmm_args;

/* out[g - first_group] = sum over rows m of g of lhs[m, :]^T rhs[m, :]; an empty group's matrix is zero (with accumulate: left
   alone). */
typedef struct ragdot_tgmm_args {
  size_t struct_size;
  ragdot_operand lhs;   /* [M, K] */
  ragdot_operand rhs;   /* [M, N] */
  ragdot_groups groups; /* G groups over the M rows */
  ragdot_view out;      /* [L, K, N]; f32, bf16 or f16 */
  int32_t out_mode;
  int64_t first_group; /* out's L matrices belong to groups [first_group, first_group + L) */
} ragdot_tgmm_args;

/* Pairs of value formats: any two of {bf16, e4m3, e5m2}; f32 with f32; i8 with i8. Both allocate their workspace; a plan
   avoids that. */
int ragdot_gmm(const ragdot_gmm_args* args, const ragdot_options* options);
int ragdot_tgmm(const ragdot_tgmm_args* args, const ragdot_options* options);

/* ---- plans: choose once, run many times without allocation -------------------------------------------------------------- */

typedef struct ragdot_plan ragdot_plan;

/* Plans for calls like `like`: shapes, formats, grids and choices count, pointers and group numbers are not read. lhs rows are
   the largest M that a run will take. *plan is set on success only; immutable, for any number of threads; freed by
   ragdot_plan_free. The executor of the options has to live as long as the plan. */
int ragdot_plan_gmm(const ragdot_gmm_args* like, const ragdot_options* options, ragdot_plan** plan);
int ragdot_plan_tgmm(const ragdot_tgmm_args* like, const ragdot_options* options, ragdot_plan** plan);
void ragdot_plan_free(ragdot_plan* plan); /* null is fine */

/* Bytes that a run needs as workspace; 0 for a null plan. */
size_t ragdot_plan_workspace_bytes(const ragdot_plan* plan);
/* Lines for people: problem, kernel and why not the others, tile, threads, workspace. Lives as long as the plan; "" for null.
 */
const char* ragdot_plan_describe(const ragdot_plan* plan);
/* Name of the kernel. Lives as long as the plan. */
const char* ragdot_plan_kernel(const ragdot_plan* plan);
/* The tile sizes that the plan uses; zeros for a null plan. */
ragdot_tiling ragdot_plan_tiling(const ragdot_plan* plan);

/* Checks the arguments against the plan, then computes; allocates nothing. One workspace serves one run at a time
   and shares no memory with out and the inputs. */
int ragdot_run_gmm(const ragdot_plan* plan, const ragdot_gmm_args* args, void* workspace, size_t workspace_bytes);
int ragdot_run_tgmm(const ragdot_plan* plan, const ragdot_tgmm_args* args, void* workspace, size_t workspace_bytes);

/* ---- quantisation ------------------------------------------------------------------------------------------------------- */

/* Where a quantiser writes scales, and on which grid: extents as in ragdot_scales. With groups the row axis is per_group,
   without them it is global. For RAGDOT_FIXED the scales are read, not written. */
typedef struct ragdot_scales_out {
  ragdot_view view; /* f32, bf16 or e8m0 */
  int64_t block_rows;
  int64_t block_cols;
} ragdot_scales_out;

/* One quantised copy: where to, and how. */
typedef struct ragdot_quantized_out {
  ragdot_view values; /* [batch, rows, cols] of the input; e4m3, e5m2 or i8; row_stride 1 stores it transposed */
  ragdot_scales_out scales;
  int32_t recipe;
} ragdot_quantized_out;

typedef struct ragdot_quantize_args {
  size_t struct_size;
  ragdot_const_view input;     /* [batch, rows, cols]; f32, bf16 or f16; batch above 1 only without groups */
  const ragdot_groups* groups; /* over the rows, or null: blocks restart at each group and never look at rows outside */
  ragdot_quantized_out out;
} ragdot_quantize_args;

typedef struct ragdot_quantize_both_args {
  size_t struct_size;
  ragdot_const_view input;
  const ragdot_groups* groups;
  ragdot_quantized_out row_wise; /* for the forward product */
  ragdot_quantized_out col_wise; /* for the weight gradient */
} ragdot_quantize_both_args;

typedef struct ragdot_requantize_args {
  size_t struct_size;
  ragdot_operand input;
  const ragdot_groups* groups; /* needed where input.scales are per_group; null: none */
  ragdot_quantized_out out;
} ragdot_requantize_args;

typedef struct ragdot_dequantize_args {
  size_t struct_size;
  ragdot_operand input;
  const ragdot_groups* groups; /* needed where input.scales are per_group; rows outside them become zero; null: none */
  ragdot_view out;             /* [batch, rows, cols]; f32, bf16 or f16 */
} ragdot_dequantize_args;

/* amax is the largest finite |x| of a block; fmax is 448, 57344, 127; emax is 8, 15.
     absmax: s = max(amax / fmax, 2^-126), as bf16 rounded up; byte = round_to_nearest_even_and_saturate(x / s)
     pow2:   s = 2^ceil(log2(amax / fmax)), clamped to 2^-126..2^127; byte from x / s, which is exact
     mx:     s = 2^(floor(log2 amax) - emax), clamped likewise; the same byte
     fixed:  s is given; byte from x / s
   amax 0 (zeros, or nothing finite): scale 1. Zeros keep their sign; a NaN element gives the NaN byte (i8: an error that names
   it); Inf saturates (strict: an error that names it). Rows outside the groups get zero bytes; scales that cover nothing are 1.
   i8 is never -128. */
int ragdot_quantize(const ragdot_quantize_args* args, const ragdot_options* options);
/* Two quantised copies from one read of the input; each equals what ragdot_quantize gives. */
int ragdot_quantize_both(const ragdot_quantize_both_args* args, const ragdot_options* options);
/* Scaled values to another format, grid or recipe, through f32(value * scale). */
int ragdot_requantize(const ragdot_requantize_args* args, const ragdot_options* options);
/* out = value * scale, rounded once to f32, then to out's format. */
int ragdot_dequantize(const ragdot_dequantize_args* args, const ragdot_options* options);
/* f32 scales that are all powers of two in e8m0's range, as e8m0 codes; refuses any other and names the first. */
int ragdot_to_e8m0(const ragdot_const_view* scales, const ragdot_view* codes);

/* ---- kernels ------------------------------------------------------------------------------------------------------------ */

typedef struct ragdot_kernel_info {
  size_t struct_size;
  const char* name;   /* static */
  const char* reason; /* why it is not usable here; "" when it is. Static */
  int32_t usable;     /* 1 or 0 */
} ragdot_kernel_info;

/* The kernels of this build, best first: the order in which a plan tries them. */
int32_t ragdot_kernel_count(void);
/* Fills *info (struct_size is set by the caller) for an index in [0, ragdot_kernel_count()). */
int ragdot_kernel(int32_t index, ragdot_kernel_info* info);
/* Every later plan of the process takes this kernel; null or "" ends that. */
int ragdot_force_kernel(const char* name);

/* ---- the error bound ---------------------------------------------------------------------------------------------------- */

/* E = h u / (1 - h u) * abs_sum + 2^-125 * flush_sum with u = 2^-24, h = segments + ceil(longest_segment / 32) + 17:
   |computed - exact| <= E for f32 outputs without bias and activation; Inf where h u >= 1. abs_sum = sum |s_lhs s_rhs| sum |a
   b|; flush_sum = sum_j (n_j |s_j| + P_j + 1) over the segments, n_j = L_j + 2 ceil(L_j / 32), P_j = sum |a b|. */
double ragdot_error_bound(double abs_sum, int64_t segments, int64_t longest_segment, double flush_sum);

/* Exact result (a plain sum in double, off by at most K 2^-33 of E) and bound E of every output of a call of this library,
   before bias, activation and accumulation, row-major [M, N] or [L, K, N]; rows outside local groups get 0. Kernels with other
   orders have other bounds (docs/numerics.md). Slow. The data of out is not read. Each array has room for `count` numbers, the
   number of outputs or more; either may be null. */
int ragdot_gmm_exact_and_bound(const ragdot_gmm_args* args, double* exact, double* bound, int64_t count);
int ragdot_tgmm_exact_and_bound(const ragdot_tgmm_args* args, double* exact, double* bound, int64_t count);

#ifdef __cplusplus
}
#endif

#endif /* RAGDOT_RAGDOT_H */
