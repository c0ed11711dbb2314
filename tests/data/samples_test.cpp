// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <ptq/data/samples.hpp>
#include <set>

namespace {

using ptq::sample;
using ptq::samples;
using ptq::tensor;

/// Sample i is the scalar i.
struct numbers {
  std::int64_t n;
  std::int64_t count() const { return n; }
  sample at(std::int64_t i) const { return sample(tensor::scalar(i)); }
  std::string name(std::int64_t i) const { return "file" + std::to_string(i); }
  std::optional<std::int64_t> label(std::int64_t i) const { return 10 * i; }
};

struct counter {
  std::int64_t n, at = 0;
  int* rewinds;
  std::optional<sample> next() {
    return at < n ? std::optional(sample(tensor::scalar(at++))) : std::nullopt;
  }
  void rewind() { at = 0, ++*rewinds; }
};

std::int64_t value(const std::optional<sample>& s) {
  return s ? s->inputs.at(0).value.view<std::int64_t>()[0] : -1;
}

std::vector<std::int64_t> all(samples s) {
  std::vector<std::int64_t> v;
  while (auto one = s.next()) v.push_back(value(one));
  return v;
}

}  // namespace

TEST_CASE("an indexed source is read in order and again after rewind") {
  static_assert(ptq::indexed_source<numbers>);
  samples s = numbers{3};
  CHECK(s.count() == 3);
  CHECK(value(s.next()) == 0);
  CHECK(value(s.next()) == 1);
  CHECK(value(s.next()) == 2);
  CHECK_FALSE(s.next());
  s.rewind();
  CHECK(value(s.next()) == 0);
  CHECK(s.name(2) == "file2");
  CHECK(s.label(2) == 20);
}

TEST_CASE("copies of samples have positions of their own, also over one sequential source") {
  static_assert(ptq::sample_source<counter>);
  int rewinds = 0;
  samples a = counter{4, 0, &rewinds};
  samples b = a;
  CHECK_FALSE(a.count());
  CHECK(value(a.next()) == 0);
  CHECK(value(a.next()) == 1);
  CHECK(value(b.next()) == 0);
  CHECK(value(a.next()) == 2);
  CHECK(value(a.at(0)) == 0);
  CHECK(value(a.next()) == 3);
  CHECK_FALSE(a.next());
  CHECK_FALSE(a.next());
}

TEST_CASE("a sequential source read straight through is never rewound but at the start") {
  int rewinds = 0;
  samples s = counter{4, 0, &rewinds};
  CHECK(all(s) == std::vector<std::int64_t>{0, 1, 2, 3});
  CHECK(rewinds == 1);
}

TEST_CASE("a function of the index is a source that ends where it returns nothing") {
  samples s = [](std::int64_t i) -> std::optional<sample> {
    if (i >= 3) return std::nullopt;
    return sample({{"a", tensor::scalar(i)}, {"b", tensor::scalar(2 * i)}});
  };
  CHECK(all(s) == std::vector<std::int64_t>{0, 1, 2});
  CHECK(s.at(1)->inputs[1].name == "b");
  CHECK(all(ptq::take(s, 2)) == std::vector<std::int64_t>{0, 1});
  CHECK(all(ptq::take(s, 9)) == std::vector<std::int64_t>{0, 1, 2});
}

TEST_CASE("samples are made one at a time, and only when asked for") {
  auto made = std::make_shared<int>(0);
  samples s = ptq::transformed(numbers{1000}, [made](sample x) { return ++*made, x; });
  s = ptq::take(ptq::shuffled(s, 1), 5);
  CHECK(*made == 0);
  s.next();
  CHECK(*made == 1);
}

TEST_CASE("take and shuffled keep names, labels and origins with their samples") {
  const samples s = ptq::take(ptq::shuffled(numbers{50}, 7), 20);
  CHECK(s.count() == 20);
  CHECK(s.origin_count() == 50);
  std::set<std::int64_t> seen;
  for (std::int64_t i = 0; i < 20; ++i) {
    const std::int64_t v = value(s.at(i));
    CHECK(s.name(i) == "file" + std::to_string(v));
    CHECK(s.label(i) == 10 * v);
    CHECK(s.origin(i) == v);
    seen.insert(v);
  }
  CHECK(seen.size() == 20);
  CHECK_FALSE(s.at(20));
}

TEST_CASE("an order depends on the seed alone and is a permutation") {
  const auto a = all(ptq::shuffled(numbers{100}, 3));
  CHECK(a == all(ptq::shuffled(numbers{100}, 3)));
  CHECK(a != all(ptq::shuffled(numbers{100}, 4)));
  CHECK(std::set<std::int64_t>(a.begin(), a.end()).size() == 100);
}

TEST_CASE("a sequence of unknown length can't be shuffled") {
  int rewinds = 0;
  CHECK_THROWS_AS(ptq::shuffled(counter{4, 0, &rewinds}, 1), ptq::data_error);
}

TEST_CASE("no samples is a source too") {
  CHECK_FALSE(samples().next());
  CHECK(samples().count() == 0);
  CHECK(all(ptq::take(numbers{3}, 0)).empty());
}
