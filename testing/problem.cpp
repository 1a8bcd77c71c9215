// Reads and writes problem strings; every refusal names the word, what is known, and the nearest of that.
#include "testing/problem.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include "testing/kernels.hpp"
#include "testing/words.hpp"

namespace ragdot::testing {
namespace {

Status refused(std::string sentence) { return {Code::invalid_argument, std::move(sentence)}; }

std::size_t edits(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0U);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      diagonal = above;
    }
  }
  return row.back();
}

/// Reads `text` by a table of words.
template <class Table, class T>
Status pick(std::string_view key, std::string_view text, const Table& table, T& out) {
  std::vector<const char*> words;
  for (const auto& [word, value] : table) {
    if (text == word) {
      out = value;
      return {};
    }
    words.push_back(word);
  }
  return refused(
      fmt::format("problem: {}={} is unknown; did you mean {}? Known: {}", key, text, nearest(text, words), listed(table)));
}

/// Whether `text` is a number from `low` on; only then `out` becomes it.
template <class T>
bool read_number(std::string_view text, T low, T& out) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= low)) return false;
  out = value;
  return true;
}

template <class T>
Status number(std::string_view key, std::string_view text, T low, T& out) {
  if (read_number(text, low, out)) return {};
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
  return refused(digits && text.size() > 10 ? fmt::format("problem: {}={} is too large", key, text)
                                            : fmt::format("problem: {}={} is no number from {} on", key, text, low));
}

bool read_block(std::string_view text, std::int64_t& out) {
  if (text != "*") return read_number<std::int64_t>(text, 1, out);
  out = kWholeAxis;
  return true;
}

Status operand(std::string_view key, std::string_view text, OperandSpec& out) {
  const std::size_t colon = text.find(':');
  if (Status s = pick(key, text.substr(0, colon), kValueFormats, out.format); !s.ok()) return s;
  if (colon == std::string_view::npos) return {};
  const std::string_view grid = text.substr(colon + 1);
  const std::size_t by = grid.find('x');
  out.scaled = by != std::string_view::npos && read_block(grid.substr(0, by), out.block_rows) &&
               read_block(grid.substr(by + 1), out.block_cols);
  if (out.scaled) return {};
  return refused(fmt::format(
      "problem: {}={} has no block ROWSxCOLS behind the colon; give numbers from 1 on, such as 1x128, or *", key, text));
}

/// "a,b,..."
Status numbers(std::string_view key, std::string_view text, std::vector<std::int64_t>& out) {
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    std::int64_t value = 0;
    if (Status s = number<std::int64_t>(key, text.substr(at, comma - at), 0, value); !s.ok()) return s;
    out.push_back(value);
    at = comma + 1;
  }
  return {};
}

Status distribution(std::string_view text, Distribution& out) {
  using Kind = Distribution::Kind;
  const std::size_t colon = text.find(':');
  const std::string_view name = text.substr(0, colon);
  const std::string_view rest = colon == std::string_view::npos ? "" : text.substr(colon + 1);
  if (Status s = pick("dist", name, kDistributions, out.kind); !s.ok()) return s;
  if (out.kind == Kind::even || out.kind == Kind::multinomial) {
    return rest.empty() ? Status() : refused(fmt::format("problem: dist={} takes no parameter", text));
  }
  if (out.kind == Kind::sizes) return numbers("dist", rest, out.sizes);
  const bool is_number = read_number<double>(rest, 0, out.parameter) && std::isfinite(out.parameter);
  if (out.kind == Kind::zipf && !is_number)
    return refused(fmt::format("problem: dist={} has no exponent; give a number from 0 on, such as zipf:1.1", text));
  if (out.kind == Kind::empty && !(is_number && out.parameter <= 100))
    return refused(fmt::format("problem: dist={} has no percentage; give a number from 0 to 100, such as empty:10", text));
  if (out.kind == Kind::onehot && !(is_number && out.parameter == std::floor(out.parameter)))
    return refused(fmt::format("problem: dist={} names no group; give the index of one, such as onehot:0", text));
  return {};
}

Status tile(std::string_view text, std::optional<Tiling>& out) {
  if (text == "auto") {
    out.reset();
    return {};
  }
  Tiling t;
  std::int64_t* parts[] = {&t.tm, &t.tk, &t.tn};
  std::size_t at = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    const std::size_t by = i == 2 ? text.size() : text.find('x', at);
    if (by == std::string_view::npos) return refused(fmt::format("problem: tile={} is neither auto nor TMxTKxTN", text));
    if (Status s = number<std::int64_t>("tile", text.substr(at, by - at), 1, *parts[i]); !s.ok()) return s;
    at = by + 1;
  }
  out = t;
  return {};
}

constexpr std::array<const char*, 26> kKeys = {
    "g",      "m",          "k",      "n",    "lhs",    "rhs",     "lscale", "rscale",       "scale",
    "origin", "out",        "order",  "dist", "starts", "first",   "local",  "rows_outside", "act",
    "bias",   "accumulate", "recipe", "tile", "kernel", "threads", "seed",   "data"};

Status choice(std::string_view key, std::string_view v, Problem& p) {
  if (key == "lscale") return pick(key, v, kScaleFormats, p.lhs.scale);
  if (key == "rscale") return pick(key, v, kScaleFormats, p.rhs.scale);
  if (key == "origin") return pick(key, v, kOrigins, p.origin);
  if (key == "out") return pick(key, v, kOutFormats, p.out);
  if (key == "order") return pick(key, v, kOrders, p.order);
  if (key == "rows_outside") return pick(key, v, kRowsOutside, p.rows_outside);
  if (key == "act") return pick(key, v, kActivations, p.act);
  if (key == "bias") return pick(key, v, kSwitches, p.bias);
  if (key == "recipe") return pick(key, v, kRecipes, p.recipe);
  if (key == "data") return pick(key, v, kFamilies, p.data);
  return refused(fmt::format("problem: key {} is unknown; did you mean {}?", key, nearest(key, kKeys)));
}

Status entry(std::string_view key, std::string_view v, Problem& p) {
  if (key == "g") return number<std::int64_t>(key, v, 0, p.g);
  if (key == "m") return number<std::int64_t>(key, v, 0, p.m);
  if (key == "k") return number<std::int64_t>(key, v, 0, p.k);
  if (key == "n") return number<std::int64_t>(key, v, 0, p.n);
  if (key == "lhs") return operand(key, v, p.lhs);
  if (key == "rhs") return operand(key, v, p.rhs);
  if (key == "scale") {
    if (Status s = pick(key, v, kScaleFormats, p.lhs.scale); !s.ok()) return s;
    p.rhs.scale = p.lhs.scale;
    return {};
  }
  if (key == "dist") return distribution(v, p.dist);
  if (key == "starts") return numbers(key, v, p.starts);
  if (key == "first") return number<std::int64_t>(key, v, 0, p.first);
  if (key == "local") return number<std::int64_t>(key, v, 0, p.local.emplace());
  if (key == "accumulate") {
    bool on = false;
    Status s = pick(key, v, kSwitches, on);
    p.out_mode = on ? OutMode::accumulate : OutMode::overwrite;
    return s;
  }
  if (key == "tile") return tile(v, p.tile);
  if (key == "kernel") {
    p.kernel = v;
    return check_kernel_name("problem: kernel=" + p.kernel, p.kernel);
  }
  if (key == "threads") return number<int>(key, v, 0, p.threads);
  if (key == "seed") return number<std::uint64_t>(key, v, 0, p.seed);
  return choice(key, v, p);
}

constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();

/// Of numbers that are not negative.
std::int64_t saturating_sum(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? kLargest : sum;
}
std::int64_t saturating_product(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? kLargest : product;
}

/// Operands and out have bytes that an int64 counts, whatever their formats.
Status check_extents(const Problem& p) {
  constexpr std::int64_t kTooMany = std::int64_t{1} << 60;
  const auto elements = [](std::int64_t count, std::int64_t a, std::int64_t b) {
    return saturating_product(saturating_product(std::max<std::int64_t>(count, 1), std::max<std::int64_t>(a, 1)),
                              std::max<std::int64_t>(b, 1));
  };
  if (std::max({elements(1, p.m, p.k), elements(1, p.m, p.n), elements(p.g, p.k, p.n)}) < kTooMany) return {};
  return refused(fmt::format("problem: g={} m={} k={} n={} make matrices of 2^60 elements or more; give smaller sizes", p.g,
                             p.m, p.k, p.n));
}

/// TgmmArgs has no member for these.
Status check_tgmm(const std::map<std::string, std::string, std::less<>>& given) {
  for (const char* key : {"order", "rows_outside", "act", "bias"}) {
    if (const auto word = given.find(key); word != given.end())
      return refused(fmt::format("problem: {} is for gmm and dlhs; tgmm has no {}, leave it out", word->second, key));
  }
  return {};
}

/// Groups ascend, do not overlap and end within the rows.
Status check_starts(const Problem& p) {
  if (p.dist.kind != Distribution::Kind::sizes || p.starts.size() != p.dist.sizes.size()) {
    return refused(fmt::format("problem: starts names {} groups; it needs dist=sizes:... of as many", p.starts.size()));
  }
  std::int64_t end = 0;
  for (std::size_t g = 0; g < p.starts.size(); ++g) {
    if (p.starts[g] < end)
      return refused(fmt::format("problem: group {} starts at row {}; the one before ends at {}, start there or later", g,
                                 p.starts[g], end));
    end = saturating_sum(p.starts[g], p.dist.sizes[g]);
  }
  if (end > p.m)
    return refused(fmt::format("problem: the last group ends at row {}; m={} needs to be at least that", end, p.m));
  return {};
}

/// Rules between the entries of a problem.
Status check(Problem& p, const std::map<std::string, std::string, std::less<>>& given, Shapes shapes) {
  for (const char* key : {"g", "m", "k", "n"}) {
    if (shapes == Shapes::required && !given.contains(key))
      return refused(fmt::format("problem: {} is missing; every problem names g, m, k and n", key));
  }
  if (Status s = check_extents(p); !s.ok()) return s;
  if (p.op == Op::tgmm) {
    if (Status s = check_tgmm(given); !s.ok()) return s;
  }
  if (p.out == Format::none) p.out = p.op == Op::tgmm || p.out_mode == OutMode::accumulate ? Format::f32 : Format::bf16;
  for (OperandSpec* spec : {&p.lhs, &p.rhs}) {
    if (!spec->scaled) spec->scale = OperandSpec().scale;  // scale= is said of both, and of no use to one without a block
  }
  if (p.dist.kind == Distribution::Kind::sizes) {
    const std::int64_t sum = std::accumulate(p.dist.sizes.begin(), p.dist.sizes.end(), std::int64_t{0}, saturating_sum);
    if (shapes == Shapes::required && (static_cast<std::int64_t>(p.dist.sizes.size()) != p.g || sum > p.m)) {
      return refused(fmt::format("problem: dist names {} sizes of {} rows; g={} m={} needs {} sizes of at most {} rows",
                                 p.dist.sizes.size(), sum, p.g, p.m, p.g, p.m));
    }
  }
  if (given.contains("starts")) {
    if (Status s = check_starts(p); !s.ok()) return s;
  }
  const std::int64_t last = std::max<std::int64_t>(p.g - 1, 0);
  if (given.contains("g") && p.dist.kind == Distribution::Kind::onehot && p.dist.parameter > static_cast<double>(last)) {
    return refused(
        fmt::format("problem: dist=onehot:{} names no group of g={}; give an index from 0 to {}", p.dist.parameter, p.g, last));
  }
  if (given.contains("g") && p.first > p.g - p.local.value_or(0)) {
    return refused(fmt::format("problem: first={} local={} reach beyond g={}", p.first, p.local.value_or(0), p.g));
  }
  return {};
}

std::string text_of(const OperandSpec& spec) {
  const auto block_text = [](std::int64_t b) { return b == kWholeAxis ? std::string("*") : std::to_string(b); };
  std::string text = word_of(kValueFormats, spec.format);
  if (spec.scaled) text += ":" + block_text(spec.block_rows) + "x" + block_text(spec.block_cols);
  return text;
}

std::string text_of(const Distribution& d) {
  switch (d.kind) {
    case Distribution::Kind::even: return "even";
    case Distribution::Kind::multinomial: return "multinomial";
    case Distribution::Kind::zipf: return fmt::format("zipf:{}", d.parameter);
    case Distribution::Kind::onehot: return fmt::format("onehot:{}", d.parameter);
    case Distribution::Kind::empty: return fmt::format("empty:{}", d.parameter);
    case Distribution::Kind::sizes: return fmt::format("sizes:{}", fmt::join(d.sizes, ","));
  }
  return "?";
}

}  // namespace

std::string nearest(std::string_view word, std::span<const char* const> words) {
  word = word.substr(0, 32);  // longer than any of ours: what follows makes no difference
  const auto best = std::min_element(words.begin(), words.end(),
                                     [&](const char* a, const char* b) { return edits(word, a) < edits(word, b); });
  return best == words.end() ? "" : *best;
}

Result<Problem> parse_problem(std::string_view text, Shapes shapes) {
  Problem p;
  std::map<std::string, std::string, std::less<>> given;
  bool first = true;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = text.find_first_not_of(" \t\n", at);
    if (begin == std::string_view::npos) break;
    const std::size_t end = std::min(text.find_first_of(" \t\n", begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    at = end;
    if (std::exchange(first, false)) {
      if (Status s = pick("OP", word, kOps, p.op); !s.ok()) return s;
      continue;
    }
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) return refused(fmt::format("problem: {} is not KEY=VALUE", word));
    const std::string key(word.substr(0, equals));
    if (!given.emplace(key, word).second) return refused(fmt::format("problem: {} is given twice", key));
    if (Status s = entry(key, word.substr(equals + 1), p); !s.ok()) return s;
  }
  if (first) return refused("problem: it is empty; start with gmm, dlhs or tgmm");
  if (Status s = check(p, given, shapes); !s.ok()) return s;
  return p;
}

std::string to_string(const Problem& p) {
  const Problem plain;
  std::string text = fmt::format("{} g={} m={} k={} n={} lhs={} rhs={}", word_of(kOps, p.op), p.g, p.m, p.k, p.n,
                                 text_of(p.lhs), text_of(p.rhs));
  const auto add = [&](const char* key, const std::string& value) { text += fmt::format(" {}={}", key, value); };
  const Format usual = p.op == Op::tgmm || p.out_mode == OutMode::accumulate ? Format::f32 : Format::bf16;
  if (p.lhs.scaled && p.lhs.scale != plain.lhs.scale) add("lscale", word_of(kScaleFormats, p.lhs.scale));
  if (p.rhs.scaled && p.rhs.scale != plain.rhs.scale) add("rscale", word_of(kScaleFormats, p.rhs.scale));
  if (p.origin != plain.origin) add("origin", word_of(kOrigins, p.origin));
  if (p.out != usual && p.out != Format::none) add("out", word_of(kOutFormats, p.out));
  if (p.order != plain.order) add("order", word_of(kOrders, p.order));
  if (p.dist.kind != plain.dist.kind) add("dist", text_of(p.dist));
  if (!p.starts.empty()) add("starts", fmt::format("{}", fmt::join(p.starts, ",")));
  if (p.first != 0) add("first", std::to_string(p.first));
  if (p.local) add("local", std::to_string(*p.local));
  if (p.rows_outside != plain.rows_outside) add("rows_outside", word_of(kRowsOutside, p.rows_outside));
  if (p.act != plain.act) add("act", word_of(kActivations, p.act));
  if (p.bias) add("bias", "1");
  if (p.out_mode != plain.out_mode) add("accumulate", "1");
  if (p.recipe != plain.recipe) add("recipe", word_of(kRecipes, p.recipe));
  if (p.tile) add("tile", fmt::format("{}x{}x{}", p.tile->tm, p.tile->tk, p.tile->tn));
  if (!p.kernel.empty()) add("kernel", p.kernel);
  if (p.threads != 0) add("threads", std::to_string(p.threads));
  if (p.seed != plain.seed) add("seed", std::to_string(p.seed));
  if (p.data != plain.data) add("data", word_of(kFamilies, p.data));
  return text;
}

}  // namespace ragdot::testing
