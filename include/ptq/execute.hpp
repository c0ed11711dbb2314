#pragma once
// SPDX-License-Identifier: Apache-2.0
// Stage: program + inputs → outputs, with an optional tap on every value.
//   session   memory and threads for one program, run again and again
//   runner    a graph that runs on samples, whatever extents they bring

#include <ptq/execute/runner.hpp>
#include <ptq/execute/session.hpp>
