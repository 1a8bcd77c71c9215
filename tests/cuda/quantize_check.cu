// The device quantisers against the CPU's, byte for byte, on random shapes and data; then their speed against a device copy.
// Exit code 1 on any difference. `quantize_check [cases] [seed]`; 0 cases: times only; a third argument: checks only.
#include <cuda_runtime.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "cuda/device/quantize.hpp"
#include "device_bytes.cuh"
#include "quantize_times.cuh"
#include "ragdot/quantize.hpp"

namespace {

using namespace ragdot;

struct Random {
  std::mt19937_64 engine;
  std::int64_t below(std::int64_t n) { return static_cast<std::int64_t>(engine() % static_cast<std::uint64_t>(n)); }
  bool chance(int one_in) { return below(one_in) == 0; }
  template <class T>
  T one_of(std::initializer_list<T> list) {
    return list.begin()[below(static_cast<std::int64_t>(list.size()))];
  }
};

struct CaseGroups {
  bool given = false;
  Groups::Kind kind = Groups::Kind::sizes;
  bool wide = false;
  std::vector<std::int64_t> starts;
  std::vector<std::int64_t> sizes;
  std::vector<std::int64_t> data;  // as the kind wants it
  std::vector<std::int32_t> data32;
  std::vector<std::int32_t> sizes32;

  [[nodiscard]] Groups host() const {
    Groups groups;
    groups.kind = kind;
    groups.index = wide ? Groups::Index::i64 : Groups::Index::i32;
    groups.data = wide ? static_cast<const void*>(data.data()) : data32.data();
    if (kind == Groups::Kind::starts_and_sizes) groups.sizes = wide ? static_cast<const void*>(sizes.data()) : sizes32.data();
    groups.count = static_cast<std::int64_t>(starts.size());
    return groups;
  }
};

CaseGroups make_groups(Random& random, std::int64_t rows) {
  CaseGroups g;
  g.given = true;
  g.kind = static_cast<Groups::Kind>(random.below(4));
  g.wide = random.chance(2);
  const std::int64_t count = random.chance(12) ? 40 + random.below(1100) : 1 + random.below(9);
  std::int64_t at = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t left = rows - at;
    const bool gap = g.kind == Groups::Kind::starts_and_sizes ? random.chance(3) : g.kind == Groups::Kind::offsets && i == 0;
    if (gap) at += random.below(std::min<std::int64_t>(left, 40) + 1);
    std::int64_t size = random.chance(4) ? 0 : random.below(2 * (rows - at) / (count - i) + 1);
    if (random.chance(6)) size = size / 128 * 128;
    size = std::min(size, rows - at);
    g.starts.push_back(at);
    g.sizes.push_back(size);
    at += size;
  }
  switch (g.kind) {
    case Groups::Kind::sizes: g.data = g.sizes; break;
    case Groups::Kind::ends:
      for (std::size_t i = 0; i < g.sizes.size(); ++i) g.data.push_back(g.starts[i] + g.sizes[i]);
      break;
    case Groups::Kind::offsets:
      g.data = g.starts;
      g.data.push_back(at);
      break;
    case Groups::Kind::starts_and_sizes: g.data = g.starts; break;
  }
  g.data32.assign(g.data.begin(), g.data.end());
  g.sizes32.assign(g.sizes.begin(), g.sizes.end());
  return g;
}

/// Bits of an f32; `wild`: NaN, Inf, zeros of both signs, subnormals and huge values among the rest.
std::uint32_t element(Random& random, int style, float spread) {
  const auto r = random.engine();
  const float plain = std::ldexp(static_cast<float>(static_cast<std::int32_t>(r)) * 0x1p-31F, static_cast<int>(spread));
  const auto noise = static_cast<std::uint32_t>(r >> 32);
  switch (style) {
    case 0: return std::bit_cast<std::uint32_t>(plain);
    case 1: return noise;  // any bits at all
    case 2:                // now and then something special
      if (noise % 997 == 0) return (noise & 0x80000000U) | 0x7f800000U;
      if (noise % 997 == 1) return noise | 0x7f810000U;
      if (noise % 97 == 2) return noise & 0x80000000U;
      if (noise % 97 == 3) return noise & 0x807fffffU;
      if (noise % 997 == 4) return (noise & 0x80ffffffU) | 0x7f000000U;
      return std::bit_cast<std::uint32_t>(plain);
    case 3: return noise & 0x80ffffffU;  // the smallest magnitudes
    case 4: return noise & 0x80000000U;  // zeros
    case 5: return std::bit_cast<std::uint32_t>(static_cast<float>(static_cast<int>(noise % 897) - 448) * 0.5F);  // ties
    default: return (noise & 0x80ffffffU) | 0x7e800000U;  // the largest, Inf and NaN too
  }
}

struct CaseCopy {
  bool wanted = false;
  Format format = Format::e4m3;
  Recipe recipe = Recipe::absmax;
  std::int64_t block_rows = 1;
  std::int64_t block_cols = 128;
  bool transposed = false;
  bool aligned_groups = false;
  View values;  // strides and extents; on the host
  View scales;
  std::int64_t scale_rows = 0;  // of each matrix on the device
  std::vector<std::byte> value_bytes;
  std::vector<std::byte> scale_bytes;
  std::size_t offset = 0;
};

std::int64_t blocks(std::int64_t n, std::int64_t block) { return (n + block - 1) / block; }

CaseCopy make_copy(Random& random, const CaseGroups& groups, std::int64_t batch, std::int64_t rows, std::int64_t cols) {
  CaseCopy copy;
  copy.wanted = true;
  copy.format = random.one_of({Format::e4m3, Format::e4m3, Format::e5m2});
  copy.recipe = random.one_of({Recipe::absmax, Recipe::absmax, Recipe::pow2, Recipe::mx});
  const std::int64_t kind = random.below(3);
  copy.block_rows = kind == 0 ? 1 : 128;
  copy.block_cols = kind == 1 ? 1 : 128;
  copy.transposed = random.chance(2);
  copy.offset = random.chance(3) ? static_cast<std::size_t>(random.below(16)) : 0;
  copy.aligned_groups = copy.transposed && groups.given && random.chance(2);
  const auto count = static_cast<std::int64_t>(groups.sizes.size());
  const std::int64_t value_rows = copy.aligned_groups ? cuda::most_aligned_rows(rows, count) : rows;
  const std::int64_t inner = copy.transposed ? value_rows : cols;
  const std::int64_t outer = copy.transposed ? cols : rows;
  const std::int64_t pitch = random.chance(3) ? inner + random.below(9) : copy.transposed ? inner : blocks(inner, 8) * 8;
  const std::int64_t matrix_bytes = outer * pitch + (random.chance(3) ? random.below(20) : 0);
  copy.values = {
      nullptr, copy.format, batch, value_rows, cols, matrix_bytes, copy.transposed ? 1 : pitch, copy.transposed ? pitch : 1};
  copy.value_bytes.assign(static_cast<std::size_t>(batch * matrix_bytes), std::byte{0xaa});

  std::int64_t used = blocks(rows, copy.block_rows);
  copy.scale_rows = used;
  if (groups.given) {
    used = 0;
    for (const std::int64_t size : groups.sizes) used += blocks(size, copy.block_rows);
    copy.scale_rows = cuda::most_scale_rows(rows, count, copy.block_rows);
    copy.scale_rows += random.chance(3) ? random.below(4) : 0;
  }
  const std::int64_t scale_cols = blocks(cols, copy.block_cols);
  const bool column_major = random.chance(3);
  const std::int64_t scale_pitch = (column_major ? copy.scale_rows : scale_cols) + (random.chance(3) ? random.below(5) : 0);
  const std::int64_t scale_matrix = scale_pitch * (column_major ? scale_cols : copy.scale_rows);
  copy.scales = {nullptr,
                 Format::f32,
                 batch,
                 used,
                 scale_cols,
                 scale_matrix,
                 column_major ? 1 : scale_pitch,
                 column_major ? scale_pitch : 1};
  copy.scale_bytes.assign(static_cast<std::size_t>(batch * scale_matrix) * 4, std::byte{0xaa});
  return copy;
}

/// The first rows of groups that each begin at the next multiple of 16.
std::vector<std::int64_t> aligned_starts(const CaseGroups& groups) {
  std::vector<std::int64_t> starts;
  std::int64_t at = 0;
  for (const std::int64_t size : groups.sizes) {
    starts.push_back(at);
    at += blocks(size, cuda::kGroupAlignment) * cuda::kGroupAlignment;
  }
  return starts;
}

/// The groups of a transposed copy [cols][rows] at their aligned places; other bytes stay.
void place_groups(CaseCopy& copy, const std::vector<std::byte>& plain, std::int64_t rows, const CaseGroups& groups) {
  const std::vector<std::int64_t> starts = aligned_starts(groups);
  for (std::int64_t col = 0; col < copy.values.cols; ++col) {
    for (std::size_t g = 0; g < starts.size(); ++g) {
      const std::byte* from = plain.data() + col * rows + groups.starts[g];
      std::copy_n(from, groups.sizes[g], copy.value_bytes.data() + col * copy.values.col_stride + starts[g]);
    }
  }
}

/// What the CPU makes of it, and 1 in scales behind the last group's.
void expect(CaseCopy& copy, const ConstView& input, const CaseGroups& groups) {
  QuantizedOut out{copy.values, {copy.scales, copy.block_rows, copy.block_cols}, copy.recipe};
  out.values.data = copy.value_bytes.data();
  std::vector<std::byte> plain;
  if (copy.aligned_groups) {
    plain.resize(static_cast<std::size_t>(input.rows * input.cols));
    out.values.data = plain.data();
    out.values.rows = out.values.col_stride = input.rows;
  }
  out.scales.view.data = copy.scale_bytes.data();
  QuantizeArgs args{input, {}, out};
  if (groups.given) args.groups = groups.host();
  const Status status = quantize(args);
  if (!status.ok()) {
    std::printf("the CPU refuses: %s\n", std::string(status.message()).c_str());
    std::exit(1);
  }
  if (copy.aligned_groups) place_groups(copy, plain, input.rows, groups);
  const float one = 1.0F;
  const View& s = copy.scales;
  for (std::int64_t b = 0; b < s.batch; ++b) {
    for (std::int64_t r = s.rows; r < copy.scale_rows; ++r) {
      for (std::int64_t c = 0; c < s.cols; ++c)
        std::memcpy(&copy.scale_bytes[static_cast<std::size_t>(b * s.batch_stride + r * s.row_stride + c * s.col_stride) * 4],
                    &one, 4);
    }
  }
}

cuda::QuantizedCopy device_copy(const CaseCopy& copy, char* values, char* scales) {
  cuda::QuantizedCopy to;
  if (!copy.wanted) return to;
  to.values = values;
  to.format = copy.format;
  to.batch_stride = copy.values.batch_stride;
  to.row_stride = copy.values.row_stride;
  to.col_stride = copy.values.col_stride;
  to.scales = reinterpret_cast<float*>(scales);
  to.scale_batch_stride = copy.scales.batch_stride;
  to.scale_row_stride = copy.scales.row_stride;
  to.scale_col_stride = copy.scales.col_stride;
  to.scale_rows = copy.scale_rows;
  to.block_rows = static_cast<std::int32_t>(copy.block_rows);
  to.block_cols = static_cast<std::int32_t>(copy.block_cols);
  to.recipe = copy.recipe;
  to.aligned_groups = copy.aligned_groups;
  return to;
}

/// Numbers as bytes of the groups' index type.
std::vector<std::byte> index_bytes(const std::vector<std::int64_t>& numbers, bool wide) {
  std::vector<std::byte> bytes(numbers.size() * (wide ? 8 : 4));
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto narrow = static_cast<std::int32_t>(numbers[i]);
    std::memcpy(&bytes[i * (wide ? 8 : 4)], wide ? static_cast<const void*>(&numbers[i]) : &narrow, wide ? 8 : 4);
  }
  return bytes;
}

bool same(const char* what, const std::vector<std::byte>& got, const std::vector<std::byte>& wanted) {
  if (got == wanted) return true;
  const auto at = std::mismatch(got.begin(), got.end(), wanted.begin()).first - got.begin();
  std::int64_t count = 0;
  for (std::size_t i = 0; i < got.size(); ++i) count += got[i] != wanted[i];
  std::printf("  %s: %lld of %zu bytes differ, the first at %lld: %02x, not %02x\n", what, static_cast<long long>(count),
              got.size(), static_cast<long long>(at), std::to_integer<unsigned>(got[static_cast<std::size_t>(at)]),
              std::to_integer<unsigned>(wanted[static_cast<std::size_t>(at)]));
  return false;
}

/// One random call; true when every byte is the CPU's.
bool check_case(std::uint64_t seed) {
  Random random{std::mt19937_64(seed)};
  const std::int64_t rows = random.chance(4) ? 1 + random.below(20) : 1 + random.below(700);
  std::int64_t cols = random.chance(4) ? 1 + random.below(20) : 1 + random.below(420);
  if (!random.chance(4)) cols = blocks(cols, 8) * 8;
  const bool grouped = !random.chance(3);
  const CaseGroups groups = grouped ? make_groups(random, rows) : CaseGroups{};
  const std::int64_t batch = grouped ? 1 : random.one_of<std::int64_t>({1, 1, 2, 3});
  const Format format = random.chance(3) ? Format::f32 : Format::bf16;
  const std::int64_t bytes = element_bytes(format);
  const std::int64_t pitch = random.chance(5) ? cols + random.below(7) : blocks(cols, 8) * 8 + 8 * random.below(3);
  const std::int64_t matrix_elements = rows * pitch;
  const std::size_t offset = random.chance(6) ? static_cast<std::size_t>(bytes) : 0;

  std::vector<std::byte> input(static_cast<std::size_t>(batch * matrix_elements * bytes));
  const int style = random.chance(2) ? 0 : static_cast<int>(random.below(7));
  const auto spread = static_cast<float>(random.chance(4) ? random.below(240) - 120 : random.below(12) - 6);
  for (std::int64_t i = 0; i < batch * matrix_elements; ++i) {
    const std::uint32_t bits = element(random, style, spread);
    const auto high = static_cast<std::uint16_t>(bits >> 16);
    std::memcpy(&input[static_cast<std::size_t>(i * bytes)], bytes == 2 ? static_cast<const void*>(&high) : &bits,
                static_cast<std::size_t>(bytes));
  }
  const ConstView view{input.data(), format, batch, rows, cols, matrix_elements, pitch, 1};
  CaseCopy copies[2] = {make_copy(random, groups, batch, rows, cols), {}};
  if (!random.chance(4)) copies[1] = make_copy(random, groups, batch, rows, cols);
  if (random.chance(8)) std::swap(copies[0], copies[1]);

  cuda::Quantize args;
  const DeviceBytes on_device(input, offset);
  args.input = on_device.data();
  args.input_format = format;
  args.batch = batch;
  args.rows = rows;
  args.cols = cols;
  args.batch_stride = matrix_elements;
  args.row_stride = pitch;
  const Groups host = groups.host();
  const std::size_t number_bytes = groups.wide ? 8 : 4;
  std::vector<std::byte> numbers(groups.data.size() * number_bytes);
  std::vector<std::byte> sizes(groups.sizes.size() * number_bytes);
  if (!numbers.empty()) std::memcpy(numbers.data(), host.data, numbers.size());
  if (host.sizes != nullptr) std::memcpy(sizes.data(), host.sizes, sizes.size());
  const DeviceBytes numbers_on_device(numbers, 0);
  const DeviceBytes sizes_on_device(sizes, 0);
  const DeviceBytes workspace(static_cast<std::size_t>(cuda::quantize_workspace_bytes(host.count)));
  if (grouped) {
    args.groups = {static_cast<std::int32_t>(host.kind),
                   groups.wide ? 64 : 32,
                   numbers_on_device.data(),
                   host.sizes != nullptr ? sizes_on_device.data() : nullptr,
                   static_cast<std::int32_t>(host.count),
                   0,
                   static_cast<std::int32_t>(host.count)};
  }
  args.workspace = workspace.data();
  if (random.chance(4)) args.multiprocessors = 1;
  const DeviceBytes values0(copies[0].value_bytes, copies[0].offset);
  const DeviceBytes values1(copies[1].value_bytes, copies[1].offset);
  const DeviceBytes scales0(copies[0].scale_bytes, 0);
  const DeviceBytes scales1(copies[1].scale_bytes, 0);
  args.first = device_copy(copies[0], values0.data(), scales0.data());
  args.second = device_copy(copies[1], values1.data(), scales1.data());
  const bool aligned = copies[0].aligned_groups || copies[1].aligned_groups;
  const std::size_t index_count = aligned ? groups.sizes.size() * number_bytes : 0;
  const DeviceBytes starts_written(index_count);
  const DeviceBytes sizes_written(index_count);
  if (aligned) {
    args.aligned_starts = starts_written.data();
    args.aligned_sizes = sizes_written.data();
  }
  must(cuda::quantize(args, nullptr));
  for (CaseCopy& copy : copies) {
    if (copy.wanted) expect(copy, view, groups);
  }
  must(cudaDeviceSynchronize(), "quantize");
  bool right = same("values of the first copy", values0.read(), copies[0].value_bytes);
  right = same("values of the second copy", values1.read(), copies[1].value_bytes) && right;
  right = same("scales of the first copy", scales0.read(), copies[0].scale_bytes) && right;
  right = same("scales of the second copy", scales1.read(), copies[1].scale_bytes) && right;
  if (aligned) {
    right = same("starts of aligned groups", starts_written.read(), index_bytes(aligned_starts(groups), groups.wide)) && right;
    right = same("sizes of aligned groups", sizes_written.read(), index_bytes(groups.sizes, groups.wide)) && right;
  }
  if (!right) {
    std::printf("seed %llu: [%lld, %lld, %lld] %s, %zu groups, style %d\n", static_cast<unsigned long long>(seed),
                static_cast<long long>(batch), static_cast<long long>(rows), static_cast<long long>(cols), name(format),
                groups.sizes.size(), style);
    for (const CaseCopy& c : copies) {
      if (c.wanted)
        std::printf("  copy: %s, recipe %d, block %lld x %lld%s\n", name(c.format), static_cast<int>(c.recipe),
                    static_cast<long long>(c.block_rows), static_cast<long long>(c.block_cols),
                    c.aligned_groups ? ", transposed with aligned groups"
                    : c.transposed   ? ", transposed"
                                     : "");
    }
  }
  return right;
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t cases = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1500;
  const std::uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : std::random_device{}();
  std::uint64_t wrong = 0;
  for (std::uint64_t i = 0; i < cases && wrong < 5; ++i) wrong += check_case(seed + i) ? 0 : 1;
  std::printf("%llu cases from seed %llu, %llu wrong\n", static_cast<unsigned long long>(cases),
              static_cast<unsigned long long>(seed), static_cast<unsigned long long>(wrong));
  if (argc <= 3) time_quantisers();
  return wrong == 0 ? 0 : 1;
}
