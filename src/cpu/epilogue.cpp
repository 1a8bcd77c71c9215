// One pass over a row for each kind of out; the plain f32 and bf16 rows are simple enough for the compiler's vectors.
#include "cpu/epilogue.hpp"

#include "cpu/activation.hpp"
#include "format/fault.hpp"
#include "format/memory.hpp"

namespace ragdot::cpu {
namespace {

using fault::Id;

float canonical_zero(float sum) {
  if (fault::on(Id::negative_zero_kept)) return sum;
  return sum == 0.0F ? 0.0F : sum;
}

float finished(const EpilogueSpec& spec, float sum, const std::byte* bias) {
  float value = canonical_zero(sum);
  if (fault::on(Id::bias_after_activation)) {
    value = scalar::activate(spec.activation, value);
    return bias == nullptr ? value : value + format::load<float>(bias);
  }
  if (bias != nullptr) value = value + format::load<float>(bias);
  return scalar::activate(spec.activation, value);
}

std::uint32_t canonical_bits(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return format::is_nan_bits(bits) ? format::kF32Nan : bits;
}

void store_value(Format format, float value, std::byte* at) {
  if (format == Format::f32) return format::store(at, canonical_bits(value));
  if (fault::on(Id::truncated_output)) value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & 0xffffe000U);
  if (fault::on(Id::truncated_output) && format == Format::bf16)
    value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & 0xffff0000U);
  format::store(at, format == Format::bf16 ? format::f32_to_bf16(value) : format::f32_to_f16(value));
}

}  // namespace

void finish_row(const EpilogueSpec& spec, const float* sums, std::int64_t count, const void* bias, std::int64_t bias_stride,
                void* out, std::int64_t out_stride) {
  auto* to = static_cast<std::byte*>(out);
  const auto* added = static_cast<const std::byte*>(bias);
  const bool plain =
      bias == nullptr && spec.activation == Activation::none && spec.out_mode == OutMode::overwrite && out_stride == 1;
  if (plain && spec.out_format == Format::f32) {
    for (std::int64_t i = 0; i < count; ++i) format::store(to + 4 * i, canonical_bits(canonical_zero(sums[i])));
    return;
  }
  if (plain && spec.out_format == Format::bf16 && !fault::on(Id::truncated_output)) {
    for (std::int64_t i = 0; i < count; ++i) format::store(to + 2 * i, format::f32_to_bf16(canonical_zero(sums[i])));
    return;
  }
  const std::int64_t step = out_stride * element_bytes(spec.out_format);
  const std::int64_t bias_step = bias_stride * element_bytes(Format::f32);
  for (std::int64_t i = 0; i < count; ++i, to += step) {
    float value = finished(spec, sums[i], added == nullptr ? nullptr : added + i * bias_step);
    if (spec.out_mode == OutMode::accumulate && !fault::on(Id::accumulate_overwrites)) value = format::load<float>(to) + value;
    store_value(spec.out_format, value, to);
  }
}

}  // namespace ragdot::cpu
