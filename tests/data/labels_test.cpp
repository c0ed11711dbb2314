// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <ptq/data/labels.hpp>

#include "../support/temp_folder.hpp"

using namespace ptq_test;
using labels = std::vector<std::int64_t>;

namespace {

struct files {
  std::vector<std::string> names;
  std::int64_t count() const { return static_cast<std::int64_t>(names.size()); }
  ptq::sample at(std::int64_t i) const { return ptq::sample(ptq::tensor::scalar(i)); }
  std::string name(std::int64_t i) const { return names.at(static_cast<std::size_t>(i)); }
};

struct records {
  std::int64_t n;
  std::int64_t count() const { return n; }
  ptq::sample at(std::int64_t i) const { return ptq::sample(ptq::tensor::scalar(i)); }
};

}  // namespace

TEST_CASE("CSV with a heading, quotes, blanks, CRLF and a byte order mark is read") {
  const auto t = ptq::parse_label_csv(
      "\xef\xbb\xbf"
      "file,class\r\na.jpg,3\r\n\r\n\"with, comma.jpg\", 12\r\n b.jpg ,0",
      "l.csv");
  REQUIRE(t.size() == 3);
  CHECK(t[0].file == "a.jpg");
  CHECK(t[0].label == 3);
  CHECK(t[1].file == "with, comma.jpg");
  CHECK(t[1].label == 12);
  CHECK(t[2].file == "b.jpg");
  CHECK(ptq::parse_label_csv("5\n6\n", "l.csv")[1].label == 6);
}

TEST_CASE("CSV without a class is refused with its line") {
  auto refused = [](std::string_view text) {
    return text_of<ptq::data_error>([&] { ptq::parse_label_csv(text, "l.csv"); });
  };
  CHECK(contains(refused("a,1\nb,two\n"), "'l.csv': line 2"));
  CHECK(contains(refused("a,1\nb,two\n"), "got 'b,two'"));
  CHECK(contains(refused("a,1\nb,-2\n"), "line 2"));
  CHECK(refused("file,class\n") != "");
  CHECK(refused("") != "");
}

TEST_CASE("files are matched by path, then by name; rows of other files don't matter") {
  const auto t = ptq::parse_label_csv("b.jpg,2\na.jpg,1\nother.jpg,7\nx/a.jpg,9\n", "l.csv");
  CHECK(ptq::match_labels(t, files{{"images/a.jpg", "images/b.jpg"}}, "l.csv") == labels{1, 2});
  CHECK(ptq::match_labels(t, files{{"x/a.jpg"}}, "l.csv") == labels{9});
  const auto text = text_of<ptq::data_error>([&] {
    ptq::match_labels(t, files{{"a.jpg", "c.jpg"}}, "l.csv");
  });
  CHECK(contains(text, "'l.csv'"));
  CHECK(contains(text, "'c.jpg'"));
  const auto twice = ptq::parse_label_csv("a.jpg,1\na.jpg,2\n", "l.csv");
  CHECK_THROWS_AS(ptq::match_labels(twice, files{{"a.jpg"}}, "l.csv"), ptq::data_error);
}

TEST_CASE("samples without names are matched by order, also in a shuffled subset") {
  const auto t = ptq::parse_label_csv("w,10\nx,11\ny,12\nz,13\n", "l.csv");
  CHECK(ptq::match_labels(t, records{4}, "l.csv") == labels{10, 11, 12, 13});
  const auto some = ptq::take(ptq::shuffled(records{4}, 5), 3);
  const auto matched = ptq::match_labels(t, some, "l.csv");
  REQUIRE(matched.size() == 3);
  for (std::int64_t i = 0; i < 3; ++i)
    CHECK(matched[static_cast<std::size_t>(i)] ==
          10 + some.at(i)->inputs[0].value.view<std::int64_t>()[0]);
}

TEST_CASE("another number of labels than samples is refused with both") {
  const auto t = ptq::parse_label_csv("1\n2\n3\n", "l.csv");
  const auto text = text_of<ptq::data_error>([&] { ptq::match_labels(t, records{4}, "l.csv"); });
  CHECK(contains(text, "expected 4"));
  CHECK(contains(text, "got 3"));
}

TEST_CASE("labels of an array are integers of any type") {
  using ptq::tensor;
  CHECK(ptq::labels_of_tensor(tensor::from<float>({2, 1}, {1, 2}), "l.npy")[1].label == 2);
  CHECK(ptq::labels_of_tensor(tensor::from<std::int64_t>({1}, {5}), "l.npy")[0].label == 5);
  CHECK(ptq::labels_of_tensor(tensor::from<std::uint8_t>({1}, {255}), "l.npy")[0].label == 255);
  CHECK_THROWS_AS(ptq::labels_of_tensor(tensor::from<float>({1}, {1.5f}), "x"), ptq::data_error);
  CHECK_THROWS_AS(ptq::labels_of_tensor(tensor::from<float>({1}, {NAN}), "x"), ptq::data_error);
  CHECK_THROWS_AS(ptq::labels_of_tensor(tensor::from<std::int32_t>({1}, {-1}), "x"),
                  ptq::data_error);
  CHECK_THROWS_AS(ptq::labels_of_tensor(tensor(ptq::dtype::s32, {2, 2}), "x"), ptq::data_error);
}

TEST_CASE("samples that bring no labels say so") {
  CHECK_THROWS_AS(ptq::stored_labels(records{2}), ptq::data_error);
}
