// ragdot info: what this build finds on this machine, and what it would choose for a problem.
#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <memory>

#include "cli/exit_codes.hpp"
#include "cli/machine.hpp"
#include "cli/print.hpp"
#include "cli/report.hpp"
#include "cli/verbs.hpp"
#include "ragdot/cuda.h"
#include "ragdot/ragdot.hpp"
#include "testing/case.hpp"

namespace ragdot::cli {
namespace {

/// What the library reads from the environment.
constexpr std::array<const char*, 3> kVariables = {"RAGDOT_KERNEL", "RAGDOT_EXECUTOR", "RAGDOT_VERBOSE"};

struct InfoWords {
  std::vector<std::string> plan;
  JsonOption json;
};

const char* executor_name() { return &default_executor() == &thread_executor() ? "threads" : "oneTBB"; }

std::string size_text(std::int64_t bytes) {
  return bytes >= 4 << 20 ? fmt::format("{} MiB", bytes >> 20) : fmt::format("{} KiB", bytes >> 10);
}

Json caches_json() {
  Json json = Json::object();
  for (const Cache& cache : read_caches()) json[cache.name] = {{"bytes", cache.bytes}, {"cpus", cache.cpus}};
  return json;
}

Json variables_json() {
  Json json = Json::object();
  for (const char* name : kVariables) {
    if (const char* value = std::getenv(name); value != nullptr) json[name] = value;
  }
  return json;
}

Json kernels_json() {
  Json json = Json::array();
  for (const KernelInfo& kernel : list_kernels())
    json.push_back({{"name", kernel.name}, {"usable", kernel.usable}, {"reason", kernel.reason}});
  return json;
}

Json cuda_json() {
  const std::string reason = ragdot_cuda_refusal();
  return {{"usable", reason.empty()}, {"reason", reason}};
}

/// True and false for what the operating system said, null where there is nothing to ask for.
Json granted_json() {
  const TilePermission permission = tile_permission();
  return permission == TilePermission::no_amx ? Json() : Json(permission == TilePermission::granted);
}

Json info_json() {
  return {{"command", "info"},
          {"version", version()},
          {"cpu", cpu_name()},
          {"features", present_features()},
          {"amx_granted", granted_json()},
          {"caches", caches_json()},
          {"executor", executor_name()},
          {"threads", default_executor().concurrency()},
          {"kernels", kernels_json()},
          {"cuda", cuda_json()},
          {"variables", variables_json()}};
}

Json plan_json(const std::string& problem, const Result<Plan>& plan) {
  if (!plan.ok()) return {{"problem", problem}, {"refusal", plan.status().message()}};
  const Tiling tile = plan.value().effective_tiling();
  return {{"problem", problem},
          {"kernel", plan.value().kernel()},
          {"tile", fmt::format("{}x{}x{}", tile.tm, tile.tk, tile.tn)},
          {"workspace_bytes", plan.value().workspace_bytes()},
          {"description", plan.value().describe()}};
}

void print_info() {
  put("ragdot {}\n{:<10} {}\n", version(), "cpu", cpu_name());
  put("{:<10} {}\n", "features", fmt::join(present_features(), " "));
  constexpr std::array<const char*, 3> kPermission = {"not on this CPU", "the operating system refuses the tile registers",
                                                      "the operating system grants the tile registers"};
  put("{:<10} {}\n", "amx", kPermission.at(static_cast<std::size_t>(tile_permission())));
  std::vector<std::string> caches;
  for (const Cache& c : read_caches())
    caches.push_back(fmt::format("{} {}{}", c.name, size_text(c.bytes), c.cpus > 1 ? fmt::format(" for {} CPUs", c.cpus) : ""));
  put("{:<10} {}\n", "caches", caches.empty() ? "not listed by this system" : fmt::to_string(fmt::join(caches, ", ")));
  put("{:<10} {}, {} threads\n", "executor", executor_name(), default_executor().concurrency());
  const char* title = "kernels";
  for (const KernelInfo& kernel : list_kernels()) {
    put("{:<10} {:<12} {}\n", title, kernel.name, kernel.usable ? "usable" : "not usable: " + kernel.reason);
    title = "";
  }
  const std::string no_gpu = ragdot_cuda_refusal();
  put("{:<10} {}\n", "cuda", no_gpu.empty() ? "usable" : "not usable: " + no_gpu);
  std::vector<std::string> variables;
  const Json set = variables_json();
  for (const auto& [name, value] : set.items()) variables.push_back(fmt::format("{}={}", name, value.get<std::string>()));
  put("{:<10} {}\n", "variables", variables.empty() ? "none set" : fmt::to_string(fmt::join(variables, " ")));
}

/// The library takes any other value for the usual executor.
void complain_of_executor() {
  const char* const value = std::getenv("RAGDOT_EXECUTOR");
  if (value == nullptr || *value == '\0' || std::string(value) == "threads") return;
  complain(fmt::format(
      "RAGDOT_EXECUTOR is {}, which names no executor and is ignored; set it to threads, or unset it for oneTBB", value));
}

int info_command(const InfoWords& words) {
  if (Status s = words.json.check({}); !s.ok()) return refuse(s);
  complain_of_executor();
  Json json = info_json();
  if (!words.json.on_stdout()) print_info();
  int code = kOk;
  if (!words.plan.empty()) {
    const auto problem = testing::parse_problem(fmt::to_string(fmt::join(words.plan, " ")));
    if (!problem.ok()) return refuse(problem.status());
    const Result<Plan> plan = testing::plan_of(problem.value());
    json["plan"] = plan_json(testing::to_string(problem.value()), plan);
    if (!plan.ok()) {
      code = refuse(plan.status());
    } else if (!words.json.on_stdout()) {
      put("{:<10} {}\n", "plan", plan.value().describe());
    }
  }
  return words.json.write(json) ? code : kUsage;
}

}  // namespace

void add_info(CLI::App& app, int& exit_code) {
  auto words = std::make_shared<InfoWords>();
  CLI::App* verb = app.add_subcommand("info", "what this machine offers, and the plan of a problem");
  verb->add_option("--plan", words->plan, "also the plan of this problem: kernel, tile, threads, workspace")
      ->expected(1, -1)
      ->type_name("PROBLEM");
  words->json.add_to(*verb);
  verb->footer(
      "Examples:\n"
      "  ragdot info\n"
      "  ragdot info --plan gmm g=256 m=65536 k=7168 n=2048 lhs=e4m3:1x128 rhs=e4m3:128x128\n"
      "  ragdot info --json\n"
      "No operand is allocated for a plan, so problems beyond this machine's memory can be asked about.");
  verb->callback([words, &exit_code] { exit_code = info_command(*words); });
}

}  // namespace ragdot::cli
