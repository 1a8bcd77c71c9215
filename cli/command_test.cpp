// Exit codes and sentences for words that cannot be, and for output that goes nowhere.
#include "cli/command.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdio_ext.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "cli/test_files.hpp"

namespace ragdot::cli {
namespace {

using Command = Files;

/// Sets a variable of the environment for as long as it lives.
struct Variable {
  Variable(const char* variable, const char* value) : name(variable) { ::setenv(name, value, 1); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { ::unsetenv(name); }

  const char* name;
};

/// Makes a file, which it closes, stdout for as long as it lives. What could not be written by then is forgotten.
class Stdout {
 public:
  explicit Stdout(int file) {
    std::fflush(stdout);
    kept_ = ::dup(STDOUT_FILENO);
    EXPECT_GE(::dup2(file, STDOUT_FILENO), 0);
    ::close(file);
  }
  Stdout(const Stdout&) = delete;
  Stdout& operator=(const Stdout&) = delete;
  ~Stdout() {
    ::__fpurge(stdout);
    std::clearerr(stdout);
    EXPECT_GE(::dup2(kept_, STDOUT_FILENO), 0);
    ::close(kept_);
  }

 private:
  int kept_ = -1;
};

TEST_F(Command, RefusalsEndWithTheirCode) {
  const std::string small = "gmm g=2 m=4 k=4 n=4 ";
  testing::FLAGS_gtest_death_test_style = "threadsafe";  // the library reads its environment once
  const auto with_a_kernel_that_is_none = [&] {
    const Variable kernel("RAGDOT_KERNEL", "nonsense");
    _exit(command({"verify", small}));
  };
  EXPECT_EXIT(with_a_kernel_that_is_none(), testing::ExitedWithCode(kNotPossible), "");
  EXPECT_EQ(command({"verify", small + "accumulate=1 out=bf16"}), kUsage);
  EXPECT_EQ(command({"verify", small + "lhs=bf16:1x128"}), kUsage);
  EXPECT_EQ(command({"verify", small + "lhs=f32 rhs=bf16"}), kNotPossible);
}

TEST_F(Command, VerifyPrintsARefusalAsOne) {
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(command({"verify", "gmm g=2 m=4 k=4 n=4 accumulate=1 out=bf16"}), kUsage);
  const std::string printed = ::testing::internal::GetCapturedStdout();
  EXPECT_NE(printed.find("REFUSED gmm g=2"), std::string::npos) << printed;
  EXPECT_NE(printed.find("accumulate needs an f32 out"), std::string::npos) << printed;
  EXPECT_EQ(printed.find("replay"), std::string::npos) << printed;
  EXPECT_EQ(printed.find("FAIL"), std::string::npos) << printed;
  EXPECT_EQ(command({"verify", "gmm g=2 m=4 k=4 n=4 lhs=f32 rhs=bf16", "--json", path("v.json")}), kNotPossible);
  EXPECT_EQ(nlohmann::json::parse(load("v.json"))["cases"][0]["refused"], true);
}

TEST_F(Command, CasesThatNothingTakesAreNotWritten) {
  EXPECT_EQ(command({"case", "gmm g=2 m=4 k=4 n=4 lhs=f32 rhs=bf16", "-o", path("c")}), kNotPossible);
  EXPECT_EQ(command({"case", "gmm g=2 m=4 k=4 n=4 accumulate=1 out=bf16", "-o", path("c")}), kUsage);
  EXPECT_FALSE(fs::exists(path("c")));
}

TEST_F(Command, SizesBeyondEveryMemoryGetASentence) {
  EXPECT_EQ(command_says({"case", "gmm g=8 m=9223372036854775807 k=9223372036854775807 n=4", "-o", path("c")},
                         "2^60 elements or more; give smaller sizes"),
            kUsage);
  EXPECT_EQ(command_says({"info", "--plan", "gmm g=9223372036854775807 m=1 k=1 n=1"}, "2^60 elements or more"), kUsage);
  EXPECT_EQ(command({"verify", "gmm g=1 m=3000000000 k=0 n=0"}), kOk) << "no output, nothing to look at";
}

TEST_F(Command, NumbersOfOptionsGetASentence) {
  EXPECT_EQ(command_says({"run", "x", "-o", "y", "--threads", "-1"}, "--threads: -1 is no whole number from 0 on"), kUsage);
  EXPECT_EQ(command_says({"run", "x", "-o", "y", "--repeat", "0"}, "--repeat: 0 is no whole number from 1 on"), kUsage);
  EXPECT_EQ(command_says({"bench", "--preset", "smoke", "--seconds", "0"}, "--seconds: 0 is no number above 0"), kUsage);
  EXPECT_EQ(command_says({"bench", "--preset", "smoke", "--threads", "0"}, "--threads: 0 is no whole number from 1 on"),
            kUsage);
}

TEST_F(Command, AWordThatIsNoVerbIsNamed) {
  EXPECT_EQ(
      command_says({"inf"}, "verb inf is unknown; did you mean info? Known: info, verify, run, case, check, quantize, bench"),
      kUsage);
  EXPECT_EQ(command_says({"verifi", "--preset", "smoke"}, "did you mean verify?"), kUsage);
  EXPECT_EQ(command_says({}, "A subcommand is required"), kUsage);
}

TEST_F(Command, BenchRefusesKernelsThatAreNoneBeforeItMeasures) {
  ::testing::internal::CaptureStdout();
  EXPECT_EQ(command_says({"bench", "gmm g=1 m=1 k=1 n=1", "--kernel", "avx2,nonsense"}, "bench: kernel nonsense is unknown"),
            kUsage);
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "");
}

TEST_F(Command, SaysThatAnExecutorIsIgnored) {
  const Variable executor("RAGDOT_EXECUTOR", "nonsense");
  EXPECT_EQ(command_says({"info"}, "RAGDOT_EXECUTOR is nonsense, which names no executor and is ignored"), kOk);
}

/// Stdout becomes a file that was opened for reading, so nothing can be written to it.
TEST_F(Command, OutputThatIsLostIsNoSuccess) {
  store("readable", "");
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"info"}, {"info", "--json"}, {"--help"}, {"--version"}}) {
    int code = kOk;
    {
      const Stdout lost(::open(path("readable").c_str(), O_RDONLY | O_CLOEXEC));
      code = command_says(words, "stdout cannot be written: Bad file descriptor");
    }
    EXPECT_EQ(code, kUsage) << words.back();
  }
}

/// Stdout becomes a pipe that nobody reads, and more is printed than it would hold back.
TEST_F(Command, AReaderThatGoesAwayChangesNothing) {
  std::vector<Tensor> tensors;
  for (int i = 0; i < 2000; ++i)
    tensors.push_back(tensor(fmt::format("{}.weight", i), "F32", {2, 3}, bytes_of(some_weights(6))));
  ASSERT_TRUE(write_file(path("in"), tensors, {}).ok());
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe(pipe.data()), 0);
  ::close(pipe[0]);
  auto* const handler = std::signal(SIGPIPE, SIG_IGN);
  int code = kUsage;
  std::string said;
  {
    const Stdout unread(pipe[1]);
    ::testing::internal::CaptureStderr();
    code = command({"quantize", path("in"), "-o", path("out"), "--json", path("q.json")});
    said = ::testing::internal::GetCapturedStderr();
  }
  std::signal(SIGPIPE, handler);
  EXPECT_EQ(code, kOk);
  EXPECT_EQ(said, "");
  EXPECT_EQ(nlohmann::json::parse(load("q.json"))["tensors"].size(), 2000U);
}

TEST_F(Command, JsonLeavesTheProblemAlone) {
  ASSERT_EQ(command({"verify", "--json", path("v.json"), "tgmm", "g=2", "m=4", "k=4", "n=4"}), kOk);
  EXPECT_EQ(nlohmann::json::parse(load("v.json"))["cases"][0]["problem"], "tgmm g=2 m=4 k=4 n=4 lhs=bf16 rhs=bf16");
}

TEST_F(Command, JsonTakesNoFileOfTheCall) {
  ASSERT_EQ(command({"case", "gmm g=2 m=4 k=4 n=4", "-o", path("case")}), kOk);
  const std::string before = load("case");
  fs::create_symlink("case", path("link"));
  for (const char* name : {"case", "link", "./case"}) {
    EXPECT_EQ(command_says({"run", path("case"), "-o", path("out"), "--json", path(name)},
                           fmt::format("--json {} is the file {} of this call too", path(name), path("case"))),
              kUsage);
  }
  EXPECT_EQ(command({"run", path("case"), "-o", path("out"), "--json", path("out")}), kUsage);
  EXPECT_EQ(load("case"), before);
  EXPECT_FALSE(fs::exists(path("out")));
  ASSERT_TRUE(write_file(path("in"), {tensor("a.weight", "F32", {2, 3}, bytes_of(some_weights(6)))}, {}).ok());
  EXPECT_EQ(command({"quantize", path("in"), "-o", path("out"), "--json", path("in")}), kUsage);
  EXPECT_FALSE(fs::exists(path("out")));
}

TEST_F(Command, JsonThatCannotBeWrittenIsKnownBeforeTheWork) {
  ASSERT_EQ(command({"case", "gmm g=2 m=4 k=4 n=4", "-o", path("case")}), kOk);
  for (const std::string& file : {path("absent/x.json"), path("")}) {
    EXPECT_EQ(command_says({"run", path("case"), "-o", path("out"), "--json", file}, "--json " + file + " cannot be written: "),
              kUsage);
  }
  EXPECT_FALSE(fs::exists(path("out")));
}

}  // namespace
}  // namespace ragdot::cli
