#pragma once
// SPDX-License-Identifier: Apache-2.0
// How a long stage tells its caller how far it is. The library never prints; the command-line tool draws this.

#include <cstdint>
#include <functional>
#include <string_view>

namespace ptq {

/// Called after each unit of work; total is 0 when it is not known in advance.
using progress = std::function<void(std::string_view stage, std::int64_t done, std::int64_t total)>;

}  // namespace ptq
