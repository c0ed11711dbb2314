// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <atomic>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <ptq/execute.hpp>
#include <ptq/kernels/reference.hpp>
#ifdef PTQ_TEST_DISPATCH
#include <ptq/compiled.hpp>
#endif

#include "quantize/network.hpp"
#include "support/temp_folder.hpp"

namespace {

using namespace ptq;
using ptq_test::network;

graph two_inputs() {
  network n;
  const auto a = n.input("a", {-1, 2}), b = n.input("b", {-1, 2});
  n.output(n.binary("sum", a, b, binary_kind::add));
  return n.done();
}

tensor row(std::initializer_list<float> v) {
  return tensor::from<float>({1, static_cast<std::int64_t>(v.size())}, v);
}

}  // namespace

TEST_CASE("inputs that don't fit a program are refused with both shapes") {
  const auto p = lower(two_inputs(), kernels::reference_kernels());
  const auto missing = ptq_test::text_of<shape_error>([&] { execute(p, std::vector{row({1, 2})}); });
  CHECK(ptq_test::contains(missing, "expected 2, got 1"));
  const auto wide = ptq_test::text_of<shape_error>(
      [&] { execute(p, std::vector{row({1, 2}), row({1, 2, 3})}); });
  CHECK(ptq_test::contains(wide, "'b': expected f32 [1,2], got f32 [1,3]"));
  CHECK_THROWS_AS(session(p, {.threads = 0, .workers = run_workers, .tap = {}}), error);
}

TEST_CASE("a tap sees inputs and results with their real values, in step order") {
  network n;
  const auto x = n.input("x", {1, 3});
  n.output(n.unary("positive", n.unary("negated", x, unary_kind::neg), unary_kind::relu));
  const auto p = lower(n.done(), kernels::reference_kernels());
  std::vector<std::string> names;
  std::map<std::string, std::vector<float>> seen;
  execute(p, std::vector{row({1, -2, 3})},
          {.threads = 1, .workers = run_workers, .tap = [&](const tapped& t) {
             names.emplace_back(t.value);
             const auto v = t.real();
             seen[std::string(t.value)] = {v.view<float>().begin(), v.view<float>().end()};
           }});
  CHECK(names == std::vector<std::string>{"x", "negated", "positive"});
  CHECK(seen["negated"] == std::vector<float>{-1, 2, -3});
  CHECK(seen["positive"] == std::vector<float>{0, 2, 0});
}

TEST_CASE("a host's own parallel-for does the work") {
  network n;
  n.output(n.conv("c", n.input("x", {1, 3, 20, 20}), 3, 8, {}, 3));
  const auto p = lower(n.done(), kernels::reference_kernels());
  tensor x(dtype::f32, {1, 3, 20, 20});
  for (std::size_t i = 0; auto& v : x.mutable_view<float>()) v = static_cast<float>(i++ % 17);
  const auto want = execute(p, std::vector{x});
  std::set<int> workers;
  // One after the other, last first: the order must not matter.
  const parallel_for host = [&](int count, const std::function<void(int)>& body) {
    for (int w = count; w-- > 0;) {
      workers.insert(w);
      body(w);
    }
  };
  const auto got = execute(p, std::vector{x}, {.threads = 4, .workers = host, .tap = {}});
  CHECK(workers.size() == 4);
  CHECK(std::equal(got[0].view<float>().begin(), got[0].view<float>().end(), want[0].view<float>().begin()));
}

TEST_CASE("sessions of one program run at once") {
  const auto p = lower(two_inputs(), kernels::reference_kernels());
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      session s(p);
      for (int i = 0; i < 200; ++i) {
        const auto v = static_cast<float>(t * 1000 + i);
        const auto y = s.run(std::vector{row({v, v}), row({1, 2})});
        wrong += y[0].view<float>()[0] != v + 1 || y[0].view<float>()[1] != v + 2;
      }
    });
  for (auto& t : threads) t.join();
  CHECK(wrong == 0);
}

TEST_CASE("a runner binds samples by name or position, converts integers and follows extents") {
  runner r(two_inputs(), kernels::reference_kernels());
  const auto sum = [&](const sample& s) { return r.run(s)[0]; };
  CHECK(sum(sample({{"b", row({1, 2})}, {"a", row({3, 5})}})).view<float>()[1] == 7);
  CHECK(sum(sample({{"", row({1, 2})}, {"", row({3, 5})}})).view<float>()[0] == 4);
  const auto bytes = tensor::from<std::uint8_t>({1, 2}, {std::uint8_t{200}, std::uint8_t{100}});
  CHECK(sum(sample({{"a", bytes}, {"b", row({1, 1})}})).view<float>()[0] == 201);
  const auto two = tensor::from<float>({2, 2}, {1.f, 2.f, 3.f, 4.f});
  CHECK(sum(sample({{"a", two}, {"b", two}})).dims() == shape{2, 2});
  const auto text = ptq_test::text_of<data_error>([&] { r.run(sample({{"c", two}, {"a", two}})); });
  CHECK(ptq_test::contains(text, "'b'"));
  const auto unknown = ptq_test::text_of<data_error>(
      [&] { r.run(sample({{"a", two}, {"b", two}, {"c", two}})); });
  CHECK(ptq_test::contains(unknown, "'c' is not an input"));
}
