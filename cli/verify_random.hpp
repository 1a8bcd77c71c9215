// ragdot verify --random: a campaign of random cases, as a table or JSON.
#pragma once

#include "cli/report.hpp"
#include "testing/campaign.hpp"

namespace ragdot::cli {

/// Runs the campaign, prints what it found and returns the exit code.
[[nodiscard]] int verify_random(testing::CampaignOptions options, const JsonOption& json);

}  // namespace ragdot::cli
