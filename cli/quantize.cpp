// ragdot quantize: the weights of a checkpoint to block-scaled bytes, tensor by tensor, as published FP8 checkpoints hold them.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>

#include "cli/checkpoint_index.hpp"
#include "cli/exit_codes.hpp"
#include "cli/output_file.hpp"
#include "cli/print.hpp"
#include "cli/quantize_loss.hpp"
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
  std::string except;
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

/// One tensor of the output: copied, or quantised with its scales behind it.
struct Step {
  const TensorInfo* from = nullptr;
  bool quantise = false;
  std::string why;
  TensorInfo scales;
  Loss loss;
};

/// One file of the checkpoint.
struct Part {
  SafetensorsFile file;
  std::string output;
  std::vector<Step> steps;
};

/// All of it: one file, or those of an index.
struct Checkpoint {
  std::optional<CheckpointIndex> index;
  std::vector<Part> parts;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;

  [[nodiscard]] bool has(const std::string& tensor) const {
    return index ? index->file_of.count(tensor) != 0 : parts.front().file.find(tensor) != nullptr;
  }
  [[nodiscard]] std::size_t tensors() const {
    std::size_t count = 0;
    for (const Part& p : parts) count += p.steps.size();
    return count;
  }
};

Result<Setting> setting_of(const QuantizeWords& words) {
  const auto p = testing::parse_problem(
      fmt::format("gmm rhs={}:{} rscale={} recipe={}", words.format, words.block, words.scale, words.recipe),
      testing::Shapes::optional);
  if (!p.ok() || words.block.find_first_of(" \t\n") != std::string::npos) {  // the others are known words
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

std::vector<Step> plan_steps(const SafetensorsFile& file, const WeightChoice& choose, const Setting& setting) {
  std::vector<Step> steps;
  for (const TensorInfo& t : file.tensors()) {
    const Choice choice = choose(t);
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

Result<std::vector<TensorInfo>> outputs_of(const Checkpoint& checkpoint, const Part& part, const Setting& setting) {
  std::vector<TensorInfo> outputs;
  for (const Step& step : part.steps) {
    outputs.push_back(*step.from);
    if (!step.quantise) continue;
    const Extents e = extents(*step.from);
    outputs.back().dtype = dtype_of(setting.format);
    outputs.back().bytes = e.batch * e.rows * e.cols;
    if (checkpoint.has(step.scales.name)) {
      return Status(
          Code::invalid_argument,
          fmt::format(
              "quantize: the checkpoint already has a tensor {}; its weights are quantised, or leave {} out with --except",
              step.scales.name, step.from->name));
    }
    outputs.push_back(step.scales);
  }
  return outputs;
}

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

bool quantises(const Part& part) {
  return std::any_of(part.steps.begin(), part.steps.end(), [](const Step& s) { return s.quantise; });
}

/// The file's own, with how its tensors are quantised: a list where that had been said of others before.
std::map<std::string, std::string> metadata_of(const Part& part, const QuantizeWords& words) {
  std::map<std::string, std::string> metadata = part.file.metadata();
  if (!quantises(part)) return metadata;
  const Json now = {{"method", "block_scaled"},
                    {"format", words.format},
                    {"block", words.block},
                    {"recipe", words.recipe},
                    {"scale", words.scale},
                    {"scale_suffix", "_scale_inv"},
                    {"by", fmt::format("ragdot {}", version())}};
  const std::string before = metadata["quantization"];
  const Json said = Json::parse(before, nullptr, false);
  Json all = said.is_array() ? said : before.empty() ? Json::array() : Json::array({said.is_discarded() ? Json(before) : said});
  if (std::find(all.begin(), all.end(), now) == all.end()) all.push_back(now);
  metadata["quantization"] = (all.size() == 1 ? all.front() : all).dump(-1, ' ', false, Json::error_handler_t::replace);
  return metadata;
}

std::int64_t bytes_behind(const Step& s) {
  if (!s.quantise) return s.from->bytes;
  const Extents e = extents(*s.from);
  return e.batch * e.rows * e.cols + s.scales.bytes;
}

void print_steps(const Checkpoint& checkpoint) {
  std::int64_t before = 0;
  std::int64_t after = 0;
  std::size_t quantised = 0;
  put("{:<10} {:>9}  {:<18} tensor\n", "", "rel. err.", "shape");
  for (const Part& part : checkpoint.parts) {
    for (const Step& s : part.steps) {
      before += s.from->bytes;
      after += bytes_behind(s);
      quantised += s.quantise ? 1U : 0U;
      const bool measured = s.quantise && !std::isnan(s.loss.relative_error);
      put("{:<10} {:>9}  {:<18} {} ({}{})\n", s.quantise ? "quantised" : "copied",
          measured ? fmt::format("{:.4f}", s.loss.relative_error) : "-", shape_text(s.from->shape), s.from->name, s.why,
          s.loss.all_finite() ? "" : ", " + text_of(s.loss));
    }
  }
  put("{} of {} tensors quantised, {:.1f} MB -> {:.1f} MB\n", quantised, checkpoint.tensors(),
      static_cast<double>(before) / 1e6, static_cast<double>(after) / 1e6);
}

Json json_of(const QuantizeWords& words, const Checkpoint& checkpoint) {
  Json tensors = Json::array();
  for (const Part& part : checkpoint.parts) {
    for (const Step& s : part.steps) {
      Json tensor = {{"name", s.from->name},
                     {"shape", s.from->shape},
                     {"quantised", s.quantise},
                     {"why", s.why},
                     {"bytes_before", s.from->bytes}};
      if (s.quantise) {
        tensor["bytes_after"] = bytes_behind(s);
        tensor["relative_error"] = s.loss.relative_error;
        tensor["nan"] = s.loss.nans;
        tensor["inf"] = s.loss.infs;
      }
      if (checkpoint.index) tensor["file"] = part.output;
      tensors.push_back(std::move(tensor));
    }
  }
  return {{"command", "quantize"},  {"version", version()},   {"machine", machine_json()},
          {"format", words.format}, {"block", words.block},   {"recipe", words.recipe},
          {"scale", words.scale},   {"output", words.output}, {"tensors", tensors}};
}

bool excepts(const Part& part) {
  return std::any_of(part.steps.begin(), part.steps.end(), [](const Step& s) { return s.why == kExcepted; });
}

/// --match that chooses nothing was not what the user meant; without it nothing may be a file of norms and embeddings.
Status check_chosen(const QuantizeWords& words, const Checkpoint& checkpoint) {
  if (std::any_of(checkpoint.parts.begin(), checkpoint.parts.end(), quantises)) return {};
  if (words.match.empty()) {
    complain(
        fmt::format("quantize: none of the {} tensors of {} looks like weights{}, so all are copied; --match chooses by name",
                    checkpoint.tensors(), words.input, words.except.empty() ? "" : " beside those of --except"));
    return {};
  }
  if (std::any_of(checkpoint.parts.begin(), checkpoint.parts.end(), excepts)) {
    return {Code::invalid_argument,
            fmt::format("quantize: --except {} leaves nothing of what --match {} finds; give a narrower one", words.except,
                        words.match)};
  }
  return {Code::invalid_argument,
          fmt::format("quantize: --match {} finds no f32, bf16 or f16 matrix among the {} tensors of {}; give a part of a name "
                      "that is there",
                      words.match, checkpoint.tensors(), words.input)};
}

/// For weights with values that are not finite: refused where the user wants that, otherwise said.
Status check_loss(const QuantizeWords& words, const Step& step) {
  const std::string found = fmt::format("{} holds {}", step.from->name, text_of(step.loss));
  if (words.strict)
    return {Code::invalid_argument, fmt::format("quantize: {}; mend the checkpoint, or leave out --strict", found)};
  complain(fmt::format("{}: NaN stays NaN, Inf saturates; --strict refuses such weights", found));
  return {};
}

/// Where `name` lies beside `path`.
std::string beside(const std::string& path, const std::string& name) {
  return (std::filesystem::path(path).parent_path() / name).string();
}

/// The files of the checkpoint, with every tensor where the index has it.
Result<Checkpoint> open_checkpoint(const QuantizeWords& words) {
  Checkpoint c;
  const auto add = [&](const std::string& input, const std::string& output) -> Status {
    auto file = SafetensorsFile::open(input);
    if (!file.ok()) return file.status();
    c.parts.push_back({std::move(file.value()), output, {}});
    c.inputs.push_back(input);
    c.outputs.push_back(output);
    return {};
  };
  if (!is_index(words.input)) {
    if (Status s = add(words.input, words.output); !s.ok()) return s;
    return c;
  }
  auto index = read_index(words.input);
  if (!index.ok()) return index.status();
  c.index = std::move(index.value());
  const std::filesystem::path folder(words.output);
  std::size_t found = 0;
  for (const std::string& name : c.index->files()) {
    if (Status s = add(beside(words.input, name), (folder / name).string()); !s.ok()) return s;
    for (const TensorInfo& t : c.parts.back().file.tensors()) {
      const auto at = c.index->file_of.find(t.name);
      if (at == c.index->file_of.end() || at->second != name)
        return Status(Code::invalid_argument,
                      fmt::format("{}: tensor {} lies in {}, which the index does not say; give the index of these files",
                                  words.input, t.name, name));
      ++found;
    }
  }
  if (found != c.index->file_of.size())
    return Status(Code::invalid_argument,
                  fmt::format("{}: the index names {} tensors and its files hold {}; give the index of these files",
                              words.input, c.index->file_of.size(), found));
  return c;
}

/// The index of what has been written, with the scales beside their weights; it goes last, so that there is none without its
/// files.
Status write_index(const QuantizeWords& words, Checkpoint& checkpoint, const std::string& path) {
  std::int64_t bytes = 0;
  for (const Part& part : checkpoint.parts) {
    for (const Step& s : part.steps) {
      bytes += bytes_behind(s);
      if (s.quantise) checkpoint.index->file_of[s.scales.name] = checkpoint.index->file_of[s.from->name];
    }
  }
  const Status s = write_whole(path, text_of(*checkpoint.index, bytes));
  if (s.ok()) return s;
  return {s.code(), fmt::format("{}; the files of {} are whole without it", s.message(), words.output)};
}

/// What refuses the outputs before anything is written.
Result<std::vector<SafetensorsWriter>> open_outputs(const QuantizeWords& words, const Checkpoint& checkpoint,
                                                    const Setting& setting) {
  std::vector<SafetensorsWriter> writers;
  for (const Part& part : checkpoint.parts) {
    const auto outputs = outputs_of(checkpoint, part, setting);
    if (!outputs.ok()) return outputs.status();
    auto writer =
        SafetensorsWriter::create(part.output, outputs.value(), metadata_of(part, words),
                                  words.overwrite ? SafetensorsWriter::Existing::replace : SafetensorsWriter::Existing::refuse);
    if (!writer.ok()) return writer.status();
    writers.push_back(std::move(writer.value()));
  }
  return writers;
}

Status write_all(const QuantizeWords& words, const Setting& setting, Checkpoint& checkpoint,
                 std::vector<SafetensorsWriter>& writers) {
  Progress progress;
  const std::size_t count = checkpoint.tensors();
  std::size_t done = 0;
  for (std::size_t p = 0; p < writers.size(); ++p) {
    Part& part = checkpoint.parts[p];
    for (Step& step : part.steps) {
      const std::size_t filled = 30 * ++done / count;
      progress.show(fmt::format("[{:#<{}}{: <{}}] {}/{} {}", "", filled, "", 30 - filled, done, count, step.from->name));
      Status s = step.quantise ? quantise_step(part.file, setting, step, writers[p])
                               : writers[p].write(part.file.data(*step.from), step.from->bytes);
      if (s.ok() && !step.loss.all_finite()) {
        progress.clear();
        s = check_loss(words, step);
      }
      if (!s.ok()) return s;
    }
  }
  for (SafetensorsWriter& writer : writers) {
    if (Status s = writer.finish(); !s.ok()) return s;
  }
  return {};
}

int quantize_command(const QuantizeWords& words) {
  const auto setting = setting_of(words);
  if (!setting.ok()) return refuse(setting.status());
  const auto choose = WeightChoice::of(words.match, words.except);
  if (!choose.ok()) return refuse(choose.status());
  OutputFolder folder;
  auto opened = open_checkpoint(words);
  if (!opened.ok()) return refuse(opened.status());
  Checkpoint& checkpoint = opened.value();
  std::string index;
  if (checkpoint.index) {
    index = (std::filesystem::path(words.output) / std::filesystem::path(words.input).filename()).string();
    checkpoint.inputs.push_back(words.input);
    checkpoint.outputs.push_back(index);
    if (!folder.make(words.output))
      return refuse({Code::invalid_argument, fmt::format("{}: is no folder; the output of an index is one", words.output)});
    if (std::filesystem::exists(index) && !words.overwrite)
      return refuse({Code::invalid_argument, fmt::format("{}: exists; give another folder, or --overwrite", index)});
    std::error_code error;
    if (std::filesystem::equivalent(std::filesystem::absolute(words.input).parent_path(), words.output, error))
      return refuse({Code::invalid_argument, fmt::format("{}: is the folder of the input; give another one", words.output)});
  }
  for (const auto* files : {&checkpoint.inputs, &checkpoint.outputs}) {
    if (Status s = words.json.check(*files); !s.ok()) return refuse(s);
  }
  if (Status s = check_outputs(checkpoint.outputs, checkpoint.inputs); !s.ok()) return refuse(s);
  for (Part& part : checkpoint.parts) part.steps = plan_steps(part.file, choose.value(), setting.value());
  if (Status s = check_chosen(words, checkpoint); !s.ok()) return refuse(s);
  auto writers = open_outputs(words, checkpoint, setting.value());
  if (!writers.ok()) return refuse(writers.status());
  if (Status s = write_all(words, setting.value(), checkpoint, writers.value()); !s.ok()) return refuse(s);
  if (checkpoint.index) {
    if (Status s = write_index(words, checkpoint, index); !s.ok()) return refuse(s);
  }
  const bool reported = words.json.write(json_of(words, checkpoint));  // before a reader of the table goes away
  if (!words.json.on_stdout()) {
    print_steps(checkpoint);
    put("wrote {}\n", words.output);
  }
  return reported ? kOk : kUsage;
}

}  // namespace

void add_quantize(CLI::App& app, int& exit_code) {
  auto words = std::make_shared<QuantizeWords>();
  CLI::App* verb = app.add_subcommand("quantize", "quantise the weights of a checkpoint");
  verb->add_option("checkpoint", words->input,
                   "f32, bf16 or f16 weights: matrices and experts stacked as [E, rows, cols]; of several files the index, "
                   "model.safetensors.index.json")
      ->required()
      ->type_name("IN");
  verb->add_option("-o,--output", words->output, "where the quantised checkpoint goes: a file, for an index a folder")
      ->required()
      ->check(not_empty("the name of a file or folder"))
      ->type_name("OUT");
  verb->add_option("--match", words->match, "quantise the tensors whose names match, instead of the usual ones")
      ->check(not_empty("a regular expression, or leave --match out"))
      ->type_name("REGEX");
  verb->add_option("--except", words->except, "leave the tensors alone whose names match")
      ->check(not_empty("a regular expression, or leave --except out"))
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
      "  ragdot quantize model/model.safetensors.index.json -o model_fp8\n"
      "  ragdot quantize model.safetensors -o mx.safetensors --match 'experts.*proj' --block 1x32 --recipe mx --scale e8m0\n"
      "A quantised tensor keeps its name; <name>_scale_inv holds its scales: weight = byte value * scale. All other tensors "
      "are\n"
      "copied bit for bit.");
  verb->callback([words, &exit_code] { exit_code = quantize_command(*words); });
}

}  // namespace ragdot::cli
