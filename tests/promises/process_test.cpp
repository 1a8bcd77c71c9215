// The library as a guest of its process: the caller's floating-point environment, registers, signals and forks.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <immintrin.h>
#include <sys/time.h>

#include <array>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>

#include "ragdot/error_bound.hpp"
#include "ragdot/quantize.hpp"
#include "tests/cases.hpp"
#include "tests/promises/child.hpp"

namespace ragdot::suites {
namespace {

struct Product {
  Sample sample;
  explicit Product(bool is_gmm)
      : sample(is_gmm ? make_gmm(gmm_grids().front(), touching({5, 0, 30}, 38, 140, 70), Data::mixed, 1)
                      : make_tgmm(tgmm_grids().front(), touching({5, 0, 130}, 138, 40, 70), Data::mixed, 1)) {}
  [[nodiscard]] std::size_t outputs() const {
    return static_cast<std::size_t>(sample.out_batch() * sample.out_rows() * sample.out_cols());
  }
  [[nodiscard]] View view(std::vector<std::byte>& memory) const {
    memory.assign(outputs() * 4, std::byte{0xcd});
    return matrices(static_cast<void*>(memory.data()), Format::f32, sample.out_batch(), sample.out_rows(), sample.out_cols());
  }
  Status call(std::vector<std::byte>& memory, const Options& options) const {
    const View out = view(memory);
    return sample.is_gmm ? gmm(sample.gmm_args(sample.lhs.operand(), sample.rhs.operand(), out), options)
                         : tgmm(sample.tgmm_args(sample.lhs.operand(), sample.rhs.operand(), out), options);
  }
};

std::vector<std::string> usable_kernels() {
  std::vector<std::string> names;
  for (const KernelInfo& kernel : list_kernels()) {
    if (kernel.usable) names.push_back(kernel.name);
  }
  return names;
}

std::uint16_t x87_control() {
  std::uint16_t word = 0;
  __asm__ volatile("fnstcw %0" : "=m"(word));
  return word;
}
void set_x87_control(std::uint16_t word) { __asm__ volatile("fldcw %0" : : "m"(word)); }

/// Register states in use besides their initial values: bits 17 and 18 are AMX's tiles. 0 where the CPU cannot say.
std::uint32_t states_in_use() {
  std::uint32_t eax = 0xd, ebx = 0, ecx = 1, edx = 0;
  __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  if ((eax & 4U) == 0) return 0;
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
  return low;
}
constexpr std::uint32_t kTiles = 0x60000;

/// Environments of callers: rounding modes, flushing, all exceptions unmasked, flags up.
constexpr unsigned kMxcsr[] = {0x1f80, 0x3fbf, 0x5f80, 0xffc0, 0x0000, 0x8040};
constexpr std::uint16_t kX87[] = {0x037f, 0x0c7f, 0x027f, 0x077f, 0x0340, 0x0f7f};

/// Runs `call` in each environment; afterwards everything is as it was, exception flags included.
void expect_unchanged(const std::string& what, const std::function<bool()>& call) {
  const unsigned before = _mm_getcsr();
  const std::uint16_t x87_before = x87_control();
  for (std::size_t i = 0; i < std::size(kMxcsr); ++i) {
    set_x87_control(kX87[i]);
    _mm_setcsr(kMxcsr[i]);
    const bool ok = call();
    const unsigned after = _mm_getcsr();
    const std::uint16_t x87_after = x87_control();
    const std::uint32_t states = states_in_use();
    _mm_setcsr(before);
    set_x87_control(x87_before);
    EXPECT_TRUE(ok) << what;
    EXPECT_EQ(after, kMxcsr[i]) << what;
    EXPECT_EQ(x87_after, kX87[i]) << what;
    EXPECT_EQ(states & kTiles, 0U) << what << ": tile registers are left in use";
  }
}

/// NaN, Inf, subnormals, zero and negative numbers among the values and scales.
void add_odd_numbers(DenseOperand& operand) {
  constexpr std::uint32_t kOdd[] = {0x7fa00000, 0xff800000, 0x00000001, 0x00000000, 0xbf800000, 0x7f7fffff};
  for (std::size_t i = 0; i < std::size(kOdd) && 8 * i + 4 <= operand.scales.size(); ++i) {
    std::memcpy(operand.scales.data() + 8 * i, &kOdd[i], 4);
  }
  for (std::size_t i = 0; i < 32; ++i) operand.values[37 * i] = static_cast<std::byte>(0x70 + i);
}

TEST(FloatEnvironment, OfProductsIsTheCallers) {
  for (const bool is_gmm : {true, false}) {
    Product product(is_gmm);
    add_odd_numbers(product.sample.lhs);
    std::vector<std::byte> expected;
    ASSERT_TRUE(product.call(expected, {}).ok());
    for (const std::string& kernel : usable_kernels()) {
      Options options;
      options.kernel = kernel;
      for (const int threads : {1, 3}) {
        options.threads = threads;
        std::vector<std::byte> out;
        expect_unchanged("kernel " + kernel, [&] { return product.call(out, options).ok() && out == expected; });
      }
      options.strictness = Strictness::strict;
      std::vector<std::byte> out;
      expect_unchanged("strict, kernel " + kernel, [&] { return product.call(out, options).code() == Code::invalid_argument; });
    }
  }
}

TEST(FloatEnvironment, OfActivationsIsTheCallers) {
  Product product(true);
  add_odd_numbers(product.sample.rhs);
  for (const Activation activation :
       {Activation::relu, Activation::tanh, Activation::silu, Activation::gelu_tanh, Activation::gelu_erf}) {
    product.sample.activation = activation;
    product.sample.bias.assign(static_cast<std::size_t>(3 * 70), 1e-40F);
    std::vector<std::byte> expected;
    ASSERT_TRUE(product.call(expected, {}).ok());
    std::vector<std::byte> out;
    expect_unchanged("activation", [&] { return product.call(out, {}).ok() && out == expected; });
  }
}

TEST(FloatEnvironment, OfPlansAndPacksIsTheCallers) {
  Product product(true);
  add_odd_numbers(product.sample.rhs);
  std::vector<std::byte> expected;
  ASSERT_TRUE(product.call(expected, {}).ok());
  std::vector<std::byte> out;
  expect_unchanged("plan, pack, run", [&] {
    GmmArgs args = product.sample.gmm_args(product.sample.lhs.operand(), product.sample.rhs.operand(), product.view(out));
    const auto packed = pack_rhs(args.rhs);
    const auto plan = make_plan(args);
    std::vector<std::byte> workspace(plan.value().workspace_bytes());
    if (!run(plan.value(), args, workspace).ok() || out != expected) return false;
    args.rhs = {};
    args.packed_rhs = packed.value();
    args.out = product.view(out);
    return run(plan.value(), args, workspace).ok() && out == expected && !plan.value().describe().empty() &&
           !packed.value().describe().empty() && !list_kernels().empty();
  });
}

TEST(FloatEnvironment, OfOraclesIsTheCallers) {
  Product product(true);
  std::vector<std::byte> out;
  std::vector<double> exact(product.outputs());
  std::vector<double> bound(product.outputs());
  const GmmArgs args = product.sample.gmm_args(product.sample.lhs.operand(), product.sample.rhs.operand(), product.view(out));
  ASSERT_TRUE(exact_and_bound(args, exact, bound).ok());
  const std::vector<double> first = exact;
  const std::vector<double> first_bound = bound;
  expect_unchanged("exact_and_bound",
                   [&] { return exact_and_bound(args, exact, bound).ok() && exact == first && bound == first_bound; });
}

TEST(FloatEnvironment, OfQuantisersIsTheCallers) {
  constexpr std::int64_t kRows = 33;
  constexpr std::int64_t kCols = 70;
  std::vector<float> input(kRows * kCols);
  for (std::size_t i = 0; i < input.size(); ++i)
    input[i] = std::ldexp(1.0F + static_cast<float>(i % 97), static_cast<int>(i % 200) - 140);
  input[70] = NAN;
  input[75] = INFINITY;
  input[80] = 1e-44F;
  const ConstView from = matrix(static_cast<const void*>(input.data()), Format::f32, kRows, kCols);
  std::vector<std::byte> first(4 * kRows * kCols);
  std::vector<std::byte> scales(4 * kRows);
  for (const std::string& kernel : usable_kernels()) {
    Options options;
    options.kernel = kernel;
    for (const Recipe recipe : {Recipe::absmax, Recipe::pow2, Recipe::mx, Recipe::fixed}) {
      const bool power = recipe == Recipe::pow2 || recipe == Recipe::mx;
      const QuantizedOut out = {
          matrix(static_cast<void*>(first.data()), Format::e4m3, kRows, kCols),
          {matrix(static_cast<void*>(scales.data()), power ? Format::e8m0 : Format::f32, kRows, 1), 1, kCols},
          recipe};
      ASSERT_TRUE(quantize({from, std::nullopt, out}, options).ok());
      const std::vector<std::byte> values = first;
      const std::vector<std::byte> kept = scales;
      expect_unchanged("quantize, kernel " + kernel,
                       [&] { return quantize({from, std::nullopt, out}, options).ok() && first == values && scales == kept; });
      const Operand scaled = {out.values, {out.scales.view, 1, kCols, ScaleOrigin::global}};
      std::vector<std::byte> back(4 * kRows * kCols);
      const View to = matrix(static_cast<void*>(back.data()), Format::f32, kRows, kCols);
      ASSERT_TRUE(dequantize({scaled, std::nullopt, to}, options).ok());
      const std::vector<std::byte> expected = back;
      expect_unchanged("dequantize, kernel " + kernel,
                       [&] { return dequantize({scaled, std::nullopt, to}, options).ok() && back == expected; });
    }
    options.strictness = Strictness::strict;
    const QuantizedOut strict = {matrix(static_cast<void*>(first.data()), Format::i8, kRows, kCols),
                                 {matrix(static_cast<void*>(scales.data()), Format::f32, kRows, 1), 1, kCols}};
    expect_unchanged("refused elements, kernel " + kernel,
                     [&] { return quantize({from, std::nullopt, strict}, options).code() == Code::invalid_argument; });
  }
  std::vector<float> powers(kCols, 0.25F);
  std::vector<std::byte> codes(kCols);
  const auto convert = [&] {
    return to_e8m0(matrix(static_cast<const void*>(powers.data()), Format::f32, 1, kCols),
                   matrix(static_cast<void*>(codes.data()), Format::e8m0, 1, kCols));
  };
  expect_unchanged("to_e8m0", [&] { return convert().ok() && codes[3] == std::byte{125}; });
  for (const float odd : {0.3F, 1e-44F, NAN, INFINITY}) {
    powers[7] = odd;
    expect_unchanged("to_e8m0 refuses", [&] { return convert().code() == Code::invalid_argument; });
  }
}

volatile std::sig_atomic_t signals_seen = 0;
volatile float signal_number = 1;

/// A handler that uses every kind of arithmetic.
extern "C" void on_alarm(int) {
  signals_seen = signals_seen + 1;
  signal_number = std::sqrt(signal_number * 3.7F + 1e-38F);
  volatile long double wide = signal_number;
  wide = wide * wide / 7;
}

/// A timer that interrupts every 50 us while it lives.
class Storm {
 public:
  Storm() {
    struct sigaction action = {};
    action.sa_handler = on_alarm;  // no SA_RESTART: system calls are interrupted
    sigaction(SIGALRM, &action, &before_);
    set(50);
  }
  ~Storm() {
    set(0);
    sigaction(SIGALRM, &before_, nullptr);
  }
  Storm(const Storm&) = delete;
  Storm& operator=(const Storm&) = delete;

 private:
  static void set(int microseconds) {
    const itimerval every = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &every, nullptr);
  }
  struct sigaction before_ = {};
};

TEST(Signals, ThatInterruptCallsChangeNothing) {
  for (const bool is_gmm : {true, false}) {
    const Product product(is_gmm);
    std::vector<std::byte> expected;
    ASSERT_TRUE(product.call(expected, {}).ok());
    signals_seen = 0;
    for (const std::string& kernel : usable_kernels()) {
      for (Executor* executor : {&tbb_executor(), &thread_executor()}) {
        Options options;
        options.kernel = kernel;
        options.executor = executor;
        options.threads = 3;
        int refused = 0;
        int differing = 0;
        const int until = signals_seen + 50;
        {
          const Storm storm;
          std::vector<std::byte> out;
          while (signals_seen < until) {
            refused += product.call(out, options).ok() ? 0 : 1;
            differing += out == expected ? 0 : 1;
            if (is_gmm) refused += pack_rhs(product.sample.rhs.operand(), options).ok() ? 0 : 1;
          }
        }
        EXPECT_EQ(refused, 0) << kernel;
        EXPECT_EQ(differing, 0) << kernel;
      }
    }
  }
}

/// A call whose operands outlive everything.
struct LastCall {
  const Product& product = *new Product(true);
  std::vector<std::byte>& expected = *new std::vector<std::byte>;
  Options options;

  [[nodiscard]] bool is_right() const {
    std::vector<std::byte> out;
    return product.call(out, options).ok() && out == expected && !list_kernels().empty();
  }
};

/// Older than everything that the library makes at its first call, so that its destructor runs behind that of all this.
struct CallsAtTheEnd {
  const LastCall* call = nullptr;
  ~CallsAtTheEnd() {
    if (call != nullptr && !call->is_right()) _exit(2);
  }
} at_the_end;

/// By the destructor of a static object, and by threads that call on while the process ends.
TEST(TheEnd, OfAProcessMayFindItCalling) {
  for (Executor* executor : {&tbb_executor(), &thread_executor()}) {
    auto& call = *new LastCall;
    ASSERT_TRUE(call.product.call(call.expected, {}).ok());
    call.options.executor = executor;
    call.options.threads = 1;
    const auto end = [&call] {
      at_the_end.call = &call;
      for (int i = 0; i < 3; ++i) {
        std::thread([&call] {
          while (call.is_right()) continue;
          _exit(3);
        }).detach();
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      std::exit(0);  // NOLINT(concurrency-mt-unsafe)
      return 1;
    };
    for (int i = 0; i < 10; ++i) ASSERT_EQ(in_child(30, end), 0);
  }
}

/// Threads of oneTBB sleep in code that would go with it.
TEST(Unloading, LeavesTheLibraryWhereItIs) {
  void* library = dlopen(RAGDOT_SHARED_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << dlerror();
  const void* version = dlsym(library, "ragdot_version");
  ASSERT_EQ(dlclose(library), 0);
  library = dlopen(RAGDOT_SHARED_LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
  ASSERT_NE(library, nullptr) << "it was unmapped";
  EXPECT_EQ(dlsym(library, "ragdot_version"), version);
}

/// Parent and child both call on, with the library's threads and with oneTBB, whose workers the child lacks.
TEST(Forks, ChildAndParentCallOn) {
  const Product product(true);
  std::vector<std::byte> expected;
  ASSERT_TRUE(product.call(expected, {}).ok());
  for (Executor* executor : {&thread_executor(), &tbb_executor()}) {
    Options options;
    options.executor = executor;
    options.threads = 4;
    options.tiling = Tiling{8, 64, 32};
    const auto packed = pack_rhs(product.sample.rhs.operand());
    for (int i = 0; i < 20; ++i) {
      std::vector<std::byte> out;
      ASSERT_TRUE(product.call(out, options).ok());
      ASSERT_EQ(out, expected);
      ASSERT_EQ(in_child(30,
                         [&] {
                           for (int call = 0; call < 5; ++call) {
                             if (!product.call(out, options).ok() || out != expected) return 1;
                           }
                           GmmArgs args = product.sample.gmm_args(product.sample.lhs.operand(), {}, product.view(out));
                           args.packed_rhs = packed.value();
                           return gmm(args, options).ok() && out == expected ? 0 : 2;
                         }),
                0)
          << (executor == &tbb_executor() ? "oneTBB" : "threads") << ", fork " << i;
    }
  }
}

/// 0, or the number of the step that went wrong.
int call_on_a_small_signal_stack() {
  static std::array<std::byte, 4096> memory;
  stack_t stack = {};
  stack.ss_sp = memory.data();
  stack.ss_size = memory.size();
  if (sigaltstack(&stack, nullptr) != 0) return 3;
  const Product product(true);
  std::vector<std::byte> out;
  if (!product.call(out, {}).ok()) return 4;
  Options portable;
  portable.kernel = "portable";
  std::vector<std::byte> expected;
  if (!product.call(expected, portable).ok() || out != expected) return 5;
  for (const std::string& kernel : usable_kernels()) {
    if (kernel == "amx") return 6;
  }
  return 0;
}

/// A thread's small signal stack, set before the first call, has no room for tile registers: Linux refuses them, and another
/// kernel gives the same bits.
TEST(Signals, ASmallSignalStackCostsTilesOnly) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";  // in a process where the library has not been used
  EXPECT_EXIT(_exit(call_on_a_small_signal_stack()), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace ragdot::suites
