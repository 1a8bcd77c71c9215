// Everything the C++ library offers.
#pragma once

#include "ragdot/error_bound.hpp"
#include "ragdot/execution.hpp"
#include "ragdot/gmm.hpp"
#include "ragdot/groups.hpp"
#include "ragdot/kernels.hpp"
#include "ragdot/pack.hpp"
#include "ragdot/plan.hpp"
#include "ragdot/quantize.hpp"
#include "ragdot/status.hpp"
#include "ragdot/tgmm.hpp"
#include "ragdot/types.hpp"
#include "ragdot/view.hpp"
