// Quantisers and their way back, and scales as powers of two.
#include "tests/fuzz/abi/harness.hpp"

namespace ragdot::fuzz {
namespace {

constexpr std::int32_t kPlain[] = {RAGDOT_F32, RAGDOT_BF16, RAGDOT_F16};

/// The groups of a call: absent, or a struct of their own.
class GivenGroups {
 public:
  explicit GivenGroups(Harness& h) : groups_(h.builder.groups()), is_given_(h.input.flag()) {
    if (!is_given_) h.builder.set_batch(h.input.between(1, 2));
  }
  [[nodiscard]] bool is_given() const { return is_given_; }
  void add_to(Fields& fields) { fields.add_groups(groups_); }
  /// Puts them where `at` points, unless a cut has taken the pointer.
  void place(Guard& guard, const ragdot_groups*& at) {
    mend(at, whole());
    if (at == nullptr) return;
    guard.reads(groups_);
    placed_ = std::make_unique<Placed<ragdot_groups>>(groups_, sizeof groups_);
    at = placed_->get();
  }
  [[nodiscard]] const ragdot_groups* whole() const { return is_given_ ? &groups_ : nullptr; }

 private:
  ragdot_groups groups_;
  bool is_given_;
  std::unique_ptr<Placed<ragdot_groups>> placed_;
};

void add(Fields& f, ragdot_quantize_args& a) {
  f.add_view(a.input);
  f.add_quantized(a.out);
}
void add(Fields& f, ragdot_quantize_both_args& a) {
  f.add_view(a.input);
  f.add_quantized(a.row_wise);
  f.add_quantized(a.col_wise);
}
void add(Fields& f, ragdot_requantize_args& a) {
  f.add_operand(a.input);
  f.add_quantized(a.out);
}
void add(Fields& f, ragdot_dequantize_args& a) {
  f.add_operand(a.input);
  f.add_view(a.out);
}

template <class Args>
void guard_views(Guard& guard, Args& a) {
  guard.reads(a.input);
  guard.writes(a.out);
}
void guard_views(Guard& guard, ragdot_quantize_both_args& a) {
  guard.reads(a.input);
  guard.writes(a.row_wise);
  guard.writes(a.col_wise);
}

template <class Args>
void converted(Harness& h, Args& args, GivenGroups& groups, int (*call)(const Args*, const ragdot_options*)) {
  args.struct_size = sizeof args;
  args.groups = groups.whole();
  Fields fields;
  fields.add_size(args.struct_size);
  add(fields, args);
  groups.add_to(fields);
  h.read_options(fields);
  h.mutate(fields);
  Guard guard(h.arena());
  std::unique_ptr<Placed<Args>> placed;
  const Args* given = h.place(args, guard, placed, [&] {
    groups.place(guard, args.groups);
    guard_views(guard, args);
  });
  const ragdot_options* options = h.place_options(guard);
  h.checked(guard, [&] { return call(given, options); });
}

}  // namespace

void fuzz_quantize(Harness& h) {
  GivenGroups groups(h);
  ragdot_quantize_args args{};
  args.input = h.builder.plain(h.input.pick(kPlain));
  args.out = h.builder.quantized(groups.is_given());
  converted(h, args, groups, ragdot_quantize);
}

void fuzz_quantize_both(Harness& h) {
  GivenGroups groups(h);
  ragdot_quantize_both_args args{};
  args.input = h.builder.plain(h.input.pick(kPlain));
  args.row_wise = h.builder.quantized(groups.is_given());
  args.col_wise = h.builder.quantized(groups.is_given());
  converted(h, args, groups, ragdot_quantize_both);
}

void fuzz_requantize(Harness& h) {
  GivenGroups groups(h);
  ragdot_requantize_args args{};
  args.input = h.builder.operand(groups.is_given());
  args.out = h.builder.quantized(groups.is_given());
  converted(h, args, groups, ragdot_requantize);
}

void fuzz_dequantize(Harness& h) {
  GivenGroups groups(h);
  ragdot_dequantize_args args{};
  args.input = h.builder.operand(groups.is_given());
  args.out = h.builder.out(h.input.pick(kPlain), h.builder.batch(), h.builder.m(), h.builder.k());
  converted(h, args, groups, ragdot_dequantize);
}

void fuzz_to_e8m0(Harness& h) {
  h.builder.set_batch(h.input.between(1, 2));
  ragdot_const_view scales = h.builder.plain(RAGDOT_F32);
  ragdot_view codes = h.builder.out(RAGDOT_E8M0, h.builder.batch(), h.builder.m(), h.builder.k());
  if (h.input.flag()) h.builder.fill_with_powers(scales, h.input.byte());
  Fields fields;
  fields.add_view(scales);
  fields.add_view(codes);
  h.mutate(fields);
  Guard guard(h.arena());
  guard.reads(scales);
  guard.writes(codes);
  const std::uint8_t absent = h.input.byte();
  if (absent == 254 || absent == 255) guard.must_refuse();
  h.checked(guard, [&] { return ragdot_to_e8m0(absent == 254 ? nullptr : &scales, absent == 255 ? nullptr : &codes); });
}

}  // namespace ragdot::fuzz
