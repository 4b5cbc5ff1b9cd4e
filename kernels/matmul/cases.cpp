#include "kernels/matmul/matmul.h"
#include "kernels/matmul/reference.h"

namespace recallbench {
namespace {

HostTensor columns_of(const HostTensor& x, Index first, Index count) {
  HostTensor columns{{x.shape[0], count}, {}};
  for (Index i = 0; i < x.shape[0]; ++i) {
    const auto row = x.data.begin() + i * x.shape[1] + first;
    columns.data.insert(columns.data.end(), row, row + count);
  }
  return columns;
}

/// Two column slices of one tensor times one weight: slices lie as they lie, gradients add up.
OpCase sliced_case(Index rows, Index in, Index out, Index first) {
  OpCase c;
  c.name = fmt::format("linear/sliced/rows={},in={},out={},first={}", rows, in, out, first);
  c.inputs = {{rows, in + first + 4}, {out, in}};
  c.build = [in, first](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{linear(g, t[0].columns(first, in), t[1]),
                               linear(g, t[0].columns(4, in), t[1])};
  };
  c.reference = [in, first](const std::vector<HostTensor>& t, const HostBatch&) {
    return std::vector<HostTensor>{linear_reference({columns_of(t[0], first, in), t[1]})[0],
                                   linear_reference({columns_of(t[0], 4, in), t[1]})[0]};
  };
  return c;
}

struct Sizes {
  Index rows, in, out;
  bool bias;
};

constexpr Sizes kTested[] = {
    {1, 1, 1, true},
    {1, 19, 6, true},
    {40, 19, 1, true},
    {513, 5, 1, false},  // a block of one row
    {7, 5, 3, false},
    {33, 17, 20, true},
    {5000, 6, 4, true},  // more rows than one partial sum takes
    // Sizes around the tiles of weight gradients on a GPU.
    {70, 100, 64, false},
    {129, 260, 200, true},
    {515, 128, 384, true},
    {97, 128, 2, true},
    {97, 64, 16, true},
    {97, 24, 64, true},
    {97, 16, 100, true},
    {97, 100, 30, true},
    {97, 256, 40, true},
    {97, 64, 128, true},
    {97, 128, 256, true},
    {97, 513, 130, true},
    {97, 65, 66, true},
    {300, 64, 2, false},
    // Of those by warpgroups: fewer rows than a stage, whole stages, more than have room.
    {20, 252, 256, true},
    {96, 256, 512, true},
    {1100, 500, 240, true},
    {300, 256, 384, false},
    {700, 768, 768, false},
    // Sizes around those of streamed products.
    {70, 8, 256, true},
    {67, 40, 300, false},
    {35, 128, 648, true},
    {300, 256, 40, false},
    {45, 388, 72, true},
    {130, 64, 16, false},
    {61, 127, 129, true},  // a number of rows and columns past every tile
};

/// For the benchmarks alone; those of 65,536 rows are layers of models of width 128 and 256.
constexpr Sizes kTimed[] = {
    {16384, 64, 64, true},    {16384, 128, 384, true},  {65536, 128, 512, false},
    {65536, 256, 128, false}, {65536, 256, 512, false}, {65536, 256, 1024, false},
};

OpCase linear_case(const Sizes& s) {
  OpCase c;
  c.name = fmt::format("linear/rows={},in={},out={},bias={}", s.rows, s.in, s.out, s.bias);
  c.inputs = {{s.rows, s.in}, {s.out, s.in}};
  if (s.bias) c.inputs.push_back({1, s.out});
  c.build = [](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{
        linear(g, t[0], t[1], t.size() > 2 ? std::optional<Tensor>(t[2]) : std::nullopt)};
  };
  c.reference = [](const std::vector<HostTensor>& t, const HostBatch&) {
    return linear_reference(t);
  };
  return c;
}

}  // namespace

void append_matmul_cases(std::vector<OpCase>& cases) {
  for (const Sizes& sizes : kTested)
    cases.push_back(linear_case(sizes));
  cases.push_back(sliced_case(70, 12, 20, 1));
  cases.push_back(sliced_case(40, 130, 6, 8));
  cases.push_back(sliced_case(100, 66, 70, 3));
  cases.push_back(sliced_case(75, 9, 30, 1));
  cases.push_back(sliced_case(75, 44, 20, 4));
  cases.push_back(sliced_case(75, 256, 256, 8));
  for (const Sizes& sizes : kTimed) {
    OpCase c = linear_case(sizes);
    c.flops = 2.0 * static_cast<double>(sizes.rows * sizes.in * sizes.out);
    c.tested = false;
    cases.push_back(c);
  }
}

}  // namespace recallbench
