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

}  // namespace

void append_matmul_cases(std::vector<OpCase>& cases) {
  const auto add = [&](Index rows, Index in, Index out, bool bias, bool tested, bool timed) {
    OpCase c;
    c.name = fmt::format("linear/rows={},in={},out={},bias={}", rows, in, out, bias);
    c.inputs = {{rows, in}, {out, in}};
    if (bias) c.inputs.push_back({1, out});
    c.build = [](Graph& g, const std::vector<Tensor>& t) {
      return std::vector<Tensor>{
          linear(g, t[0], t[1], t.size() > 2 ? std::optional<Tensor>(t[2]) : std::nullopt)};
    };
    c.reference = [](const std::vector<HostTensor>& t, const HostBatch&) {
      return linear_reference(t);
    };
    c.flops = timed ? 2.0 * static_cast<double>(rows * in * out) : 0;
    c.tested = tested;
    cases.push_back(c);
  };
  add(1, 1, 1, true, true, false);
  add(1, 19, 6, true, true, false);
  add(40, 19, 1, true, true, false);
  add(513, 5, 1, false, true, false);  // a block of one row
  add(7, 5, 3, false, true, false);
  add(33, 17, 20, true, true, false);
  add(5000, 6, 4, true, true, false);    // more rows than one partial sum takes
  add(70, 100, 64, false, true, false);  // sizes around the tiles of weight gradients on a GPU
  add(129, 260, 200, true, true, false);
  add(515, 128, 384, true, true, false);
  for (const auto& [in, out] : {std::pair<Index, Index>{128, 2},
                                {64, 16},
                                {24, 64},
                                {16, 100},
                                {100, 30},
                                {256, 40},
                                {64, 128},
                                {128, 256},
                                {513, 130},
                                {65, 66}})
    add(97, in, out, true, true, false);
  add(300, 64, 2, false, true, false);
  cases.push_back(sliced_case(70, 12, 20, 1));
  cases.push_back(sliced_case(40, 130, 6, 8));
  cases.push_back(sliced_case(100, 66, 70, 3));
  cases.push_back(sliced_case(75, 9, 30, 1));
  cases.push_back(sliced_case(75, 44, 20, 4));
  add(70, 8, 256, true, true, false);  // sizes around those of streamed products
  add(67, 40, 300, false, true, false);
  add(35, 128, 648, true, true, false);
  add(300, 256, 40, false, true, false);
  add(45, 388, 72, true, true, false);
  add(130, 64, 16, false, true, false);
  add(61, 127, 129, true, true, false);  // a number of rows and columns past every tile
  // Sizes around the tiles and stages of weight gradients by warpgroups.
  add(515, 256, 128, true, true, false);
  add(20, 124, 252, true, true, false);
  add(96, 256, 512, true, true, false);
  add(1100, 500, 240, true, true, false);
  add(4500, 128, 384, false, true, false);
  cases.push_back(sliced_case(75, 256, 128, 8));
  add(16384, 64, 64, true, false, true);
  add(16384, 128, 384, true, false, true);
  add(65536, 128, 512, false, false, true);
  add(65536, 256, 128, false, false, true);
  add(65536, 256, 512, false, false, true);
  add(65536, 256, 1024, false, false, true);
}

}  // namespace recallbench
