// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>

#include <ptq/core/error.hpp>
#include <ptq/dispatch.hpp>
#include <ptq/kernels/amx.hpp>

namespace {

using namespace ptq;

/// PTQ_ISA for the time of a scope.
struct forced_isa {
  explicit forced_isa(const char* name) { setenv("PTQ_ISA", name, 1); }
  ~forced_isa() { unsetenv("PTQ_ISA"); }
};

TEST_CASE("the portable kernels are always available, and last") {
  REQUIRE(!available_kernels().empty());
  CHECK(std::string(available_kernels().back()->isa) == "portable");
}

TEST_CASE("the best available table is dispatched") {
  unsetenv("PTQ_ISA");
  CHECK(&dispatched_kernels() == available_kernels().front());
}

TEST_CASE("PTQ_ISA picks any available table") {
  for (const kernels::kernel_table* table : available_kernels()) {
    const forced_isa isa(table->isa);
    CHECK(&dispatched_kernels() == table);
  }
}

TEST_CASE("an unknown PTQ_ISA is refused with the choices in the text") {
  const forced_isa isa("mmx");
  CHECK_THROWS_AS(dispatched_kernels(), unsupported);
  try {
    dispatched_kernels();
  } catch (const unsupported& e) {
    const std::string text = e.what();
    CHECK(text.find("'mmx'") != std::string::npos);
    CHECK(text.find("portable") != std::string::npos);
  }
}

TEST_CASE("a PTQ_ISA that this CPU lacks is refused") {
  for (const built_kernel& b : built_kernels()) {
    if (b.supported) continue;
    const forced_isa isa(b.table->isa);
    CHECK_THROWS_AS(dispatched_kernels(), unsupported);
  }
}

TEST_CASE("tiles are offered only where the CPU and the operating system have them") {
  for (const built_kernel& b : built_kernels())
    if (std::string(b.table->isa) == "amx_int8" && b.supported)
      CHECK((kernels::cpu_has_amx_int8() && kernels::request_amx()));
}

TEST_CASE("what is available is what is built and supported, in the same order") {
  std::size_t i = 0;
  for (const built_kernel& b : built_kernels())
    if (b.supported) {
      REQUIRE(i < available_kernels().size());
      CHECK(available_kernels()[i++] == b.table);
    }
  CHECK(i == available_kernels().size());
}

TEST_CASE("every table has a name of its own and the integer kernels") {
  for (const built_kernel& a : built_kernels()) {
    CHECK(static_cast<bool>(a.table->qconv));
    CHECK(static_cast<bool>(a.table->qmatmul));
    for (const built_kernel& b : built_kernels())
      CHECK((std::string(a.table->isa) == b.table->isa) == (a.table == b.table));
  }
}

}  // namespace
