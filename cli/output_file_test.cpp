// Outputs are whole or not there, whatever ends their process, and take the place of nothing that was read.
#include "cli/output_file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "cli/report.hpp"
#include "cli/test_files.hpp"

namespace ragdot::cli {
namespace {

using Existing = OutputFile::Existing;
using Meanwhile = OutputFile::Meanwhile;

class Outputs : public Files {
 protected:
  /// Whether files without a name can be had here at all.
  [[nodiscard]] bool has_nameless() const {
    const int file = ::open(path("").c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    if (file >= 0) ::close(file);
    return file >= 0;
  }
  [[nodiscard]] int files() const {
    return static_cast<int>(std::distance(fs::directory_iterator(path("")), fs::directory_iterator()));
  }
};

TEST_F(Outputs, AppearsWholeOfBothKinds) {
  for (const Meanwhile meanwhile : {Meanwhile::nameless, Meanwhile::hidden}) {
    for (const Existing existing : {Existing::refuse, Existing::replace}) {
      fs::remove(path("out"));
      if (existing == Existing::replace) store("out", "old");
      const int before = files();
      auto file = OutputFile::create(path("out"), existing, meanwhile);
      ASSERT_TRUE(file.ok()) << file.status().message();
      ASSERT_TRUE(file.value().write("new", 3).ok());
      EXPECT_EQ(load("out"), existing == Existing::replace ? "old" : "");
      EXPECT_EQ(files(), before + (meanwhile == Meanwhile::hidden || !has_nameless() ? 1 : 0));
      ASSERT_TRUE(file.value().finish().ok());
      EXPECT_EQ(load("out"), "new");
    }
    EXPECT_EQ(files(), 1);
  }
}

TEST_F(Outputs, DoesNotReplaceWhatAppearsMeanwhile) {
  for (const Meanwhile meanwhile : {Meanwhile::nameless, Meanwhile::hidden}) {
    fs::remove(path("out"));
    {
      auto file = OutputFile::create(path("out"), Existing::refuse, meanwhile);
      ASSERT_TRUE(file.ok()) << file.status().message();
      store("out", "another's");
      EXPECT_NE(file.value().finish().message().find("cannot be put in place: File exists"), std::string::npos);
    }
    EXPECT_EQ(load("out"), "another's");
    EXPECT_EQ(files(), 1);
  }
}

TEST_F(Outputs, OfAProcessThatIsKilledLeavesNothing) {
  if (!has_nameless()) GTEST_SKIP() << "this file system has no files without a name";
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGKILL}) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::signal(signal, SIG_DFL);
      auto file = OutputFile::create(path("out"), Existing::refuse);
      if (file.ok() && file.value().write("new", 3).ok()) ::raise(signal);
      ::_exit(1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal) << status;
    EXPECT_EQ(files(), 0);
  }
}

TEST_F(Outputs, IsRefusedBeforeTheWork) {
  const std::vector<std::int32_t> sizes = {2};
  // The call itself would be refused too, with 3.
  ASSERT_TRUE(write_file(path("case"),
                         {tensor("lhs", "F32", {2, 3}, bytes_of(some_weights(6))),
                          tensor("rhs", "BF16", {1, 3, 4}, std::string(24, 'x')),
                          tensor("group_sizes", "I32", {1}, {reinterpret_cast<const char*>(sizes.data()), 4})},
                         {{"problem", "gmm lhs=f32 rhs=bf16"}})
                  .ok());
  ASSERT_EQ(command({"run", path("case"), "-o", path("out")}), kNotPossible);
  store("there", "old");
  EXPECT_EQ(command_says({"run", path("case"), "-o", path("there")}, "exists; give another name, or --overwrite"), kUsage);
  EXPECT_EQ(command_says({"run", path("case"), "-o", path("absent/out")}, "cannot be created: No such file"), kUsage);
  const std::string unscaled = "gmm g=1 m=1 k=1 n=1 lhs=e4m3:1x1 scale=e8m0";  // absmax has no such scales
  ASSERT_EQ(command({"case", unscaled, "-o", path("out")}), kNotPossible);
  EXPECT_EQ(command_says({"case", unscaled, "-o", path("there")}, "exists; give another name, or --overwrite"), kUsage);
  EXPECT_EQ(load("there"), "old");
  EXPECT_FALSE(fs::exists(path("out")));
}

TEST_F(Outputs, HasAName) {
  const std::string sentence = "--output: it is empty; give the name of a file";
  EXPECT_EQ(command_says({"run", path("case"), "-o", ""}, sentence), kUsage);
  EXPECT_EQ(command_says({"case", "gmm g=1 m=1 k=1 n=1", "-o", ""}, sentence), kUsage);
  EXPECT_EQ(command_says({"quantize", path("in"), "-o", ""}, sentence), kUsage);
}

TEST_F(Outputs, TakesThePlaceOfNoInput) {
  ASSERT_EQ(command({"case", "gmm g=2 m=4 k=4 n=4", "-o", path("case")}), kOk);
  ASSERT_TRUE(write_file(path("in"), {tensor("a.weight", "F32", {2, 3}, bytes_of(some_weights(6)))}, {}).ok());
  for (const std::string verb : {"run", "quantize"}) {
    const std::string input = verb == "run" ? "case" : "in";
    const std::string before = load(input);
    fs::create_hard_link(path(input), path(input + "_hard"));
    fs::create_symlink(input, path(input + "_link"));
    for (const char* end : {"", "_hard", "_link"}) {
      EXPECT_EQ(command_says({verb, path(input), "-o", path(input + end), "--overwrite"},
                             path(input + end) + ": is the file " + path(input) + " that this call reads"),
                kUsage);
    }
    EXPECT_EQ(load(input), before);
  }
}

/// What the option --json of a verb would be, with FILE.
struct GivenJson {
  explicit GivenJson(const std::string& file) {
    option.add_to(app);
    app.parse(std::vector<std::string>{file, "--json"});  // CLI11 takes them from the end
  }
  CLI::App app;
  JsonOption option;
};

TEST_F(Outputs, JsonTakesBytesThatAreNotUtf8) {
  ASSERT_EQ(command({"case", "gmm g=2 m=4 k=4 n=4", "-o", path("case")}), kOk);
  ASSERT_EQ(command({"run", path("case"), "-o", path("out\xff"), "--json", path("j")}), kOk);
  EXPECT_EQ(nlohmann::json::parse(load("j"))["output"], path("out\xef\xbf\xbd"));
}

/// Files may not pass 512 bytes for a while.
TEST_F(Outputs, JsonThatCannotBeWrittenLeavesTheOldResult) {
  store("j", "old");
  const GivenJson json(path("j"));
  rlimit usual{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &usual), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ::testing::internal::CaptureStderr();
  const rlimit small = {512, usual.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const bool written = json.option.write(Json(std::string(1000, 'x')));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &usual), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "ragdot: --json " + path("j") + ": cannot be written: File too large\n");
  EXPECT_FALSE(written);
  EXPECT_EQ(load("j"), "old");
  EXPECT_EQ(files(), 1);
}

TEST_F(Outputs, JsonIsWrittenIntoWhatIsNoPlainFile) {
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  const int end = ::open(path("fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  EXPECT_TRUE(GivenJson(path("fifo")).option.write(Json(7)));
  char text[8] = {};
  EXPECT_EQ(::read(end, text, sizeof text), 2);
  EXPECT_EQ(std::string(text), "7\n");
  ::close(end);
  EXPECT_TRUE(fs::is_fifo(path("fifo")));
  // A descriptor's name leads to a plain file, whose place nothing may take.
  const int open_file = ::open(path("open").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  fs::create_symlink(fmt::format("/proc/self/fd/{}", open_file), path("link"));
  for (const std::string& name : {fmt::format("/dev/fd/{}", open_file), path("link")}) {
    EXPECT_TRUE(GivenJson(name).option.write(Json(name)));
    struct stat info{};
    ASSERT_EQ(::fstat(open_file, &info), 0);
    EXPECT_EQ(info.st_nlink, 1U) << name;
    EXPECT_EQ(load("open"), Json(name).dump() + "\n");
  }
  ::close(open_file);
  fs::create_symlink("open", path("plain"));
  EXPECT_TRUE(GivenJson(path("plain")).option.write(Json(8)));
  EXPECT_TRUE(fs::is_symlink(path("plain")));
  EXPECT_EQ(load("open"), "8\n");
}

TEST_F(Outputs, JsonHasNoFileOfTheNameDash) {
  EXPECT_EQ(command_says({"info", "--json", "-"}, "--json - is no file; leave out the - for stdout"), kUsage);
}

}  // namespace
}  // namespace ragdot::cli
