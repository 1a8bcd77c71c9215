// ragdot check: the answer that another program has computed for a case file.
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <memory>

#include "cli/case_answer.hpp"
#include "cli/case_file.hpp"
#include "cli/exit_codes.hpp"
#include "cli/print.hpp"
#include "cli/report.hpp"
#include "cli/verbs.hpp"
#include "testing/judge.hpp"

namespace ragdot::cli {
namespace {

struct CheckWords {
  std::string input;
  std::string answer;
  testing::Allowance allowance;
  JsonOption json;
};

/// The tensor out of an answer to the case, as the case's own call would write it.
Result<const std::byte*> answer_of(const CaseFile& c, const SafetensorsFile& answer, const std::string& path) {
  const TensorInfo* out = answer.find("out");
  if (out == nullptr) return Status(Code::invalid_argument, fmt::format("{}: it has no tensor out, which the answer is", path));
  const char* dtype = dtype_of(c.problem().out);
  if (out->dtype != dtype || out->shape != c.out_shape()) {
    return Status(Code::invalid_argument,
                  fmt::format("{}: tensor out is {} {}; the case has {} {} (its problem says out=)", path, out->dtype,
                              shape_text(out->shape), dtype, shape_text(c.out_shape())));
  }
  return answer.data(*out);
}

/// How many outputs have the same bits. Another NaN is the same.
std::int64_t same_bits(Format format, const testing::Bytes& ours, const std::byte* theirs) {
  const auto size = static_cast<std::size_t>(element_bytes(format));
  const auto is_nan = [&](const std::byte* out, std::size_t i) {
    return std::isnan(testing::output_at(format, out, static_cast<std::int64_t>(i)));
  };
  std::int64_t same = 0;
  for (std::size_t i = 0; i < ours.size() / size; ++i) {
    const bool equal = std::memcmp(ours.data() + i * size, theirs + i * size, size) == 0;
    same += equal || (is_nan(ours.data(), i) && is_nan(theirs, i)) ? 1 : 0;
  }
  return same;
}

int check_command(const CheckWords& words) {
  if (Status s = words.json.check({words.input, words.answer}); !s.ok()) return refuse(s);
  auto file = CaseFile::open(words.input);
  if (!file.ok()) return refuse(file.status());
  const CaseFile& c = file.value();
  const auto answer = SafetensorsFile::open(words.answer);
  if (!answer.ok()) return refuse(answer.status());
  const auto out = answer_of(c, answer.value(), words.answer);
  if (!out.ok()) return refuse(out.status());
  // The library looks at the call before the oracle does, which takes it for a legal one.
  Answer twin;
  if (Status s = compute(c, 1, twin); !s.ok()) return refuse({s.code(), fmt::format("{}: {}", words.input, s.message())});
  const std::int64_t same = same_bits(c.problem().out, twin.out, out.value());
  const testing::Bytes before = c.initial_out();
  const testing::Judgement found = c.is_gmm() ? judge(c.gmm_args(nullptr), before.data(), out.value(), words.allowance)
                                              : judge(c.tgmm_args(nullptr), before.data(), out.value(), words.allowance);
  const std::int64_t outputs = c.out_bytes() / element_bytes(c.problem().out);
  const testing::Comparison& allowed = found.allowed;
  const bool ok = allowed.wrong == 0;
  if (!words.json.on_stdout()) {
    put("{}\n", testing::to_string(c.problem()));
    put("outputs with the bits of the reduction order  {} of {} (kernel {})\n", same, outputs, twin.kernel);
    put("outputs held against the exact result         {}\n", allowed.checked);
    put("largest error / E, this library's bound       {:.4g}\n", found.worst_of_e);
    put("largest error / what is allowed               {:.4g}\n", allowed.worst);
    put("{}\n", ok ? "ok" : fmt::format("FAIL: {} outputs are off by more; first {}", allowed.wrong, allowed.first_bad));
  }
  Json json = {{"command", "check"},
               {"version", version()},
               {"machine", machine_json()},
               {"problem", testing::to_string(c.problem())},
               {"ok", ok},
               {"outputs", outputs},
               {"same_bits", same},
               {"kernel", twin.kernel},
               {"outputs_checked", allowed.checked},
               {"worst_over_bound", found.worst_of_e},
               {"worst_over_allowed", allowed.worst},
               {"wrong", allowed.wrong}};
  if (!ok) json["failure"] = allowed.first_bad;
  return !words.json.write(json) ? kUsage : ok ? kOk : kCheckFailed;
}

}  // namespace

void add_check(CLI::App& app, int& exit_code) {
  auto words = std::make_shared<CheckWords>();
  CLI::App* verb = app.add_subcommand("check", "judge the answer that another program has computed for a case file");
  verb->add_option("case", words->input, "what ragdot run takes, such as ragdot case writes")
      ->required()
      ->type_name("CASE.safetensors");
  verb->add_option("answer", words->answer, "a file with the tensor out")->required()->type_name("OUT.safetensors");
  verb->add_option("--roundings", words->allowance.roundings,
                   "f32 roundings that a product may pass on its way to the output (as many as the sum has terms)")
      ->check(whole_from(0));
  verb->add_option("--of-sum", words->allowance.of_sum, "what may be lost besides, as a share of S = sum |a b s| (0)")
      ->check(from_zero());
  words->json.add_to(*verb);
  verb->footer(
      "Examples:\n"
      "  ragdot case tgmm g=4 m=1000 k=256 n=384 lhs=e4m3:128x1 rhs=e4m3:128x1 dist=zipf:1.1 -o case.safetensors\n"
      "  ragdot check case.safetensors mine.safetensors\n"
      "  ragdot check case.safetensors mine.safetensors --roundings 40 --of-sum 0.0005\n"
      "An output may be off by E, this library's bound, and by n u / (1 - n u) of S for n roundings, u = 2^-24.");
  verb->callback([words, &exit_code] { exit_code = check_command(*words); });
}

}  // namespace ragdot::cli
