// Layer shapes of published MoE models, with groups and rows cut so that a test machine can hold and compute them.
#pragma once

#include <cstdint>

namespace ragdot::testing {

struct MoeShape {
  const char* name;
  std::int64_t k;
  std::int64_t n;
  std::int64_t groups;  // the models have 8 to 256 experts
  std::int64_t rows;
};

inline constexpr MoeShape kMoeShapes[] = {
    {"ling_mini_up", 2048, 512, 16, 2048},    {"ling_mini_down", 512, 2048, 16, 2048},
    {"deepseek_v3_up", 7168, 2048, 4, 256},   {"deepseek_v3_down", 2048, 7168, 4, 256},
    {"deepseek_v3_tp8", 7168, 256, 8, 1024},  {"qwen3_30b_up", 2048, 768, 16, 1024},
    {"qwen3_30b_down", 768, 2048, 16, 1024},  {"qwen3_235b_up", 4096, 1536, 8, 512},
    {"qwen3_235b_down", 1536, 4096, 8, 512},  {"gpt_oss_20b", 2880, 2880, 8, 512},
    {"mixtral_8x7b_up", 4096, 14336, 2, 128}, {"mixtral_8x7b_down", 14336, 4096, 2, 128},
    {"llama4_scout_up", 5120, 8192, 2, 128},  {"qwen2_57b_up", 3584, 2560, 4, 384},
    {"qwen2_57b_down", 2560, 3584, 4, 384},
};

}  // namespace ragdot::testing
