// The public face of the oracle: exact results and error bounds of a checked call.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "api/door.hpp"
#include "api/validate.hpp"
#include "ragdot/error_bound.hpp"
#include "reference/oracle.hpp"

namespace ragdot {
namespace {

Status check_span(const char* op, const char* what, std::span<double> span, std::size_t needed) {
  if (span.empty() || span.size() >= needed) return {};
  return {Code::invalid_argument,
          fmt::format("exact_and_bound: {} has room for {} numbers; this {} has {} outputs", what, span.size(), op, needed)};
}

/// What check_shapes leaves open, without an out: a call that writes none needs no memory for it.
template <class Args>
Status check(const char* op, Args args, std::size_t outputs, std::span<double> exact, std::span<double> bound) {
  args.out = {};
  if (Status s = api::check_memory(args); !s.ok()) return s;
  std::vector<RowRange> groups(static_cast<std::size_t>(args.groups.count));
  if (Status s = api::read_groups(op, args.groups, args.lhs.values.rows, groups); !s.ok()) return s;
  if (Status s = api::check_scales(args, groups, Strictness::ieee); !s.ok()) return s;
  if (Status s = check_span(op, "exact", exact, outputs); !s.ok()) return s;
  return check_span(op, "bound", bound, outputs);
}

Status check_rhs(const GmmArgs& args) {
  if (!args.packed_rhs.present() && args.rhs_layout != RhsLayout::packed) return {};
  return {Code::invalid_argument, "exact_and_bound: rhs is packed; give the rhs that it was packed from"};
}
Status check_rhs(const TgmmArgs&) { return {}; }

template <class Args>
Status answer(const char* op, const Args& args, std::span<double> exact, std::span<double> bound) {
  constexpr char kNoOperands[] = "its decoded operands could not be allocated; ask for a smaller call";
  return api::door("exact_and_bound", kNoOperands, [&]() -> Status {
    if (Status s = check_rhs(args); !s.ok()) return s;
    if (Status s = api::check_shapes(args, {}); !s.ok()) return s;
    const View& out = args.out;
    const auto outputs = static_cast<std::size_t>(out.batch * out.rows * out.cols);
    if (Status s = check(op, args, outputs, exact, bound); !s.ok()) return s;
    if (outputs == 0 || (exact.empty() && bound.empty())) return {};  // though there may be 2^50 rows of no column
    const reference::Oracle oracle(args);
    std::vector<reference::Exact> row(static_cast<std::size_t>(out.cols));
    // Apart until all is known: the oracle allocates for each row, and a call that ends without memory has written nothing.
    std::vector<double> values(exact.empty() ? 0 : outputs);
    std::vector<double> bounds(bound.empty() ? 0 : outputs);
    std::size_t i = 0;
    for (std::int64_t b = 0; b < out.batch; ++b) {
      for (std::int64_t r = 0; r < out.rows; ++r) {
        oracle.row(b, r, row.data());
        for (const reference::Exact& e : row) {
          if (!values.empty()) values[i] = e.value;
          if (!bounds.empty()) bounds[i] = e.bound;
          ++i;
        }
      }
    }
    std::copy(values.begin(), values.end(), exact.begin());
    std::copy(bounds.begin(), bounds.end(), bound.begin());
    return {};
  });
}

}  // namespace

Status exact_and_bound(const GmmArgs& args, std::span<double> exact, std::span<double> bound) {
  return answer("gmm", args, exact, bound);
}
Status exact_and_bound(const TgmmArgs& args, std::span<double> exact, std::span<double> bound) {
  return answer("tgmm", args, exact, bound);
}

}  // namespace ragdot
