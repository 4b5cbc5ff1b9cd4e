// What an operation leaves for later is still there later: forward's scratch of one that works
// beside, and the partial sums that wait for the end of the backward walk.
#include <gtest/gtest.h>

#include <algorithm>

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

}  // namespace
}  // namespace recallbench
