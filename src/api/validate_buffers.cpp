// Rules of gmm and tgmm that need pointers or group numbers.
#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "api/overlap.hpp"
#include "api/validate.hpp"
#include "api/validate_operand.hpp"
#include "format/fault.hpp"

namespace ragdot::api {
namespace {

struct Input {
  const char* what;
  const ConstView& view;
  Rank rank;
};

std::array<Input, 5> inputs_of(const GmmArgs& args) {
  return {{{"lhs", args.lhs.values, Rank::matrix},
           {"lhs scales", args.lhs.scales.view, Rank::matrix},
           {"rhs", args.rhs.values, Rank::batch},
           {"rhs scales", args.rhs.scales.view, Rank::batch},
           {"bias", args.bias, Rank::matrix}}};
}
std::array<Input, 4> inputs_of(const TgmmArgs& args) {
  return {{{"lhs", args.lhs.values, Rank::matrix},
           {"lhs scales", args.lhs.scales.view, Rank::matrix},
           {"rhs", args.rhs.values, Rank::matrix},
           {"rhs scales", args.rhs.scales.view, Rank::matrix}}};
}

/// What of a call's inputs `written` shares memory with; empty where it is nothing.
std::string overlapped(const ConstView& written, const Groups& groups, std::span<const Input> inputs) {
  for (const Input& input : inputs) {
    if (overlaps(written, input.view)) return fmt::format("{} {}", input.what, shape_text(input.view, input.rank));
  }
  const char* numbers = overlapped_numbers(groups, written);
  return numbers == nullptr ? "" : numbers;
}

Status check_memory(const char* op, const View& out, Rank out_rank, const Groups& groups, std::span<const Input> inputs) {
  if (Status s = check_group_data(op, groups); !s.ok()) return s;
  for (const Input& input : inputs) {
    if (Status s = check_data({op, input.what}, input.view, input.rank); !s.ok()) return s;
  }
  if (Status s = check_data({op, "out"}, out, out_rank); !s.ok()) return s;
  const std::string what = overlapped(out, groups, inputs);
  if (what.empty()) return {};
  return {Code::invalid_argument,
          fmt::format("{}: out {} overlaps {}; give out memory of its own", op, shape_text(out, out_rank), what)};
}

Status check_workspace(const char* op, const View& out, Rank out_rank, const Groups& groups, std::span<const Input> inputs,
                       std::span<const std::byte> workspace) {
  const auto bytes = static_cast<std::int64_t>(workspace.size());
  const ConstView view = matrix(static_cast<const void*>(workspace.data()), Format::i8, 1, bytes);
  if (Status s = check_data({op, "the workspace"}, view, Rank::matrix); !s.ok()) return s;
  const std::string what =
      overlaps(view, out) ? fmt::format("out {}", shape_text(out, out_rank)) : overlapped(view, groups, inputs);
  if (what.empty() || fault::on(fault::Id::workspace_overlap_accepted)) return {};
  return {Code::invalid_argument,
          fmt::format("{}: the workspace of {} bytes overlaps {}; give it memory of its own", op, bytes, what)};
}

}  // namespace

Status check_memory(const GmmArgs& args) { return check_memory("gmm", args.out, Rank::matrix, args.groups, inputs_of(args)); }
Status check_memory(const TgmmArgs& args) { return check_memory("tgmm", args.out, Rank::batch, args.groups, inputs_of(args)); }

Status check_workspace(const GmmArgs& args, std::span<const std::byte> workspace) {
  return check_workspace("gmm", args.out, Rank::matrix, args.groups, inputs_of(args), workspace);
}
Status check_workspace(const TgmmArgs& args, std::span<const std::byte> workspace) {
  return check_workspace("tgmm", args.out, Rank::batch, args.groups, inputs_of(args), workspace);
}

Status check_scales(const GmmArgs& args, std::span<const RowRange> groups, Strictness strictness) {
  const NamedOperand lhs{"gmm", "lhs", "lhs scales", args.lhs, Rank::matrix};
  const NamedOperand rhs{"gmm", "rhs", "rhs scales", args.rhs, Rank::batch};
  if (Status s = check_group_scale_rows(lhs, groups); !s.ok()) return s;
  if (strictness == Strictness::ieee) return {};
  if (Status s = check_grouped_scales(lhs, groups, args.first_group, args.rhs.values.batch); !s.ok()) return s;
  return check_all_scales(rhs, groups.subspan(static_cast<std::size_t>(args.first_group)));
}

Status check_scales(const TgmmArgs& args, std::span<const RowRange> groups, Strictness strictness) {
  const NamedOperand lhs{"tgmm", "lhs", "lhs scales", args.lhs, Rank::matrix};
  const NamedOperand rhs{"tgmm", "rhs", "rhs scales", args.rhs, Rank::matrix};
  for (const NamedOperand* operand : {&lhs, &rhs}) {
    if (Status s = check_group_scale_rows(*operand, groups); !s.ok()) return s;
    if (strictness == Strictness::ieee) continue;
    if (Status s = check_grouped_scales(*operand, groups, args.first_group, args.out.batch); !s.ok()) return s;
  }
  return {};
}

}  // namespace ragdot::api
