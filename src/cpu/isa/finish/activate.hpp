// The activations: one fixed sequence of f32 operations each, the same on every path, within 4 ulp of the result or
// 2^-24 |x|, whichever is larger. Coefficients are minimax fits (Lawson's iteration on Chebyshev nodes), rounded to f32.
// Included behind what it is written in: Values (one f32, or a register of them) with the operators of float, spread, fma,
// less, is_nan, select, magnitude, with_sign_of, and power_of_two, which is 2^n of n + kRound.

inline constexpr float kInf = std::numeric_limits<float>::infinity();
inline constexpr float kRound = 0x1.8p23F;  // adding it rounds to an integer, which the last bits of the sum then hold

/// Horner's rule, constant term first in `c`.
template <std::size_t kTerms>
inline Values polynomial(const std::array<float, kTerms>& c, Values x) {
  Values sum = spread(c[kTerms - 1]);
  for (std::size_t i = kTerms - 1; i-- > 0;) sum = fma(sum, x, spread(c[i]));
  return sum;
}

/// e^x for x <= 88, otherwise +Inf; tiny results flush. x is no NaN. Error about 1 ulp.
inline Values exponential(Values x) {
  constexpr float kLog2e = 0x1.715476p+0F;
  constexpr float kLn2High = 0x1.62e4p-1F;  // 15 bits, so that n * high is exact
  constexpr float kLn2Low = 0x1.7f7d1cp-20F;
  constexpr std::array<float, 5> kSeries = {0x1p-1F, 0x1.55548ep-3F, 0x1.55545ep-5F, 0x1.123bep-7F,
                                            0x1.6db4e4p-10F};  // error 3.2e-9
  const Values shifted = fma(x, spread(kLog2e), spread(kRound));
  const Values n = shifted - spread(kRound);
  const Values r = fma(n, spread(-kLn2Low), fma(n, spread(-kLn2High), x));
  const Values p = fma(r * r, polynomial(kSeries, r), r) + spread(1.0F);
  const Values power = select(less(x, spread(-87.0F)), spread(0.0F), p * power_of_two(shifted));
  return select(less(spread(88.0F), x), spread(kInf), power);
}

/// Near zero an odd polynomial, else 1 - 2 / (e^2|x| + 1).
inline Values hyperbolic_tangent(Values x) {
  constexpr std::array<float, 5> kSeries = {-0x1.555534p-2F, 0x1.110760p-3F, -0x1.b8430ep-5F, 0x1.524e5cp-6F,
                                            -0x1.768464p-8F};  // 4.2e-9
  const Values size = magnitude(x);
  const Values center = fma(x * (x * x), polynomial(kSeries, x * x), x);
  const Values far = spread(1.0F) - spread(2.0F) / (exponential(spread(2.0F) * size) + spread(1.0F));
  if (fault::on(fault::Id::tanh_series_everywhere)) return center;
  return select(less(size, spread(0.625F)), center, with_sign_of(far, x));
}

/// x / (1 + e^-t): silu with t = x, the tanh form of gelu with t = 2 sqrt(2 / pi) (x + 0.044715 x^3).
inline Values times_logistic(Values x, Values t) { return x / (spread(1.0F) + exponential(-t)); }

/// (Phi(x) - 1/2) / x for |x| < 1.125, Phi the normal distribution, as a polynomial in x^2; error 1.0e-9 before rounding.
inline Values normal_center(Values x) {
  constexpr std::array<float, 6> kSeries = {0x1.988454p-2F,   -0x1.1058a6p-4F, 0x1.46e408p-7F,
                                            -0x1.386a60p-10F, 0x1.ef7728p-14F, -0x1.2ee8d0p-17F};
  return polynomial(kSeries, x * x);
}

/// The upper tail of the normal distribution for z >= 0: e^(-z^2 / 2) times a polynomial in 1 / (1 + 0.3 z); error 7.3e-11
/// before rounding.
inline Values normal_tail(Values z) {
  constexpr std::array<float, 9> kSeries = {-0x1.f8866cp-10F, 0x1.22e0fp-3F,   0x1.e17746p-8F, 0x1.b407d6p-2F, -0x1.cf3b94p-2F,
                                            0x1.3501d2p-1F,   -0x1.042d5ep-2F, 0x1.9eb9bcp-6F, 0x1.1d03cp-8F};
  const Values t = spread(1.0F) / fma(z, spread(0.3F), spread(1.0F));
  return exponential(spread(-0.5F) * z * z) * polynomial(kSeries, t);
}

inline Values gelu_erf(Values x) {
  const Values center = x * fma(x, normal_center(x), spread(0.5F));
  const Values tail = normal_tail(magnitude(x));
  const Values far = x * select(less(x, spread(0.0F)), tail, spread(1.0F) - tail);
  return select(less(magnitude(x), spread(1.125F)), center, far);
}

inline Values gelu_tanh(Values x) {
  constexpr float kLinear = 0x1.988454p+0F;  // 2 sqrt(2 / pi)
  constexpr float kCubic = 0x1.2444f4p-4F;   // 0.044715 times that
  return times_logistic(x, x * fma(x * x, spread(kCubic), spread(kLinear)));
}

/// relu keeps NaN; silu and gelu are -0 at -Inf, their limit. NaN in, NaN out.
inline Values activate(Activation activation, Values x) {
  const auto but_nan = [&](Values result) { return select(is_nan(x), x, result); };
  const auto but_minus_inf = [&](Values result) {
    return but_nan(select(less(x, spread(-std::numeric_limits<float>::max())), spread(-0.0F), result));
  };
  switch (activation) {
    case Activation::none: break;
    case Activation::relu: return but_nan(select(less(spread(0.0F), x), x, spread(0.0F)));
    case Activation::tanh: return but_nan(hyperbolic_tangent(x));
    case Activation::silu: return but_minus_inf(times_logistic(x, x));
    case Activation::gelu_tanh: return but_minus_inf(gelu_tanh(x));
    case Activation::gelu_erf: return but_minus_inf(gelu_erf(x));
  }
  return x;
}
