// ragdot quantize: the weights of a checkpoint to block-scaled bytes, tensor by tensor, as published FP8 checkpoints hold them.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "cli/exit_codes.hpp"
#include "cli/report.hpp"
#include "cli/safetensors.hpp"
#include "cli/verbs.hpp"
#include "cli/weight_choice.hpp"
#include "ragdot/ragdot.hpp"
#include "testing/problem.hpp"

namespace ragdot::cli {
namespace {

struct QuantizeWords {
  std::string input;
  std::string output;
  std::string match;
  std::string block = "128x128";
  std::string recipe = "absmax";
  std::string format = "e4m3";
  std::string scale = "f32";
  bool strict = false;
  bool overwrite = false;
  JsonOption json;
};

/// How weights are quantised.
struct Setting {
  Format format = Format::e4m3;
  Format scale = Format::f32;
  std::int64_t block_rows = 128;
  std::int64_t block_cols = 128;
  Recipe recipe = Recipe::absmax;
};

/// What a quantised weight lost.
struct Loss {
  double relative_error = 0;  // of the finite values; NaN where there is none
  std::int64_t nans = 0;
  std::int64_t infs = 0;

  [[nodiscard]] bool all_finite() const { return nans + infs == 0; }
};

/// One tensor of the output: copied, or quantised with its scales behind it.
struct Step {
  const TensorInfo* from = nullptr;
  bool quantise = false;
  std::string why;
  TensorInfo scales;
  Loss loss;
};

Result<Setting> setting_of(const QuantizeWords& words) {
  const auto p = testing::parse_problem(
      fmt::format("gmm rhs={}:{} rscale={} recipe={}", words.format, words.block, words.scale, words.recipe),
      testing::Shapes::optional);
  if (!p.ok()) {  // the parser has let through known words alone
    return Status(
        Code::invalid_argument,
        fmt::format("quantize: --block {} is no ROWSxCOLS; give numbers from 1 on, such as 128x128, or * for a whole axis",
                    words.block));
  }
  const testing::OperandSpec& spec = p.value().rhs;
  if (p.value().recipe == Recipe::absmax && spec.scale == Format::e8m0) {
    return Status(
        Code::invalid_argument,
        "quantize: --recipe absmax has scales that --scale e8m0 cannot hold; give --recipe pow2 or mx, or another scale");
  }
  if (p.value().recipe == Recipe::mx && spec.format == Format::i8) {
    return Status(Code::invalid_argument,
                  "quantize: --recipe mx is for e4m3 and e5m2, not for --format i8; give --recipe pow2");
  }
  return Setting{spec.format, spec.scale, spec.block_rows, spec.block_cols, p.value().recipe};
}

std::int64_t blocks(std::int64_t dim, std::int64_t block) {
  return block == kWholeAxis ? 1 : dim / block + (dim % block != 0 ? 1 : 0);
}

/// Shape of a weight as [batch, rows, cols].
struct Extents {
  std::int64_t batch;
  std::int64_t rows;
  std::int64_t cols;
};
Extents extents(const TensorInfo& t) {
  const std::size_t rank = t.shape.size();
  return {rank == 3 ? t.shape[0] : 1, t.shape[rank - 2], t.shape[rank - 1]};
}

std::vector<Step> plan_steps(const SafetensorsFile& file, const std::optional<std::regex>& match, const Setting& setting) {
  std::vector<Step> steps;
  for (const TensorInfo& t : file.tensors()) {
    const Choice choice = match ? choose_by_match(t, *match) : choose_by_name(t);
    Step step{&t, choice.quantise, choice.why, {}, {}};
    if (choice.quantise) {
      const Extents e = extents(t);
      std::vector<std::int64_t> shape = {blocks(e.rows, setting.block_rows), blocks(e.cols, setting.block_cols)};
      std::int64_t bytes = e.batch * shape[0] * shape[1] * element_bytes(setting.scale);
      if (t.shape.size() == 3) shape.insert(shape.begin(), e.batch);
      step.scales = {t.name + "_scale_inv", dtype_of(setting.scale), shape, bytes};
    }
    steps.push_back(std::move(step));
  }
  return steps;
}

Result<std::vector<TensorInfo>> outputs_of(const SafetensorsFile& file, const std::vector<Step>& steps,
                                           const Setting& setting) {
  std::vector<TensorInfo> outputs;
  for (const Step& step : steps) {
    outputs.push_back(*step.from);
    if (!step.quantise) continue;
    const Extents e = extents(*step.from);
    outputs.back().dtype = dtype_of(setting.format);
    outputs.back().bytes = e.batch * e.rows * e.cols;
    if (file.find(step.scales.name) != nullptr) {
      return Status(
          Code::invalid_argument,
          fmt::format("quantize: the file already has a tensor {}; its weights are quantised, or leave {} out with --match",
                      step.scales.name, step.from->name));
    }
    outputs.push_back(step.scales);
  }
  return outputs;
}

/// ||x - dequantised|| / ||x||, one matrix of the batch at a time.
Status measure(const ConstView& input, const Operand& quantised, Loss& loss) {
  std::vector<float> exact(static_cast<std::size_t>(input.rows * input.cols));
  std::vector<float> back(exact.size());
  double difference = 0;
  double size = 0;
  for (std::int64_t b = 0; b < input.batch; ++b) {
    const auto one = [b](ConstView v) {
      v.data = static_cast<const std::byte*>(v.data) + b * v.batch_stride * element_bytes(v.format);
      v.batch = 1;
      return v;
    };
    Operand part = quantised;
    part.values = one(quantised.values);
    part.scales.view = one(quantised.scales.view);
    const auto out = [&](std::vector<float>& to) {
      return matrix(static_cast<void*>(to.data()), Format::f32, input.rows, input.cols);
    };
    if (Status s = dequantize({one(input), {}, out(exact)}); !s.ok()) return s;
    if (Status s = dequantize({part, {}, out(back)}); !s.ok()) return s;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      const double x = static_cast<double>(exact[i]);
      const double d = x - static_cast<double>(back[i]);
      loss.nans += std::isnan(x) ? 1 : 0;
      loss.infs += std::isinf(x) ? 1 : 0;
      if (!std::isfinite(x)) continue;
      difference += d * d;
      size += x * x;
    }
  }
  const std::int64_t elements = input.batch * input.rows * input.cols;
  loss.relative_error = size > 0 ? std::sqrt(difference / size) : loss.nans + loss.infs == elements ? std::nan("") : 0;
  return {};
}

/// "3 NaN and 1 Inf".
std::string text_of(const Loss& loss) { return fmt::format("{} NaN and {} Inf", loss.nans, loss.infs); }

Status quantise_step(const SafetensorsFile& file, const Setting& setting, Step& step, SafetensorsWriter& writer) {
  const TensorInfo& t = *step.from;
  const Extents e = extents(t);
  std::vector<std::byte> values(static_cast<std::size_t>(e.batch * e.rows * e.cols));
  std::vector<std::byte> scales(static_cast<std::size_t>(step.scales.bytes));
  QuantizeArgs args;
  args.input = matrices(static_cast<const void*>(file.data(t)), format_of(t.dtype), e.batch, e.rows, e.cols);
  args.out.values = matrices(static_cast<void*>(values.data()), setting.format, e.batch, e.rows, e.cols);
  args.out.scales = {matrices(static_cast<void*>(scales.data()), setting.scale, e.batch, blocks(e.rows, setting.block_rows),
                              blocks(e.cols, setting.block_cols)),
                     setting.block_rows, setting.block_cols};
  args.out.recipe = setting.recipe;
  const auto named = [&](const Status& s) { return Status(s.code(), fmt::format("{}: {}", t.name, s.message())); };
  if (Status s = quantize(args); !s.ok()) return named(s);
  const Operand quantised(args.out.values, {args.out.scales.view, setting.block_rows, setting.block_cols, ScaleOrigin::global});
  if (Status s = measure(args.input, quantised, step.loss); !s.ok()) return named(s);
  if (Status s = writer.write(values.data(), static_cast<std::int64_t>(values.size())); !s.ok()) return s;
  return writer.write(scales.data(), step.scales.bytes);
}

std::map<std::string, std::string> metadata_of(const SafetensorsFile& file, const QuantizeWords& words) {
  std::map<std::string, std::string> metadata = file.metadata();
  metadata["quantization"] = Json({{"method", "block_scaled"},
                                   {"format", words.format},
                                   {"block", words.block},
                                   {"recipe", words.recipe},
                                   {"scale", words.scale},
                                   {"scale_suffix", "_scale_inv"},
                                   {"by", fmt::format("ragdot {}", version())}})
                                 .dump();
  return metadata;
}

void print_steps(const std::vector<Step>& steps) {
  std::int64_t before = 0;
  std::int64_t after = 0;
  std::size_t quantised = 0;
  fmt::print("{:<10} {:>9}  {:<18} tensor\n", "", "rel. err.", "shape");
  for (const Step& s : steps) {
    const Extents e = s.quantise ? extents(*s.from) : Extents{};
    before += s.from->bytes;
    after += s.quantise ? e.batch * e.rows * e.cols + s.scales.bytes : s.from->bytes;
    quantised += s.quantise ? 1U : 0U;
    const bool measured = s.quantise && !std::isnan(s.loss.relative_error);
    fmt::print("{:<10} {:>9}  {:<18} {} ({}{})\n", s.quantise ? "quantised" : "copied",
               measured ? fmt::format("{:.4f}", s.loss.relative_error) : "-", shape_text(s.from->shape), s.from->name, s.why,
               s.loss.all_finite() ? "" : ", " + text_of(s.loss));
  }
  fmt::print("{} of {} tensors quantised, {:.1f} MB -> {:.1f} MB\n", quantised, steps.size(), static_cast<double>(before) / 1e6,
             static_cast<double>(after) / 1e6);
}

Json json_of(const QuantizeWords& words, const std::vector<Step>& steps) {
  Json tensors = Json::array();
  for (const Step& s : steps) {
    Json tensor = {{"name", s.from->name},
                   {"shape", s.from->shape},
                   {"quantised", s.quantise},
                   {"why", s.why},
                   {"bytes_before", s.from->bytes}};
    if (s.quantise) {
      const Extents e = extents(*s.from);
      tensor["bytes_after"] = e.batch * e.rows * e.cols + s.scales.bytes;
      tensor["relative_error"] = s.loss.relative_error;
      tensor["nan"] = s.loss.nans;
      tensor["inf"] = s.loss.infs;
    }
    tensors.push_back(std::move(tensor));
  }
  return {{"command", "quantize"},  {"version", version()},   {"machine", machine_json()},
          {"format", words.format}, {"block", words.block},   {"recipe", words.recipe},
          {"scale", words.scale},   {"output", words.output}, {"tensors", tensors}};
}

/// --match that chooses nothing was not what the user meant.
Status check_chosen(const QuantizeWords& words, const std::vector<Step>& steps) {
  if (words.match.empty() || std::any_of(steps.begin(), steps.end(), [](const Step& s) { return s.quantise; })) return {};
  return {Code::invalid_argument,
          fmt::format("quantize: --match {} finds no f32, bf16 or f16 matrix among the {} tensors of {}; give a part of a name "
                      "that is there",
                      words.match, steps.size(), words.input)};
}

/// For weights with values that are not finite: refused where the user wants that, otherwise said.
Status check_loss(const QuantizeWords& words, const Step& step) {
  const std::string found = fmt::format("{} holds {}", step.from->name, text_of(step.loss));
  if (words.strict)
    return {Code::invalid_argument, fmt::format("quantize: {}; mend the checkpoint, or leave out --strict", found)};
  complain(fmt::format("{}: NaN stays NaN, Inf saturates; --strict refuses such weights", found));
  return {};
}

int quantize_command(const QuantizeWords& words) {
  if (Status s = words.json.check({words.input, words.output}); !s.ok()) return refuse(s);
  const auto setting = setting_of(words);
  if (!setting.ok()) return refuse(setting.status());
  std::optional<std::regex> match;
  try {
    if (!words.match.empty()) match.emplace(words.match);
  } catch (const std::regex_error& error) {
    complain(fmt::format("--match {} is no regular expression: {}", words.match, error.what()));
    return kUsage;
  }
  const auto file = SafetensorsFile::open(words.input);
  if (!file.ok()) return refuse(file.status());
  std::vector<Step> steps = plan_steps(file.value(), match, setting.value());
  if (Status s = check_chosen(words, steps); !s.ok()) return refuse(s);
  const auto outputs = outputs_of(file.value(), steps, setting.value());
  if (!outputs.ok()) return refuse(outputs.status());
  auto writer =
      SafetensorsWriter::create(words.output, outputs.value(), metadata_of(file.value(), words),
                                words.overwrite ? SafetensorsWriter::Existing::replace : SafetensorsWriter::Existing::refuse);
  if (!writer.ok()) return refuse(writer.status());
  Progress progress;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    Step& step = steps[i];
    const std::size_t filled = 30 * (i + 1) / steps.size();
    progress.show(fmt::format("[{:#<{}}{: <{}}] {}/{} {}", "", filled, "", 30 - filled, i + 1, steps.size(), step.from->name));
    Status s = step.quantise ? quantise_step(file.value(), setting.value(), step, writer.value())
                             : writer.value().write(file.value().data(*step.from), step.from->bytes);
    if (s.ok() && !step.loss.all_finite()) {
      progress.clear();
      s = check_loss(words, step);
    }
    if (!s.ok()) return refuse(s);
  }
  progress.clear();
  if (Status s = writer.value().finish(); !s.ok()) return refuse(s);
  if (!words.json.on_stdout()) {
    print_steps(steps);
    fmt::print("wrote {}\n", words.output);
  }
  return words.json.write(json_of(words, steps)) ? kOk : kUsage;
}

}  // namespace

void add_quantize(CLI::App& app, int& exit_code) {
  auto words = std::make_shared<QuantizeWords>();
  CLI::App* verb = app.add_subcommand("quantize", "quantise the weights of a checkpoint");
  verb->add_option("checkpoint", words->input, "f32, bf16 or f16 weights: matrices and experts stacked as [E, rows, cols]")
      ->required()
      ->type_name("IN.safetensors");
  verb->add_option("-o,--output", words->output, "where the quantised checkpoint goes")
      ->required()
      ->type_name("OUT.safetensors");
  verb->add_option("--match", words->match, "quantise the tensors whose names match, instead of the usual ones")
      ->type_name("REGEX");
  verb->add_option("--block", words->block, "rows x columns that share a scale; * for a whole axis")
      ->capture_default_str()
      ->type_name("ROWSxCOLS");
  const auto add_word = [verb](const char* name, std::string& word, const char* what, const std::vector<std::string>& known) {
    verb->add_option(name, word, what)->capture_default_str()->check(CLI::IsMember(known))->type_name("");
  };
  add_word("--recipe", words->recipe, "absmax, pow2 or mx", {"absmax", "pow2", "mx"});
  add_word("--format", words->format, "e4m3, e5m2 or i8", {"e4m3", "e5m2", "i8"});
  add_word("--scale", words->scale, "f32, bf16 or e8m0 (recipes pow2 and mx)", {"f32", "bf16", "e8m0"});
  verb->add_flag("--strict", words->strict, "refuse weights that hold NaN or Inf");
  verb->add_flag("--overwrite", words->overwrite, "replace OUT where it exists");
  words->json.add_to(*verb);
  verb->footer(
      "Examples:\n"
      "  ragdot quantize model.safetensors -o model_fp8.safetensors\n"
      "  ragdot quantize model.safetensors -o mx.safetensors --match 'experts.*proj' --block 1x32 --recipe mx --scale e8m0\n"
      "A quantised tensor keeps its name; <name>_scale_inv holds its scales: weight = byte value * scale. All other tensors "
      "are\n"
      "copied bit for bit.");
  verb->callback([words, &exit_code] { exit_code = quantize_command(*words); });
}

}  // namespace ragdot::cli
