#pragma once
// SPDX-License-Identifier: Apache-2.0
// The table of one ISA: every entry instantiated for its tag. A new kernel is one line here.

#include <ptq/kernels/table.hpp>
#include <ptq/native/conv.hpp>
#include <ptq/native/isa.hpp>
#include <ptq/native/qmatmul.hpp>

namespace ptq::native {

template <class Isa>
constexpr kernels::kernel_table make_table() {
  return {
      .isa = Isa::name,
      .qconv = qconv<Isa>,
      .qmatmul = qmatmul<Isa>,
  };
}

}  // namespace ptq::native
