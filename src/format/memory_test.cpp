// Elements of every format at odd addresses, as f32.
#include "format/memory.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cstddef>

namespace ragdot::format {
namespace {

struct Element {
  Format format;
  std::uint32_t bits;
  float value;
};

TEST(Memory, LoadsEveryFormatAtAnyAddress) {
  const std::array<Element, 8> elements = {{{Format::f32, 0xc0490fdb, -0x1.921fb6p1F},
                                            {Format::bf16, 0xc049, -3.140625F},
                                            {Format::f16, 0xc248, -3.140625F},
                                            {Format::e4m3, 0xc5, -3.25F},
                                            {Format::e5m2, 0xc3, -3.5F},
                                            {Format::i8, 0x80, -128},
                                            {Format::e8m0, 130, 8},
                                            {Format::none, 0xff, 0}}};
  for (const Element& e : elements) {
    std::array<std::byte, 8> memory{};
    for (std::size_t at = 0; at < 4; ++at) {
      store(memory.data() + at, e.bits);
      EXPECT_EQ(load<std::uint32_t>(memory.data() + at), e.bits);
      EXPECT_EQ(load_f32(memory.data() + at, e.format), e.value) << name(e.format);
    }
  }
}

}  // namespace
}  // namespace ragdot::format
