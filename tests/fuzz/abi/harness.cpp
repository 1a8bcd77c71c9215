// The executor of the options runs on the calling thread and may lie about its concurrency.
#include "tests/fuzz/abi/harness.hpp"

#include <fmt/format.h>

#include "api/c_abi.hpp"

namespace ragdot::fuzz {
namespace {

constexpr const char* kStale = "stale";
constexpr const char* kKernels[] = {"", "amx", "avx512bf16", "avx512", "avx2", "portable"};
constexpr std::int32_t kConcurrencies[] = {1, 2, 3, 0, -5, 1000, 2147483647};

std::int32_t concurrency = 1;

void run_tasks(void* /*context*/, std::int32_t tasks, ragdot_task task, void* task_context) {
  for (std::int32_t i = tasks; i-- > 0;) task(task_context, i);
}
std::int32_t given_concurrency(void* /*context*/) { return concurrency; }

}  // namespace

void Harness::read_options(Fields& fields) {
  options_.struct_size = sizeof options_;
  const std::int64_t executor = input.below(8);  // usually both functions
  concurrency = input.pick(kConcurrencies);
  if (executor != 1 && executor != 2) options_.run = run_tasks;
  if (executor != 1 && executor != 3) options_.concurrency = given_concurrency;
  options_.threads = static_cast<std::int32_t>(input.below(3));
  options_.strictness = static_cast<std::int32_t>(input.below(2));
  if (input.flag()) {
    tiling_ = {input.between(1, 64), input.between(1, 64), input.between(1, 64)};
    options_.tiling = &tiling_;
  }
  switch (input.below(4)) {
    case 0: break;
    case 1:
      for (std::size_t i = 0; i + 1 < sizeof kernel_; ++i) kernel_[i] = static_cast<char>(input.byte());
      options_.kernel = kernel_;
      break;
    default: options_.kernel = input.pick(kKernels);
  }
  fields.add_options(options_);
  for (std::int64_t* number : {&tiling_.tm, &tiling_.tk, &tiling_.tn}) fields.add(*number);
}

const ragdot_options* Harness::place_options(Guard& guard) {
  if (input.byte() % 16 == 1) return nullptr;
  const ragdot_options whole = options_;
  if (!cut(options_)) guard.must_refuse();
  mend(options_.tiling, whole.tiling);
  mend(options_.kernel, whole.kernel);
  mend(options_.run, whole.run);
  mend(options_.concurrency, whole.concurrency);
  if ((options_.run == nullptr) != (options_.concurrency == nullptr)) guard.must_refuse();
  placed_options_ = std::make_unique<Placed<ragdot_options>>(options_, told_bytes(options_));
  return placed_options_->get();
}

void Harness::forget_sentence() { c_abi::report({Code::invalid_argument, kStale}); }

void Harness::judge(int code, bool must_be_refused) {
  const bool refused = code != RAGDOT_OK;
  const bool changed = arena_.unseal_changed(refused);
  const std::string sentence = ragdot_last_error();
  if (code < 0 || code >= RAGDOT_FAILED) fail(fmt::format("code {}: {}", code, sentence));
  if (refused && changed) fail("a refused call has written: " + sentence);
  if (changed) fail("a call has written outside of its outputs");
  if (refused && (sentence.empty() || sentence == kStale)) fail(fmt::format("code {} without a sentence", code));
  if (!refused && must_be_refused) fail("a call was accepted that must be refused");
}

}  // namespace ragdot::fuzz
