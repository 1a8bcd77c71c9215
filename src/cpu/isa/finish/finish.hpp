// Sums to rows of out behind a bias, an activation or accumulation, for any vector length. Included inside a target region,
// behind what it is written in: that of activate.hpp, kLanes, load_some and write_some.

#include "cpu/isa/finish/activate.hpp"

inline Values finished(const FinishJob& job, Values sums, std::int64_t col, const std::byte* out, std::int64_t count) {
  Values x = fault::on(fault::Id::negative_zero_kept) ? sums : sums + spread(0.0F);
  if (job.bias != nullptr) {
    if (fault::on(fault::Id::bias_of_first_lanes)) col = 0;
    x = x + load_some(job.bias + col * element_bytes(Format::f32), count);
  }
  x = activate(job.activation, x);
  if (job.store.adds && !fault::on(fault::Id::accumulate_overwrites)) x = load_some(out, count) + x;
  return x;
}

inline void finish_strips(const FinishJob& job) {
  const StoreJob& to = job.store;
  const std::int64_t bytes = element_bytes(to.format);
  for (std::int64_t strip = 0; strip < to.cols; strip += job.strip_cols) {
    const std::int64_t end = job.strip_cols < to.cols - strip ? strip + job.strip_cols : to.cols;
    const float* sums = to.acc + strip * to.strip_rows;
    for (std::int64_t r = 0; r < to.rows; ++r, sums += job.strip_cols) {
      for (std::int64_t c = strip; c < end; c += kLanes) {
        std::int64_t count = kLanes < end - c ? kLanes : end - c;
        if (count < kLanes && fault::on(fault::Id::finish_tail_unwritten)) --count;
        std::byte* out = to.out + r * to.out_row_bytes + c * bytes;
        write_some(to.format, finished(job, load_all(sums + (c - strip)), c, out, count), out, count);
      }
    }
  }
}
