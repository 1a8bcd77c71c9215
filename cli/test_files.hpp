// What the command's tests share: a folder of their own, and the command run on words.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "cli/exit_codes.hpp"
#include "cli/verbs.hpp"

namespace ragdot::cli {

namespace fs = std::filesystem;

class Files : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }

  [[nodiscard]] std::string path(const std::string& name) const { return (folder_ / name).string(); }

  void store(const std::string& name, const std::string& bytes) const { std::ofstream(path(name), std::ios::binary) << bytes; }
  [[nodiscard]] std::string load(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  /// A container with this header and `bytes` zero bytes of tensors.
  void store_container(const std::string& name, const std::string& header, std::size_t bytes) const {
    const auto length = static_cast<std::uint64_t>(header.size());
    store(name, std::string(reinterpret_cast<const char*>(&length), 8) + header + std::string(bytes, '\0'));
  }
  /// Runs the command; returns its exit code.
  static int command(std::vector<std::string> words) {
    CLI::App app("test", "ragdot");
    app.require_subcommand(1);
    int code = kOk;
    add_info(app, code);
    add_verify(app, code);
    add_run(app, code);
    add_case(app, code);
    add_quantize(app, code);
    add_bench(app, code);
    std::reverse(words.begin(), words.end());
    try {
      app.parse(words);
    } catch (const CLI::ParseError&) {
      return kUsage;
    }
    return code;
  }

 private:
  fs::path folder_ = fs::temp_directory_path() / fmt::format("ragdot_cli_{}_{}", ::getpid(),
                                                             ::testing::UnitTest::GetInstance()->current_test_info()->name());
};

}  // namespace ragdot::cli
