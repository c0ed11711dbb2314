#pragma once
// SPDX-License-Identifier: Apache-2.0
// The library's version: one place, read by CMake, by the tool and by the metadata of every exported model.

#define PTQ_VERSION_MAJOR 0
#define PTQ_VERSION_MINOR 1
#define PTQ_VERSION_PATCH 0

namespace ptq {

inline constexpr const char* version = "0.1.0";

}  // namespace ptq
