// Where an output may go: only a regular file is replaced, and a symbolic link leads to its target.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "cli/test_files.hpp"

namespace ragdot::cli {
namespace {

using Output = Files;

TEST_F(Output, OnlyRegularFilesAreReplaced) {
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  fs::create_directory(path("folder"));
  fs::create_symlink("fifo", path("to_fifo"));
  for (const char* name : {"fifo", "folder", "to_fifo"}) {
    for (const bool overwrite : {false, true}) {
      std::vector<std::string> words = {"case", "gmm g=1 m=1 k=1 n=1", "-o", path(name)};
      if (overwrite) words.emplace_back("--overwrite");
      EXPECT_EQ(command_says(words, path(name) + ": exists and is no regular file; give the name of a file"), kUsage);
    }
  }
  EXPECT_EQ(command_says({"quantize", path("fifo"), "-o", path("out")}, path("fifo") + ": is no regular file"), kUsage)
      << "nor read: nobody may ever write into it";
  EXPECT_TRUE(fs::is_fifo(path("fifo")));
  EXPECT_TRUE(fs::is_directory(path("folder")));
  EXPECT_TRUE(fs::is_symlink(path("to_fifo")));
}

TEST_F(Output, GoesThroughASymbolicLink) {
  fs::create_directory(path("folder"));
  store("folder/file", "old");
  fs::create_symlink("folder/file", path("link"));
  EXPECT_EQ(command({"case", "gmm g=1 m=1 k=1 n=1", "-o", path("link")}), kUsage) << "it exists";
  EXPECT_EQ(load("folder/file"), "old");
  EXPECT_EQ(command({"case", "gmm g=1 m=1 k=1 n=1", "-o", path("link"), "--overwrite"}), kOk);
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_TRUE(SafetensorsFile::open(path("folder/file")).ok());
  fs::create_symlink("nowhere", path("dangling"));
  EXPECT_EQ(command_says({"case", "gmm g=1 m=1 k=1 n=1", "-o", path("dangling"), "--overwrite"},
                         "is a symbolic link to what cannot be found; name the file itself"),
            kUsage);
  EXPECT_TRUE(fs::is_symlink(path("dangling")));
}

TEST_F(Output, IsNotStdout) {
  const fs::path before = fs::current_path();
  fs::current_path(path(""));
  EXPECT_EQ(command_says({"case", "gmm g=1 m=1 k=1 n=1", "-o", "-"}, "-: tensors are not written to stdout"), kUsage);
  EXPECT_FALSE(fs::exists("-"));
  EXPECT_EQ(command({"case", "gmm g=1 m=1 k=1 n=1", "-o", "./-"}), kOk);
  fs::current_path(before);
}

}  // namespace
}  // namespace ragdot::cli
