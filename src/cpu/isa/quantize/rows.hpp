// The quantisers' inner loops over vectors, for any vector length. Included inside a target region (cpu/isa/target.hpp), behind
// the operations that it is written in: avx2.cpp and avx512.cpp define those for their registers of kLanes f32.

/// Calls f(i) for vectors that cover [begin, end), at least kLanes elements. The last may overlap the one before it, so f must
/// not mind doing an element twice.
template <class F>
void each_vector(std::int64_t begin, std::int64_t end, F f) {
  for (; begin + kLanes <= end; begin += kLanes) f(begin);
  if (begin < end && !fault::on(fault::Id::vector_quantiser_tail_dropped)) f(end - kLanes);
}

/// Calls `vectors`(block, begin, end) for the blocks of a row that fill a vector, and `rest` for those that do not.
template <class Vectors, class Rest>
void each_block(std::int64_t count, std::int64_t block, Vectors vectors, Rest rest) {
  for (std::int64_t begin = 0, b = 0; begin < count; ++b) {
    const std::int64_t end = block < count - begin ? begin + block : count;
    if (end - begin >= kLanes) {
      vectors(b, begin, end);
    } else {
      rest(b, begin, end);
    }
    begin = end;
  }
}

/// Factors of elements from i on: of a vector, and of a register of bf16 its even and its odd ones.
struct OneFactor {
  Floats factor;
  Floats operator()(std::int64_t) const { return factor; }
  Floats even(std::int64_t) const { return factor; }
  Floats odd(std::int64_t) const { return factor; }
};
struct FactorOfEach {
  const float* factors;
  Floats operator()(std::int64_t i) const { return load_floats(factors + i); }
  Floats even(std::int64_t i) const { return even_lanes((*this)(i), (*this)(i + kLanes)); }
  Floats odd(std::int64_t i) const {
    return fault::on(fault::Id::quantiser_odd_factors_are_even) ? even(i) : odd_lanes((*this)(i), (*this)(i + kLanes));
  }
};

/// each_block with factors: `vectors`(begin, end, factors), `rest`(begin, end, factors).
template <class Vectors, class Rest>
void each_factor(std::int64_t count, const BlockFactors& by, Vectors vectors, Rest rest) {
  if (by.block == 1) {
    if (count < kLanes) return rest(std::int64_t{0}, count, by);
    return vectors(std::int64_t{0}, count, FactorOfEach{by.factors});
  }
  each_block(
      count, by.block,
      [&](std::int64_t block, std::int64_t begin, std::int64_t end) {
        vectors(begin, end, OneFactor{spread(by.factors[block])});
      },
      [&](std::int64_t block, std::int64_t begin, std::int64_t end) {
        rest(begin, end, BlockFactors{by.factors + block, kWholeAxis});
      });
}

// What encode has to know of the byte formats.
struct E4m3 {
  static constexpr bool kHasNan = true;
  static constexpr int kMantissaBits = 3;
  static constexpr int kMinExponent = -6;
  static constexpr float kMax = format::kE4m3Max;
};
struct E5m2 {
  static constexpr bool kHasNan = true;
  static constexpr int kMantissaBits = 2;
  static constexpr int kMinExponent = -14;
  static constexpr float kMax = format::kE5m2Max;
};
struct I8 {
  static constexpr bool kHasNan = false;
};

/// Codes of f32 without sign, to nearest even, saturated, in the low 7 bits of each lane. NaN counts as kMax. Adding
/// 2^(exponent + 23 - kMantissaBits) rounds to the format's quantum at that exponent and leaves the count of quanta in the
/// sum's low bits; kOffset, added along with it, and the exponent make that count the code.
template <class T>
Ints code(Floats x) {
  constexpr int kShift = 23 - T::kMantissaBits;
  constexpr int kSmallestNormal = (127 + T::kMinExponent) << 23;
  constexpr int kOffset = -(kSmallestNormal >> kShift) & 0xff;
  static_assert(kOffset % 2 == 0, "an odd offset would turn ties around");
  const Floats magnitude = magnitude_up_to(x, T::kMax);
  const Ints exponent = bits(max(magnitude, floats(ints(kSmallestNormal)))) & ints(kExponent);
  const Floats magic = floats(add(exponent, ints((kShift << 23) + kOffset)));
  return add(bits(add(magnitude, magic)), shift_right<kShift>(exponent));
}
/// int8 is code and sign in the low byte.
template <>
Ints code<I8>(Floats x) {
  return to_nearest(min(max(x, spread(-127.0F)), spread(127.0F)));
}

/// Codes with the sign, the rest of each lane zero.
Ints with_sign(Floats x, Ints code) { return select_bits(ints(0x7f), code, shift_right<24>(bits(x))); }
template <class T>
Ints encoded(Floats x) {
  return T::kHasNan ? with_sign(x, code<T>(x)) : code<T>(x) & ints(0xff);
}
/// The same of NaN too.
template <class T>
Ints encoded_any(Floats x) {
  return T::kHasNan ? select(is_nan(x), with_sign(x, ints(0x7f)), encoded<T>(x)) : encoded<T>(x);
}

/// Asks memory for what is read soon. An address that no memory has does no harm, so it is a number: pointers do not reach
/// there.
void prefetch(const std::byte* p, std::int64_t offset) {
  const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(p) + static_cast<std::uintptr_t>(offset);
  _mm_prefetch(reinterpret_cast<const char*>(address), _MM_HINT_T0);  // NOLINT(performance-no-int-to-ptr)
}

/// Elements [i, i + kLanes) of a row.
template <Format kFormat>
Floats load(const std::byte* row, std::int64_t i) {
  const std::byte* p = row + i * element_bytes(kFormat);
  if constexpr (kFormat == Format::f32) return load_floats(p);
  if constexpr (kFormat == Format::bf16) return floats(shift_left<16>(load_words(p)));
  if constexpr (kFormat == Format::f16) return load_f16(p);
  if constexpr (kFormat == Format::e4m3) return load_e4m3(p);
  if constexpr (kFormat == Format::e5m2) return load_e5m2(p);
  if constexpr (kFormat == Format::i8) return load_i8(p);
}

/// The same from memory; what lies `ahead` is read soon.
template <Format kFormat>
Floats load_ahead(const std::byte* row, std::int64_t ahead, std::int64_t i) {
  prefetch(row, i * element_bytes(kFormat) + ahead);
  return load<kFormat>(row, i);
}

/// The same to a row of another format; NaN becomes the canonical one.
template <Format kFormat>
void store(std::byte* row, std::int64_t i, Floats x) {
  std::byte* p = row + i * element_bytes(kFormat);
  if constexpr (kFormat == Format::bf16) {
    const Ints odd = shift_right<16>(bits(x)) & ints(1);
    const Ints rounded = shift_right<16>(add(add(bits(x), ints(0x7fff)), odd));
    store_words(p, select(is_nan(x), ints(format::kBf16Nan), rounded));
  } else if constexpr (kFormat == Format::f16) {
    store_f16(p, select(is_nan(x), ints(kNan), bits(x)));
  } else {
    store_ints(p, select(is_nan(x), ints(kNan), bits(x)));
  }
}

template <Format kFrom, Format kTo>
void convert_row(const Conversion& row, std::byte* out) {
  if (row.scales.factors == nullptr) {
    return each_vector(0, row.count, [&](std::int64_t i) { store<kTo>(out, i, load_ahead<kFrom>(row.data, row.ahead, i)); });
  }
  each_factor(
      row.count, row.scales,
      [&](std::int64_t begin, std::int64_t end, auto scale) {
        each_vector(begin, end,
                    [&](std::int64_t i) { store<kTo>(out, i, multiply(load_ahead<kFrom>(row.data, row.ahead, i), scale(i))); });
      },
      [&](std::int64_t begin, std::int64_t end, const BlockFactors& by) {
        portable::kRoutines.convert({kFrom, row.data + begin * element_bytes(kFrom), end - begin, by, kTo},
                                    out + begin * element_bytes(kTo));
      });
}

template <Format kFrom>
void convert_from(const Conversion& row, std::byte* out) {
  switch (row.to) {
    case Format::bf16: return convert_row<kFrom, Format::bf16>(row, out);
    case Format::f16: return convert_row<kFrom, Format::f16>(row, out);
    default: convert_row<kFrom, Format::f32>(row, out);
  }
}

void convert(const Conversion& row, std::byte* out) {
  if (row.count < kLanes) return portable::kRoutines.convert(row, out);
  switch (row.from) {
    case Format::f32: return convert_from<Format::f32>(row, out);
    case Format::bf16: return convert_from<Format::bf16>(row, out);
    case Format::f16: return convert_from<Format::f16>(row, out);
    case Format::e4m3: return convert_from<Format::e4m3>(row, out);
    case Format::e5m2: return convert_from<Format::e5m2>(row, out);
    default: convert_from<Format::i8>(row, out);
  }
}

/// Of words below 2^15; the instruction finds the smallest.
std::uint32_t largest_word(__m128i words) {
  const __m128i from_top = _mm_minpos_epu16(_mm_xor_si128(words, _mm_set1_epi16(0x7fff)));
  return 0x7fffU - static_cast<std::uint32_t>(_mm_extract_epi16(from_top, 0));
}

/// amax of elements [begin, end), at least one vector, and `amax`.
template <Format kFormat>
std::uint32_t amax_of(const SourceRow& row, std::int64_t begin, std::int64_t end, std::uint32_t amax) {
  if constexpr (kFormat == Format::bf16) {
    if (end - begin >= 2 * kLanes) {  // whole registers of bf16: their magnitudes order as they are
      Ints most = ints(0);
      for (; begin + 2 * kLanes <= end; begin += 2 * kLanes) {
        prefetch(row.data, begin * 2 + row.ahead);
        most = raise_words(most, load_ints(row.data + begin * 2));
      }
      if (begin < end) most = raise_words(most, load_ints(row.data + (end - 2 * kLanes) * 2));
      return std::max(amax, largest_word(eight_largest_words(most)) << 16);
    }
  }
  Ints most = ints(static_cast<int>(amax));
  each_vector(begin, end, [&](std::int64_t i) { most = raise(most, load_ahead<kFormat>(row.data, row.ahead, i)); });
  return largest(most);
}

template <Format kFormat>
void raise_amax_of(const SourceRow& row, std::int64_t block, std::uint32_t* amax) {
  if (block == 1 && row.count >= kLanes) {
    return each_vector(0, row.count, [&](std::int64_t i) {
      store_ints(amax + i, raise(load_ints(amax + i), load_ahead<kFormat>(row.data, row.ahead, i)));
    });
  }
  each_block(
      row.count, block,
      [&](std::int64_t b, std::int64_t begin, std::int64_t end) { amax[b] = amax_of<kFormat>(row, begin, end, amax[b]); },
      [&](std::int64_t b, std::int64_t begin, std::int64_t end) {
        portable::kRoutines.raise_amax({kFormat, row.data + begin * element_bytes(kFormat), end - begin}, kWholeAxis, amax + b);
      });
}

void raise_amax(const SourceRow& row, std::int64_t block, std::uint32_t* amax) {
  if (row.format == Format::bf16) return raise_amax_of<Format::bf16>(row, block, amax);
  raise_amax_of<Format::f32>(row, block, amax);
}

template <Format kFormat>
bool all_finite_of(const SourceRow& row) {
  bool finite = true;
  each_vector(0, row.count, [&](std::int64_t i) { finite = finite && none(not_finite(load<kFormat>(row.data, i))); });
  return finite;
}

bool all_finite(const SourceRow& row) {
  if (row.count < kLanes) return portable::kRoutines.all_finite(row);
  return row.format == Format::bf16 ? all_finite_of<Format::bf16>(row) : all_finite_of<Format::f32>(row);
}

template <Scaling kScaling>
Floats scaled(Floats x, Floats factor) {
  return divides(kScaling) ? divide(x, factor) : multiply(x, factor);
}

/// 4 * kLanes elements from i on, by their factors: of bf16 the even and the odd ones of two registers, which takes half the
/// operations of widening them, else one vector behind the other.
template <Format kFormat, Scaling kScaling, class Factor>
void load_four(const SourceRow& row, std::int64_t i, Factor factor, Floats (&x)[4]) {
  if constexpr (kFormat == Format::bf16) {
    for (std::int64_t half = 0; half < 2; ++half) {
      const std::int64_t at = i + 2 * kLanes * half;
      prefetch(row.data, at * 2 + row.ahead);
      const Ints words = load_ints(row.data + at * 2);
      x[2 * half] = scaled<kScaling>(floats(shift_left<16>(words)), factor.even(at));
      x[2 * half + 1] = scaled<kScaling>(floats(words & ints(kHighWord)), factor.odd(at));
    }
  } else {
    for (std::int64_t v = 0; v < 4; ++v)
      x[v] = scaled<kScaling>(load_ahead<kFormat>(row.data, row.ahead, i + v * kLanes), factor(i + v * kLanes));
  }
}

/// Writes the low bytes of codes in load_four's order, in that of memory.
template <Format kFormat>
void store_four(std::byte* out, Ints a, Ints b, Ints c, Ints d) {
  kFormat == Format::bf16 ? store_ints(out, zipped_bytes(a, b, c, d)) : store_bytes(out, a, b, c, d);
}

/// Encodes the quotients (or products) of elements [begin, end), at least one vector. Four vectors make a store of one register
/// and share one look for NaN.
template <Format kFormat, class T, Scaling kScaling, class Factor>
void encode_run(const SourceRow& row, Factor factor, std::int64_t begin, std::int64_t end, std::byte* out) {
  constexpr std::int64_t kOutAhead = 1024;  // bytes: lines that are written have to be read first
  for (; begin + 4 * kLanes <= end; begin += 4 * kLanes) {
    prefetch(out, begin + kOutAhead);
    Floats x[4];
    load_four<kFormat, kScaling>(row, begin, factor, x);
    if (T::kHasNan && !none(any_nan(x[0], x[1], x[2], x[3]))) {
      store_four<kFormat>(out + begin, encoded_any<T>(x[0]), encoded_any<T>(x[1]), encoded_any<T>(x[2]), encoded_any<T>(x[3]));
    } else if constexpr (T::kHasNan && kFormat == Format::bf16 && kScaling != Scaling::divide) {
      const std::byte* from = row.data + begin * 2;
      const Ints signs = high_bytes(load_ints(from), load_ints(from + 4 * kLanes));
      const Ints codes = zipped_bytes(code<T>(x[0]), code<T>(x[1]), code<T>(x[2]), code<T>(x[3]));
      store_ints(out + begin, select_bits(ints(0x7f7f7f7f), codes, signs));
    } else {
      store_four<kFormat>(out + begin, encoded<T>(x[0]), encoded<T>(x[1]), encoded<T>(x[2]), encoded<T>(x[3]));
    }
  }
  each_vector(begin, end, [&](std::int64_t i) {
    const Floats value = load_ahead<kFormat>(row.data, row.ahead, i);
    store_bytes(out + i, encoded_any<T>(scaled<kScaling>(value, factor(i))));
  });
}

template <Format kFormat, class T, class Factor>
void encode_scaled(const SourceRow& row, Scaling scaling, Factor factor, std::int64_t begin, std::int64_t end, std::byte* out) {
  if (fault::on(fault::Id::sign_of_given_scale_ignored) && scaling == Scaling::divide) scaling = Scaling::divide_by_positive;
  switch (scaling) {
    case Scaling::divide: return encode_run<kFormat, T, Scaling::divide>(row, factor, begin, end, out);
    case Scaling::divide_by_positive: return encode_run<kFormat, T, Scaling::divide_by_positive>(row, factor, begin, end, out);
    default: encode_run<kFormat, T, Scaling::multiply_by_positive>(row, factor, begin, end, out);
  }
}

template <Format kFormat, class T>
void encode_row(const SourceRow& row, Format values, Scaling scaling, const BlockFactors& factors, std::byte* out) {
  each_factor(
      row.count, factors,
      [&](std::int64_t begin, std::int64_t end, auto factor) {
        encode_scaled<kFormat, T>(row, scaling, factor, begin, end, out);
      },
      [&](std::int64_t begin, std::int64_t end, const BlockFactors& by) {
        portable::kRoutines.encode({kFormat, row.data + begin * element_bytes(kFormat), end - begin}, values, scaling, by,
                                   out + begin);
      });
}

/// The amax of a block is taken before the block ahead of it is encoded: its loads then wait for memory while that one's
/// divisions keep the CPU busy.
template <Format kFormat, class T>
void quantize_row(const SourceRow& row, const BlockRecipe& how, float* scales, std::byte* out) {
  const Scaling scaling = scaling_of(how.recipe);
  const auto end_of = [&](std::int64_t begin) { return how.block < row.count - begin ? begin + how.block : row.count; };
  const auto elements = [&](std::int64_t begin, std::int64_t end) {
    return SourceRow{kFormat, row.data + begin * element_bytes(kFormat), end - begin};
  };
  const auto amax_from = [&](std::int64_t begin, std::int64_t end) {
    std::uint32_t amax = 0;
    if (end - begin >= kLanes) return amax_of<kFormat>(row, begin, end, amax);
    portable::kRoutines.raise_amax(elements(begin, end), kWholeAxis, &amax);
    return amax;
  };
  std::int64_t end = end_of(0);
  std::uint32_t amax = amax_from(0, end);
  for (std::int64_t begin = 0; begin < row.count; ++scales) {
    const std::int64_t next_end = end_of(end);
    const std::uint32_t next_amax = amax_from(end, next_end);
    *scales = block_scale(how.recipe, how.values, how.scales, amax);
    const float factor = factor_of(how.recipe, *scales);
    if (end - begin >= kLanes) {
      encode_scaled<kFormat, T>(row, scaling, OneFactor{spread(factor)}, begin, end, out);
    } else {
      portable::kRoutines.encode(elements(begin, end), how.values, scaling, {&factor, kWholeAxis}, out + begin);
    }
    begin = end;
    end = next_end;
    amax = next_amax;
  }
}

/// Calls f(source format, byte format) with both as types.
template <class F>
void with_formats(Format source, Format values, F f) {
  const auto with = [&]<Format kFormat>(std::integral_constant<Format, kFormat> from) {
    switch (values) {
      case Format::e4m3: return f(from, E4m3{});
      case Format::e5m2: return f(from, E5m2{});
      default: f(from, I8{});
    }
  };
  if (source == Format::bf16) return with(std::integral_constant<Format, Format::bf16>{});
  with(std::integral_constant<Format, Format::f32>{});
}

void encode(const SourceRow& row, Format values, Scaling scaling, const BlockFactors& factors, std::byte* out) {
  with_formats(row.format, values,
               [&]<class Source, class T>(Source, T) { encode_row<Source::value, T>(row, values, scaling, factors, out); });
}

void quantize(const SourceRow& row, const BlockRecipe& how, float* scales, std::byte* out) {
  with_formats(row.format, how.values,
               [&]<class Source, class T>(Source, T) { quantize_row<Source::value, T>(row, how, scales, out); });
}

/// 16 columns of 4 * kLanes rows: 16 x 16 bytes in each 16-byte part of the registers, transposed by four rounds of shuffling
/// the first half of the rows into the second.
template <Stores kStores>
void write_16_columns(const std::byte* from, std::int64_t pitch, std::byte* to, std::int64_t col_stride) {
  Ints rows[16];
  for (int r = 0; r < 16; ++r) rows[r] = load_parts(from + r * pitch, 16 * pitch);
  for (int round = 0; round < 4; ++round) {
    Ints next[16];
    for (int r = 0; r < 8; ++r) {
      next[2 * r] = interleave_low(rows[r], rows[r + 8]);
      next[2 * r + 1] = interleave_high(rows[r], rows[r + 8]);
    }
    for (int r = 0; r < 16; ++r) rows[r] = next[r];
  }
  for (int c = 0; c < 16; ++c) {
    kStores == Stores::streamed ? stream_ints(to + c * col_stride, rows[c]) : store_ints(to + c * col_stride, rows[c]);
  }
}

void write_tile(const ByteTile& from, const StridedBytes& to) {
  const std::int64_t rows = to.row_stride == 1 ? from.rows / (4 * kLanes) * (4 * kLanes) : 0;
  const std::int64_t cols = from.cols / 16 * 16;
  const bool lines = reinterpret_cast<std::uintptr_t>(to.data) % 64 == 0 && to.col_stride % 64 == 0;
  const bool streamed = to.stores == Stores::streamed && lines;
  for (std::int64_t c = 0; c < cols; c += 16) {
    for (std::int64_t r = 0; r < rows; r += 4 * kLanes) {
      const std::byte* source = from.data + r * from.pitch + c;
      std::byte* target = to.data + r + c * to.col_stride;
      if (streamed) {
        write_16_columns<Stores::streamed>(source, from.pitch, target, to.col_stride);
      } else {
        write_16_columns<Stores::cached>(source, from.pitch, target, to.col_stride);
      }
    }
  }
  if (streamed) _mm_sfence();
  const auto rest = [&](std::int64_t row, std::int64_t col, std::int64_t row_end) {
    portable::kRoutines.write_tile({from.data + row * from.pitch + col, from.pitch, row_end - row, from.cols - col},
                                   {to.data + row * to.row_stride + col * to.col_stride, to.row_stride, to.col_stride});
  };
  rest(0, cols, rows);
  rest(rows, 0, from.rows);
}
