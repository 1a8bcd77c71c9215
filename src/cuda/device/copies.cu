#include "cuda/device/copies.cuh"

#include "cuda/device/work.cuh"

namespace ragdot::cuda {
namespace {

constexpr int kThreads = 256;

/// The four bytes from `byte` on, `byte` of any alignment; those behind the line's `length` bytes read as zero.
__device__ std::uint32_t word_at(const std::byte* line, std::int64_t byte, std::int64_t length) {
  const auto* words = reinterpret_cast<const std::uint32_t*>(line) + byte / 4;  // lines are aligned to 16
  const auto shift = static_cast<std::uint32_t>(byte % 4 * 8);
  if (shift == 0 && byte + 4 <= length) return words[0];
  if (byte / 4 * 4 + 8 <= length) return __funnelshift_r(words[0], words[1], shift);
  std::uint32_t word = 0;
  for (int i = 0; i < 4 && byte + i < length; ++i) word |= static_cast<std::uint32_t>(line[byte + i]) << (8 * i);
  return word;
}

/// Each warp takes lines in turn, and of each the groups that have to move.
__global__ void __launch_bounds__(kThreads)
    copy_groups(Lines lines, int bytes, const Span* spans, int local, std::byte* copies, std::int64_t pitch_bytes) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const std::int64_t length = lines.length * bytes;
  const std::int64_t warps = std::int64_t{gridDim.x} * (kThreads / 32);
  const std::int64_t warp = std::int64_t{blockIdx.x} * (kThreads / 32) + threadIdx.x / 32;
  for (int base = 0; base < local; base += 32) {
    const bool moves = base + lane < local && spans[base + lane].end > spans[base + lane].begin &&
                       !begins_aligned(spans[base + lane].begin, bytes);
    for (unsigned left = __ballot_sync(0xffffffffU, moves); left != 0; left &= left - 1) {
      const Span span = spans[base + __ffs(static_cast<int>(left)) - 1];
      const std::int64_t from = std::int64_t{span.begin} * bytes;
      const std::int64_t end = std::int64_t{span.end} * bytes;
      const std::int64_t to = copied_start(span.begin, span.matrix) * bytes;
      for (std::int64_t line = warp; line < lines.lines; line += warps) {
        const auto* source = static_cast<const std::byte*>(lines.data) + line * lines.pitch_bytes;
        std::byte* target = copies + line * pitch_bytes + to;
        for (std::int64_t at = lane * 16; from + at < end; at += 512) {
          const std::int64_t byte = from + at;
          const uint4 value = {word_at(source, byte, length), word_at(source, byte + 4, length),
                               word_at(source, byte + 8, length), word_at(source, byte + 12, length)};
          *reinterpret_cast<uint4*>(target + at) = value;
        }
      }
    }
  }
}

}  // namespace

cudaError_t copy_unaligned_groups(const Lines& lines, const Span* spans, int local, std::byte* copies, std::int64_t pitch,
                                  std::int32_t multiprocessors, cudaStream_t stream) {
  const int bytes = static_cast<int>(element_bytes(lines.format));
  const std::int64_t blocks = (lines.lines + kThreads / 32 - 1) / (kThreads / 32);
  const std::int64_t most = multiprocessors > 0 ? multiprocessors : 1056;  // eight for each multiprocessor
  copy_groups<<<static_cast<unsigned>(blocks < most ? blocks : most), kThreads, 0, stream>>>(lines, bytes, spans, local, copies,
                                                                                             pitch * bytes);
  return cudaGetLastError();
}

}  // namespace ragdot::cuda
