// Rules of gmm and tgmm that need pointers or group numbers.
#include <fmt/format.h>

#include <array>
#include <initializer_list>

#include "api/overlap.hpp"
#include "api/validate.hpp"
#include "api/validate_operand.hpp"

namespace ragdot::api {
namespace {

struct Input {
  const char* what;
  const ConstView& view;
  Rank rank;
};

Status check_memory(const char* op, const View& out, Rank out_rank, const Groups& groups, std::initializer_list<Input> inputs) {
  for (const Input& input : inputs) {
    if (Status s = check_data({op, input.what}, input.view, input.rank); !s.ok()) return s;
  }
  if (Status s = check_data({op, "out"}, out, out_rank); !s.ok()) return s;
  const auto refused = [&](const std::string& what) -> Status {
    return {Code::invalid_argument,
            fmt::format("{}: out {} overlaps {}; give out memory of its own", op, shape_text(out, out_rank), what)};
  };
  for (const Input& input : inputs) {
    if (overlaps(out, input.view)) return refused(fmt::format("{} {}", input.what, shape_text(input.view, input.rank)));
  }
  const char* numbers = overlapped_numbers(groups, out);
  if (numbers != nullptr) return refused(numbers);
  return {};
}

}  // namespace

Status check_memory(const GmmArgs& args) {
  return check_memory("gmm", args.out, Rank::matrix, args.groups,
                      {{"lhs", args.lhs.values, Rank::matrix},
                       {"lhs scales", args.lhs.scales.view, Rank::matrix},
                       {"rhs", args.rhs.values, Rank::batch},
                       {"rhs scales", args.rhs.scales.view, Rank::batch},
                       {"bias", args.bias, Rank::matrix}});
}

Status check_memory(const TgmmArgs& args) {
  return check_memory("tgmm", args.out, Rank::batch, args.groups,
                      {{"lhs", args.lhs.values, Rank::matrix},
                       {"lhs scales", args.lhs.scales.view, Rank::matrix},
                       {"rhs", args.rhs.values, Rank::matrix},
                       {"rhs scales", args.rhs.scales.view, Rank::matrix}});
}

Status check_buffers(const GmmArgs& args, std::span<const RowRange> groups, Strictness strictness) {
  const NamedOperand lhs{"gmm", "lhs", "lhs scales", args.lhs, Rank::matrix};
  const NamedOperand rhs{"gmm", "rhs", "rhs scales", args.rhs, Rank::batch};
  if (Status s = check_memory(args); !s.ok()) return s;
  if (Status s = check_group_scale_rows(lhs, groups); !s.ok()) return s;
  if (strictness == Strictness::ieee) return {};
  if (Status s = check_grouped_scales(lhs, groups, args.first_group, args.rhs.values.batch); !s.ok()) return s;
  return check_all_scales(rhs);
}

Status check_buffers(const TgmmArgs& args, std::span<const RowRange> groups, Strictness strictness) {
  const NamedOperand lhs{"tgmm", "lhs", "lhs scales", args.lhs, Rank::matrix};
  const NamedOperand rhs{"tgmm", "rhs", "rhs scales", args.rhs, Rank::matrix};
  if (Status s = check_memory(args); !s.ok()) return s;
  for (const NamedOperand* operand : {&lhs, &rhs}) {
    if (Status s = check_group_scale_rows(*operand, groups); !s.ok()) return s;
    if (strictness == Strictness::ieee) continue;
    if (Status s = check_grouped_scales(*operand, groups, args.first_group, args.out.batch); !s.ok()) return s;
  }
  return {};
}

}  // namespace ragdot::api
