// Numbers and pointers of C structs as one list, so that a mutation can break any of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "ragdot/ragdot.h"
#include "tests/fuzz/abi/arena.hpp"

namespace ragdot::fuzz {

class Fields {
 public:
  void add(std::int32_t& at) { add(Kind::number32, &at); }
  void add(std::int64_t& at) { add(Kind::number64, &at); }
  void add_size(std::size_t& at) { add(Kind::size, &at); }
  template <class T>
  void add_pointer(T*& at) {
    add(Kind::pointer, &at);
  }
  template <class View>
  void add_view(View& v) {
    add_pointer(v.data);
    add(v.format);
    for (std::int64_t* number : {&v.batch, &v.rows, &v.cols, &v.batch_stride, &v.row_stride, &v.col_stride}) add(*number);
  }
  void add_operand(ragdot_operand& o) {
    add_view(o.values);
    add_view(o.scales.view);
    add(o.scales.block_rows);
    add(o.scales.block_cols);
    add(o.scales.origin);
  }
  void add_groups(ragdot_groups& g) {
    add(g.kind);
    add(g.index);
    add_pointer(g.data);
    add_pointer(g.sizes);
    add(g.count);
  }
  void add_quantized(ragdot_quantized_out& out) {
    add_view(out.values);
    add_view(out.scales.view);
    add(out.scales.block_rows);
    add(out.scales.block_cols);
    add(out.recipe);
  }
  void add_options(ragdot_options& o) {
    add_size(o.struct_size);
    add(o.threads);
    add(o.strictness);
  }

  /// Breaks up to three fields as the input says.
  void mutate(Input& in, Arena& arena) const;

 private:
  enum class Kind : std::int32_t { number32, number64, size, pointer };
  struct Field {
    Kind kind = Kind::number32;
    void* at = nullptr;
  };

  void add(Kind kind, void* at) {
    if (count_ == fields_.size()) fail("the list of fields is too short");
    fields_[count_++] = {kind, at};
  }

  std::array<Field, 96> fields_;
  std::size_t count_ = 0;
};

}  // namespace ragdot::fuzz
