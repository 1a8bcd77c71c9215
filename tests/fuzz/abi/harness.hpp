// One call of the C interface under watch: structs as callers of any header hold them, options, failing allocations, and what
// is asked of every answer.
#pragma once

#include <cstring>
#include <memory>

#include "ragdot/ragdot.h"
#include "tests/fuzz/abi/allocations.hpp"
#include "tests/fuzz/abi/builder.hpp"
#include "tests/fuzz/abi/fields.hpp"
#include "tests/fuzz/abi/guard.hpp"

namespace ragdot::fuzz {

/// A struct in memory that ends with the last byte that the library may read.
template <class T>
class Placed {
 public:
  Placed(const T& full, std::size_t bytes) : bytes_(new std::byte[bytes]) { std::memcpy(bytes_.get(), &full, bytes); }
  [[nodiscard]] T* get() const { return reinterpret_cast<T*>(bytes_.get()); }

 private:
  std::unique_ptr<std::byte[]> bytes_;
};

/// Bytes of a struct that its struct_size tells the library to read.
template <class T>
std::size_t told_bytes(const T& s) {
  return s.struct_size > sizeof s.struct_size && s.struct_size <= sizeof(T) ? s.struct_size : sizeof s.struct_size;
}

/// Makes the fields that the library will not see zero; false where struct_size is one that it has to refuse.
template <class T>
bool cut(T& s) {
  const std::size_t told = told_bytes(s);
  std::memset(reinterpret_cast<std::byte*>(&s) + told, 0, sizeof(T) - told);
  return told > sizeof s.struct_size;
}

/// A pointer that a cut has halved becomes null.
template <class T>
void mend(T& pointer, T whole) {
  if (pointer != whole) pointer = nullptr;
}

class Harness {
 public:
  Harness(Input in, Arena& arena) : input(in), builder(input, arena), arena_(arena) {}

  /// Options, with their numbers in `fields`.
  void read_options(Fields& fields);
  /// The options as the library gets them: after the mutations.
  const ragdot_options* place_options(Guard& guard);
  /// A struct that begins with struct_size, as the library gets it: cut where its size says so, rarely null. `views` names its
  /// views to the guard, and mends pointers.
  template <class T, class Views>
  const T* place(T& args, Guard& guard, std::unique_ptr<Placed<T>>& placed, Views views) {
    if (!cut(args)) guard.must_refuse();
    views();
    placed = std::make_unique<Placed<T>>(args, told_bytes(args));
    if (input.byte() != 255) return placed->get();
    guard.must_refuse();
    return nullptr;
  }

  /// Makes the call and holds its answer to the rules of the header: an accepted call has changed its outputs alone, a refused
  /// one nothing and has a sentence; what the guard knows to be wrong is refused. Gives the code.
  template <class Call>
  int checked(Guard& guard, Call call) {
    const std::int64_t failing = input.byte();  // rarely an allocation of the call
    const bool must_be_refused = guard.seal();
    forget_sentence();
    int code = 0;
    {
      const FailingAllocations allocations(failing >= 240 ? failing - 240 : -1);
      code = call();
    }
    judge(code, must_be_refused);
    return code;
  }
  void mutate(const Fields& fields) { fields.mutate(input, arena_); }
  [[nodiscard]] Arena& arena() { return arena_; }

  Input input;
  Builder builder;

 private:
  static void forget_sentence();
  void judge(int code, bool must_be_refused);

  Arena& arena_;
  ragdot_options options_{};
  ragdot_tiling tiling_{};
  char kernel_[16] = {};
  std::unique_ptr<Placed<ragdot_options>> placed_options_;
};

/// The functions of ragdot.h, each in its own way wrong.
void fuzz_gmm(Harness& h);
void fuzz_tgmm(Harness& h);
void fuzz_plan_gmm(Harness& h);
void fuzz_plan_tgmm(Harness& h);
void fuzz_run_gmm(Harness& h);
void fuzz_run_tgmm(Harness& h);
void fuzz_packed(Harness& h);
void fuzz_gmm_exact_and_bound(Harness& h);
void fuzz_tgmm_exact_and_bound(Harness& h);
void fuzz_quantize(Harness& h);
void fuzz_quantize_both(Harness& h);
void fuzz_requantize(Harness& h);
void fuzz_dequantize(Harness& h);
void fuzz_to_e8m0(Harness& h);
void fuzz_kernels(Harness& h);
void fuzz_error_bound(Harness& h);
void fuzz_openmp(Harness& h);

}  // namespace ragdot::fuzz
