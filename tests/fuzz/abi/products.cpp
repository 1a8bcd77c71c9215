// Products: one-shot calls, plans and their runs, packed weights, exact results.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "tests/fuzz/abi/harness.hpp"

namespace ragdot::fuzz {
namespace {

ragdot_gmm_args base(Builder& b, const ragdot_gmm_args& /*kind*/) { return b.gmm(); }
ragdot_tgmm_args base(Builder& b, const ragdot_tgmm_args& /*kind*/) { return b.tgmm(); }

void add(Fields& f, ragdot_gmm_args& a) {
  f.add_size(a.struct_size);
  f.add_operand(a.lhs);
  f.add_operand(a.rhs);
  f.add_groups(a.groups);
  f.add_view(a.out);
  f.add_view(a.bias);
  for (std::int32_t* choice : {&a.activation, &a.rows_outside, &a.out_mode, &a.rhs_layout}) f.add(*choice);
  f.add(a.first_group);
}
void add(Fields& f, ragdot_tgmm_args& a) {
  f.add_size(a.struct_size);
  f.add_operand(a.lhs);
  f.add_operand(a.rhs);
  f.add_groups(a.groups);
  f.add_view(a.out);
  f.add(a.out_mode);
  f.add(a.first_group);
}

void guard_inputs(Guard& guard, ragdot_gmm_args& a) {
  guard.reads(a.lhs);
  const ragdot_const_view& v = a.rhs.values;  // whose strides say nothing where it is packed
  if (a.rhs_layout == RAGDOT_RHS_PACKED) a.rhs.values = ragdot_const_matrices(v.data, v.format, v.batch, v.rows, v.cols);
  guard.reads(a.rhs);
  guard.reads(a.bias);
  guard.reads(a.groups);
}
void guard_inputs(Guard& guard, ragdot_tgmm_args& a) {
  guard.reads(a.lhs);
  guard.reads(a.rhs);
  guard.reads(a.groups);
}

int call(const ragdot_gmm_args* a, const ragdot_options* o) { return ragdot_gmm(a, o); }
int call(const ragdot_tgmm_args* a, const ragdot_options* o) { return ragdot_tgmm(a, o); }
int plan(const ragdot_gmm_args* a, const ragdot_options* o, ragdot_plan** p) { return ragdot_plan_gmm(a, o, p); }
int plan(const ragdot_tgmm_args* a, const ragdot_options* o, ragdot_plan** p) { return ragdot_plan_tgmm(a, o, p); }
int run(const ragdot_plan* p, const ragdot_gmm_args* a, void* w, std::size_t bytes) { return ragdot_run_gmm(p, a, w, bytes); }
int run(const ragdot_plan* p, const ragdot_tgmm_args* a, void* w, std::size_t bytes) { return ragdot_run_tgmm(p, a, w, bytes); }
int exact(const ragdot_gmm_args* a, double* e, double* b, std::int64_t n) { return ragdot_gmm_exact_and_bound(a, e, b, n); }
int exact(const ragdot_tgmm_args* a, double* e, double* b, std::int64_t n) { return ragdot_tgmm_exact_and_bound(a, e, b, n); }

const ragdot_packed_rhs* packed_of(const ragdot_gmm_args& a) { return a.packed_rhs; }
void mend_packed(ragdot_gmm_args& a, const ragdot_packed_rhs* whole) { mend(a.packed_rhs, whole); }
const ragdot_packed_rhs* packed_of(const ragdot_tgmm_args& /*args*/) { return nullptr; }
void mend_packed(ragdot_tgmm_args& /*args*/, const ragdot_packed_rhs* /*whole*/) {}

template <class Args>
void product_of(Harness& h, Args args) {
  Fields fields;
  add(fields, args);
  h.read_options(fields);
  h.mutate(fields);
  Guard guard(h.arena());
  std::unique_ptr<Placed<Args>> placed;
  const ragdot_packed_rhs* packed = packed_of(args);
  const Args* given = h.place(args, guard, placed, [&] {
    mend_packed(args, packed);
    guard.writes(args.out);
    guard_inputs(guard, args);
  });
  const ragdot_options* options = h.place_options(guard);
  h.checked(guard, [&] { return call(given, options); });
}

/// What a plan says of itself.
void ask(const ragdot_plan* made) {
  const ragdot_tiling tiling = ragdot_plan_tiling(made);
  if (ragdot_plan_workspace_bytes(made) == 0 || tiling.tm < 1 || tiling.tk < 1 || tiling.tn < 1 ||
      *ragdot_plan_describe(made) == '\0' || *ragdot_plan_kernel(made) == '\0') {
    fail(fmt::format("a plan says nothing: {}", ragdot_plan_describe(made)));
  }
}

/// Plans read no pointer and no group number: theirs are of any kind.
template <class Args>
void plan_of(Harness& h) {
  Args args = base(h.builder, Args{});
  Fields fields;
  add(fields, args);
  h.read_options(fields);
  h.mutate(fields);
  Guard guard(h.arena());
  std::unique_ptr<Placed<Args>> placed;
  const Args* given = h.place(args, guard, placed, [&] { mend_packed(args, nullptr); });
  const ragdot_options* options = h.place_options(guard);
  ragdot_plan* const nowhere = reinterpret_cast<ragdot_plan*>(&fields);
  ragdot_plan* made = nowhere;
  const int code = h.checked(guard, [&] { return plan(given, options, &made); });
  if (code != RAGDOT_OK && made != nowhere) fail("a refused plan was given");
  if (code != RAGDOT_OK) return;
  ask(made);
  ragdot_plan_free(made);
}

template <class Args>
void run_of(Harness& h) {
  constexpr std::size_t kMostWorkspace = std::size_t{1} << 20;
  Args args = base(h.builder, Args{});
  Fields fields;
  h.read_options(fields);
  Guard unbroken(h.arena());
  ragdot_plan* made = nullptr;
  if (plan(&args, h.place_options(unbroken), &made) != RAGDOT_OK) return;
  const std::unique_ptr<ragdot_plan, void (*)(ragdot_plan*)> owned(made, ragdot_plan_free);
  std::size_t bytes = ragdot_plan_workspace_bytes(made);
  if (bytes > kMostWorkspace) return;
  const std::unique_ptr<std::byte[]> workspace(new std::byte[bytes]);
  Fields own;
  add(own, args);
  h.mutate(own);
  Guard guard(h.arena());
  std::unique_ptr<Placed<Args>> placed;
  const Args* given = h.place(args, guard, placed, [&] {
    mend_packed(args, nullptr);
    guard.writes(args.out);
    guard_inputs(guard, args);
  });
  std::byte* memory = workspace.get();
  bool is_whole = false;
  switch (h.input.byte()) {
    case 1: memory = nullptr; break;
    case 2: bytes -= static_cast<std::size_t>(h.input.between(1, 32)); break;
    case 3: made = nullptr; break;
    default: is_whole = true;
  }
  if (!is_whole) guard.must_refuse();
  h.checked(guard, [&] { return run(made, given, memory, bytes); });
}

template <class Args>
void exact_of(Harness& h) {
  Args args = base(h.builder, Args{});
  const std::int64_t outputs = args.out.batch * args.out.rows * args.out.cols;
  double* numbers[2] = {};
  for (double*& each : numbers) {
    if (h.input.below(4) != 1) each = reinterpret_cast<double*>(h.arena().take(outputs * 8, 0));
  }
  Fields fields;
  add(fields, args);
  h.mutate(fields);
  std::int64_t count = outputs;
  switch (h.input.below(8)) {
    case 1: count = outputs - h.input.byte(); break;
    case 2:
      count = h.input.number<std::int64_t>();
      if (count > outputs) numbers[0] = numbers[1] = nullptr;
      break;
    default: break;
  }
  Guard guard(h.arena());
  if (count < 0) guard.must_refuse();
  std::unique_ptr<Placed<Args>> placed;
  const Args* given = h.place(args, guard, placed, [&] {
    mend_packed(args, nullptr);
    guard_inputs(guard, args);
    for (double* each : numbers) guard.writes(each, count);
  });
  h.checked(guard, [&] { return exact(given, numbers[0], numbers[1], count); });
}

/// Values alone: what their scales are is not asked. To memory of the size that is needed, if not of another one.
void pack_values_of(Harness& h, ragdot_const_view rhs, const ragdot_options* options, Guard& guard) {
  guard.reads(rhs);
  const double elements = static_cast<double>(rhs.batch) * static_cast<double>(rhs.rows) * static_cast<double>(rhs.cols);
  const double needed = elements * std::array{1, 2, 4}.at(static_cast<std::size_t>(h.input.below(3))) - (h.input.below(8) == 1);
  const auto bytes = static_cast<std::int64_t>(std::clamp(needed, 0.0, 4096.0));
  ragdot_view to = ragdot_matrix(h.arena().take(bytes, 0), RAGDOT_I8, 1, bytes, 0);
  guard.writes(to);
  h.checked(guard, [&] { return ragdot_pack_values(&rhs, options, to.data, static_cast<std::size_t>(bytes)); });
}

}  // namespace

void fuzz_gmm(Harness& h) { product_of(h, h.builder.gmm()); }
void fuzz_tgmm(Harness& h) { product_of(h, h.builder.tgmm()); }
void fuzz_plan_gmm(Harness& h) { plan_of<ragdot_gmm_args>(h); }
void fuzz_plan_tgmm(Harness& h) { plan_of<ragdot_tgmm_args>(h); }
void fuzz_run_gmm(Harness& h) { run_of<ragdot_gmm_args>(h); }
void fuzz_run_tgmm(Harness& h) { run_of<ragdot_tgmm_args>(h); }
void fuzz_gmm_exact_and_bound(Harness& h) { exact_of<ragdot_gmm_args>(h); }
void fuzz_tgmm_exact_and_bound(Harness& h) { exact_of<ragdot_tgmm_args>(h); }

void fuzz_packed(Harness& h) {
  ragdot_gmm_args args = h.builder.gmm();
  ragdot_operand rhs = args.rhs;
  Fields fields;
  fields.add_operand(rhs);
  h.read_options(fields);
  h.mutate(fields);
  Guard guard(h.arena());
  const ragdot_options* options = h.place_options(guard);
  const std::uint8_t kind = h.input.byte();
  if (kind == 254) return pack_values_of(h, rhs.values, options, guard);
  guard.reads(rhs);
  const bool is_null = kind == 255;
  if (is_null) guard.must_refuse();
  ragdot_packed_rhs* const nowhere = reinterpret_cast<ragdot_packed_rhs*>(&fields);
  ragdot_packed_rhs* made = nowhere;
  const int code = h.checked(guard, [&] { return ragdot_pack_rhs(is_null ? nullptr : &rhs, options, &made); });
  if (code != RAGDOT_OK && made != nowhere) fail("refused weights were given");
  if (code != RAGDOT_OK) return;
  const std::unique_ptr<ragdot_packed_rhs, void (*)(ragdot_packed_rhs*)> owned(made, ragdot_packed_free);
  if (*ragdot_packed_describe(made) == '\0') fail("packed weights say nothing of themselves");
  args.packed_rhs = made;
  if (h.input.below(8) != 1) args.rhs = {};
  h.arena().close_all();
  product_of(h, args);
}

}  // namespace ragdot::fuzz
