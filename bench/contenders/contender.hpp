// One way of computing a case, ready to be called again and again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "testing/case.hpp"

namespace ragdot::bench {

class Contender {
 public:
  virtual ~Contender() = default;

  /// Computes the whole product into out(). Everything that a user would do once for many calls is already done.
  virtual Status run() = 0;
  /// After a turn: nothing of it may go on in the background.
  virtual void leave() {}
  [[nodiscard]] virtual const testing::Bytes& out() const = 0;
  /// Kernel, or what the library calls the code that runs.
  [[nodiscard]] virtual std::string kernel() const = 0;
  /// The tile that is used, "" where that has no meaning.
  [[nodiscard]] virtual std::string tile() const { return ""; }
  /// The limit of peaks/ that bounds it, "" where none is known.
  [[nodiscard]] virtual std::string peak() const = 0;
};

/// How weights lie in memory while they are timed.
struct Weights {
  std::int64_t copies = 1;  // each call takes the next one, so that none is left in a cache
};

/// A contender keeps the case, and runs it on the threads (and so on) that the problem `how` names.
using MadeContender = Result<std::unique_ptr<Contender>>;

/// The library, with kernel, tile and threads of `how`; weights packed, workspace planned.
[[nodiscard]] MadeContender make_ragdot(const testing::Problem& how, std::shared_ptr<const testing::Case> c,
                                        const Weights& weights);

/// oneDNN: a bf16 matmul for each expert, weights packed as it likes them; tgmm as a matmul for each expert with lhs transposed
/// by its strides. Refuses where it was not built in, and what it cannot compute.
[[nodiscard]] MadeContender make_onednn(const testing::Problem& how, std::shared_ptr<const testing::Case> c,
                                        const Weights& weights);
/// "2.6.3", or "" where it was not built in.
[[nodiscard]] std::string onednn_version();

}  // namespace ragdot::bench
