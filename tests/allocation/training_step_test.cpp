// A training step allocates nothing: every call of malloc and its like is counted, Eigen's too.
#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cstdlib>

#include "kernels/matmul/gemm.h"
#include "mixers/registry.h"
#include "sweeps/train/trainer.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RECALLBENCH_COUNTS 0
#else
#define RECALLBENCH_COUNTS 1
#endif

namespace {
std::atomic<bool> counting{false};
std::atomic<int> allocations{0};
}  // namespace

#if RECALLBENCH_COUNTS
static void count() {
  if (counting) ++allocations;
}
// glibc's own functions under other names; these here stand before them for the whole process.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void* malloc(std::size_t size) {
  count();
  return __libc_malloc(size);
}
void* calloc(std::size_t n, std::size_t size) {
  count();
  return __libc_calloc(n, size);
}
void* realloc(void* p, std::size_t size) {
  count();
  return __libc_realloc(p, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  count();
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** p, std::size_t alignment, std::size_t size) {
  count();
  *p = __libc_memalign(alignment, size);
  return *p == nullptr ? ENOMEM : 0;
}
}
#endif

namespace recallbench {
namespace {

RunData some_data() {
  Options options("task 'mqar'", {{"vocab_size", std::int64_t{512}},
                                  {"input_seq_len", std::int64_t{64}},
                                  {"num_kv_pairs", std::int64_t{4}}});
  const auto task = builtin_tasks().find("mqar").make(options);
  RunData data;
  data.train.push_back({Dataset(*task, 1, 96, 1), task->slices(), task->chance()});
  return data;
}

class Allocation : public ::testing::TestWithParam<std::string> {};

TEST_P(Allocation, NothingInATrainingStep) {
  if (!RECALLBENCH_COUNTS) GTEST_SKIP() << "a sanitizer owns the allocator";
  ModelConfig model;
  model.vocab_size = 512;
  model.block = mixer_registry().find(GetParam()).block;
  if (model.block == "transformer")
    model.layers.push_back({"base_conv", {{"kernel_size", std::int64_t{3}}}, ""});
  model.layers.push_back({GetParam(), {}, ""});
  const RunData data = some_data();
  const auto trainer = Trainer::make(model, {1}, {&data}, {});
  trainer->initialise();
  const double lr = 1e-3, decay = 0.1;
  const BatchPlace places[] = {{0, 0, 32, 32}, {0, 32, 32, 32}, {0, 64, 32, 32}};
  const Trainer::AfterSteps go_on = [](std::span<const double>) { return true; };
  trainer->train(places, {&lr, 1}, {&decay, 1}, go_on);  // to warm up
  allocations = 0;
  counting = true;
  trainer->train(places, {&lr, 1}, {&decay, 1}, go_on);
  counting = false;
  EXPECT_EQ(allocations, 0);
}

TEST(Allocation, NothingInProductsOfOneRowOrColumn) {
  if (!RECALLBENCH_COUNTS) GTEST_SKIP() << "a sanitizer owns the allocator";
  constexpr Index kInner = 37;
  const std::vector<double> ones(3 * kInner, 1.0);
  std::vector<double> c(9);
  const auto matrix = [&](Index rows, Index cols, Transpose transpose) {
    return transpose == Transpose::no ? Matrix<const double>{ones.data(), rows, cols, cols}
                                      : Matrix<const double>{ones.data(), cols, rows, rows};
  };
  for (const auto& [rows, cols] : {std::pair<Index, Index>{1, 3}, {3, 1}, {1, 1}, {3, 3}}) {
    for (const Transpose ta : {Transpose::no, Transpose::yes}) {
      for (const Transpose tb : {Transpose::no, Transpose::yes}) {
        allocations = 0;
        counting = true;
        gemm<double>(ta, tb, 1.0, matrix(rows, kInner, ta), matrix(kInner, cols, tb), false,
                     {c.data(), rows, cols, cols});
        counting = false;
        EXPECT_EQ(allocations, 0) << rows << " x " << cols;
        EXPECT_EQ(c[static_cast<std::size_t>(rows * cols) - 1], kInner);
      }
    }
  }
}

TEST(Allocation, IsCounted) {
  if (!RECALLBENCH_COUNTS) GTEST_SKIP() << "a sanitizer owns the allocator";
  allocations = 0;
  counting = true;
  std::free(std::malloc(100));
  delete new std::vector<int>(10);
  counting = false;
  EXPECT_GE(allocations, 2);
}

INSTANTIATE_TEST_SUITE_P(All, Allocation, ::testing::ValuesIn(mixer_registry().names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace recallbench
