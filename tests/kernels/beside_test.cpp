// What an operation leaves for later is still there later: forward's scratch of one that works
// beside, and the partial sums that wait for the end of the backward walk. And who touches what is
// made beside joins it first; on a GPU a lucky order would hide who does not.
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "kernels/graph/execution.h"

namespace recallbench {
namespace {

constexpr Index kNumbers = 1000;

/// What a Marker has seen.
struct Seen {
  bool forward_scratch_kept = false, late = false;
  const float* backward_scratch = nullptr;
};

enum class Leaves { nothing, work_beside, partial_sums };

/// y = x + w, of which forward may make the gradients and outputs of these numbers beside.
class Adder : public TypedOperation<Adder> {
 public:
  Adder(const Tensor& x, const Tensor& w, std::vector<int> gradients, std::vector<int> outputs,
        bool loss)
      : loss_(loss) {
    reads(x, InBackward::unused);
    reads(w, InBackward::unused);
    writes(x.shape, InBackward::unused);
    if (!gradients.empty() || !outputs.empty())
      works_beside(std::move(gradients), std::move(outputs));
  }
  std::string_view name() const override { return "adder"; }
  template <class T>
  void forward_as(Execution&) {}
  template <class T>
  void backward_as(Execution&) {}
  bool gradients_in_forward() const override { return loss_; }

 private:
  bool loss_;
};

/// Four operations in a row, of which the third makes these beside; the first and the third add
/// one weight, the others another, unless the last is a loss, which adds the first's. Who joins,
/// forward and backward: "--F-" is the third alone.
std::pair<std::string, std::string> joins(const std::vector<int>& gradients,
                                          const std::vector<int>& outputs, bool loss = false) {
  Parameters parameters({{"one", {4}, constant(1)}, {"other", {4}, constant(1)}}, DType::f32, 1);
  Arena arena;
  Graph graph(parameters, true);
  Tensor x = graph.input({1, 1, 4}, true);
  for (int i = 0; i < 4; ++i) {
    const bool makes = i == 2, ends = i == 3 && loss;
    x = graph.add(std::make_unique<Adder>(x, graph.parameter({ends ? 0 : i % 2}),
                                          makes ? gradients : std::vector<int>{},
                                          makes ? outputs : std::vector<int>{}, ends))[0];
  }
  graph.set_root(x);
  graph.finish(arena);
  std::istringstream lines(graph.text());
  std::pair<std::string, std::string> who;
  for (std::string line; std::getline(lines, line);) {
    who.first += line.find("forward joins") != std::string::npos ? 'F' : '-';
    who.second += line.find("backward joins") != std::string::npos ? 'B' : '-';
  }
  return who;
}

/// y = x + w; fills its scratch with `mark`, forward and backward.
class Marker : public TypedOperation<Marker> {
 public:
  Marker(const Tensor& x, const Tensor& w, float mark, Leaves leaves, Index numbers, Seen* seen)
      : mark_(mark), numbers_(numbers), seen_(seen) {
    reads(x, InBackward::unused);
    reads(w, InBackward::unused);
    writes(x.shape, InBackward::unused);
    needs_scratch(numbers, numbers);
    if (leaves == Leaves::work_beside) works_beside({}, {});
    if (leaves == Leaves::partial_sums) leaves_partial_sums(numbers);
  }
  std::string_view name() const override { return "marker"; }

  template <class T>
  void forward_as(Execution& e) {
    std::fill_n(e.scratch<T>(), numbers_, static_cast<T>(mark_));
    for (Index i = 0; i < e.input<T>(0).cols; ++i)
      e.output<T>(0).data[i] = e.input<T>(0).data[i] + e.input<T>(1).data[i];
  }
  template <class T>
  void backward_as(Execution& e) {
    const T* kept = e.forward_scratch<T>();
    const T mark = static_cast<T>(mark_);
    seen_->forward_scratch_kept =
        std::all_of(kept, kept + numbers_, [mark](T x) { return x == mark; });
    seen_->late = e.input_gradient<T>(1).late;
    EXPECT_FALSE(e.input_gradient<T>(0).late) << "others read it on the way";
    std::fill_n(e.scratch<T>(), numbers_, mark);
    seen_->backward_scratch = reinterpret_cast<const float*>(e.scratch<T>());
    for (int k = 0; k < 2; ++k) {
      const Gradient<T> to = e.input_gradient<T>(k);
      for (Index i = 0; to.wanted && i < to.view.cols; ++i)
        to.view.data[i] =
            (to.accumulate ? to.view.data[i] : T(0)) + e.output_gradient<T>(0).data[i];
    }
  }

 private:
  float mark_;
  Index numbers_;
  Seen* seen_;
};

/// Four markers in a row, of which the third leaves something. The fourth runs between its forward
/// and its backward, the first two after that; all but the third add the same weights.
struct Chain {
  Parameters parameters{{{"shared", {4}, constant(1)}, {"alone", {4}, constant(1)}}, DType::f32, 1};
  Arena arena;
  Graph graph{parameters, true};
  Seen seen[4];

  explicit Chain(Leaves leaves, Index numbers = kNumbers) {
    Tensor x = graph.input({1, 1, 4}, false);
    for (int i = 0; i < 4; ++i) {
      const Tensor w = graph.parameter({i == 2 ? 1 : 0});
      x = graph.add(std::make_unique<Marker>(x, w, static_cast<float>(i + 1),
                                             i == 2 ? leaves : Leaves::nothing, numbers,
                                             &seen[i]))[0];
    }
    graph.set_root(x);
    graph.finish(arena);
    graph.forward({});
    graph.backward();
  }
  bool sums_are_there(int i, Index numbers = kNumbers) const {
    const float mark = static_cast<float>(i + 1);
    return std::all_of(seen[i].backward_scratch, seen[i].backward_scratch + numbers,
                       [mark](float x) { return x == mark; });
  }
};

TEST(Beside, ScratchOfWorkBesideStays) {
  EXPECT_TRUE(Chain(Leaves::work_beside).seen[2].forward_scratch_kept);
  EXPECT_FALSE(Chain(Leaves::nothing).seen[2].forward_scratch_kept) << "so that the test can fail";
}

TEST(Beside, SmallPartialSumsStay) {
  EXPECT_TRUE(Chain(Leaves::partial_sums).sums_are_there(2));
  EXPECT_FALSE(Chain(Leaves::nothing).sums_are_there(2)) << "so that the test can fail";
}

TEST(Beside, LargePartialSumsMakeRoom) {
  const Index large = (Index{16} << 20) / 4 + 1;
  EXPECT_FALSE(Chain(Leaves::partial_sums, large).sums_are_there(2, large));
}

TEST(Beside, OnlyAGradientThatNobodyElseTouchesMayBeLate) {
  const Chain chain(Leaves::nothing);
  EXPECT_TRUE(chain.seen[2].late);
  EXPECT_FALSE(chain.seen[0].late);
  EXPECT_FALSE(chain.seen[1].late);
}

using Joins = std::pair<std::string, std::string>;

TEST(Beside, NobodyJoinsWhereNothingIsBeside) {
  EXPECT_EQ(joins({}, {}), Joins("----", "----"));
}

// The third's own backward always joins: it may read what its forward makes beside.
TEST(Beside, WhoAddsToAGradientMadeBesideJoins) {
  EXPECT_EQ(joins({1}, {}), Joins("----", "B-B-"));
}

TEST(Beside, ALossThatAddsToAGradientMadeBesideJoinsForward) {
  EXPECT_EQ(joins({1}, {}, true), Joins("---F", "B-BB"));
}

TEST(Beside, WhoReadsAGradientMadeBesideJoins) {
  EXPECT_EQ(joins({0}, {}), Joins("----", "-BB-"));
}

TEST(Beside, WhoReadsAnOutputMadeBesideJoins) {
  EXPECT_EQ(joins({}, {0}), Joins("---F", "--BB"));
}

}  // namespace
}  // namespace recallbench
