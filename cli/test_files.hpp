// What the command's tests share: a folder of their own, files of tensors, and the command run on words.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "cli/command.hpp"
#include "cli/exit_codes.hpp"
#include "cli/safetensors.hpp"

namespace ragdot::cli {

namespace fs = std::filesystem;

struct Tensor {
  TensorInfo info;
  std::string bytes;
};

inline Status write_file(const std::string& path, const std::vector<Tensor>& tensors,
                         const std::map<std::string, std::string>& metadata) {
  std::vector<TensorInfo> infos;
  for (const Tensor& t : tensors) infos.push_back(t.info);
  auto writer = SafetensorsWriter::create(path, infos, metadata, SafetensorsWriter::Existing::refuse);
  if (!writer.ok()) return writer.status();
  for (const Tensor& t : tensors) {
    if (Status s = writer.value().write(t.bytes.data(), t.info.bytes); !s.ok()) return s;
  }
  return writer.value().finish();
}

inline Tensor tensor(const std::string& name, const std::string& dtype, const std::vector<std::int64_t>& shape,
                     const std::string& bytes) {
  return {{name, dtype, shape, static_cast<std::int64_t>(bytes.size())}, bytes};
}

inline std::string bytes_of(const std::vector<float>& x) { return {reinterpret_cast<const char*>(x.data()), 4 * x.size()}; }

inline std::vector<float> some_weights(std::size_t count) {
  std::vector<float> x(count);
  for (std::size_t i = 0; i < count; ++i) x[i] = static_cast<float>(static_cast<int>(i * 7919 % 2003) - 1000) * 0x1p-9F;
  return x;
}

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
  static int command(const std::vector<std::string>& words) {
    std::vector<const char*> arguments = {"ragdot"};
    for (const std::string& word : words) arguments.push_back(word.c_str());
    return cli::command(static_cast<int>(arguments.size()), arguments.data());
  }
  /// Runs the command, and looks that it says `sentence` on stderr.
  static int command_says(const std::vector<std::string>& words, const std::string& sentence) {
    ::testing::internal::CaptureStderr();
    const int code = command(words);
    const std::string said = ::testing::internal::GetCapturedStderr();
    EXPECT_NE(said.find(sentence), std::string::npos) << "it says: " << said;
    return code;
  }

 private:
  fs::path folder_ = fs::temp_directory_path() / fmt::format("ragdot_cli_{}_{}", ::getpid(),
                                                             ::testing::UnitTest::GetInstance()->current_test_info()->name());
};

}  // namespace ragdot::cli
