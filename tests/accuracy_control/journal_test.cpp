// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <string>

#include <ptq/accuracy_control/budget.hpp>
#include <ptq/accuracy_control/journal.hpp>

#include "support/temp_folder.hpp"

using namespace ptq;
using namespace ptq::control;

TEST_CASE("a journal that was cut anywhere keeps its whole lines and goes on") {
  ptq_test::temp_folder dir;
  const auto file = dir.path() / "j";
  {
    journal j(file, "id");
    j.add("a", {1.0 / 3, -0.0});
    j.add("b:1,2", {});
  }
  std::ifstream in(file, std::ios::binary);
  const std::string whole(std::istreambuf_iterator<char>(in), {});
  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    dir.write("j", whole.substr(0, cut));
    journal j(file, "id");
    if (j.find("a")) CHECK(j.find("a")->at(0) == 1.0 / 3);
    if (cut == whole.size()) CHECK(j.find("b:1,2"));
    j.add("c", {2});
    journal again(file, "id");
    REQUIRE(again.find("c"));
    CHECK((again.find("a") != nullptr) == (j.find("a") != nullptr));
  }
}

TEST_CASE("a journal of another search is refused, with both names") {
  ptq_test::temp_folder dir;
  { journal j(dir.path() / "j", "one"); }
  const auto text = ptq_test::text_of<data_error>([&] { journal(dir.path() / "j", "two"); });
  CHECK(ptq_test::contains(text, "one"));
  CHECK(ptq_test::contains(text, "two"));
}

TEST_CASE("costs go through a file unchanged, and are rounded to 2 %") {
  const cost_table c{100.5, 30.25, {{"conv 1", {10, 3}}, {"fc", {1, 2}}}};
  const auto d = parse_costs(cost_text(c), "f");
  CHECK(cost_text(d) == cost_text(c));
  CHECK(given_back(d, "conv 1") == 7);
  CHECK(given_back(d, "fc") == 0);      // never a gain
  CHECK(given_back(d, "absent") == 0);
  for (double us : {0.37, 5.0, 1234.5}) {
    CHECK(rounded_cost(us) == doctest::Approx(us).epsilon(0.0101));
    CHECK(rounded_cost(rounded_cost(us)) == doctest::Approx(rounded_cost(us)).epsilon(1e-12));
  }
  CHECK(rounded_cost(0) == 0);
  CHECK(ptq_test::contains(ptq_test::text_of<data_error>([] { parse_costs("{}", "f"); }), "float_us"));
  CHECK(ptq_test::contains(
      ptq_test::text_of<data_error>([] {
        parse_costs(R"({"float_us": 1, "int8_us": 1, "layers": {"a": [1, -2]}})", "f");
      }),
      "-2"));
}
