#include "kernels/matmul/matmul.h"
#include "kernels/matmul/reference.h"

namespace recallbench {
namespace {

HostTensor columns_of(const HostTensor& x, Index first, Index count) {
  HostTensor y{{x.shape[0], count}, {}};
  for (Index i = 0; i < x.shape[0]; ++i) {
    const auto row = x.data.begin() + i * x.shape[1] + first;
    y.data.insert(y.data.end(), row, row + count);
  }
  return y;
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
  add(70, 8, 256, true, true, false);  // forms and slices of streamed products
  add(67, 40, 300, false, true, false);
  add(35, 128, 648, true, true, false);
  add(300, 256, 40, false, true, false);
  add(45, 388, 72, true, true, false);
  add(130, 64, 16, false, true, false);
  add(61, 127, 129, true, true, false);  // a number of rows and columns past every tile
  OpCase c;  // columns that overlap, some of them at addresses that are those of a float
  c.name = "linear/columns";
  c.inputs = {{75, 52}, {30, 9}, {20, 44}};
  c.build = [](Graph& g, const std::vector<Tensor>& t) {
    return std::vector<Tensor>{linear(g, t[0].columns(1, 9), t[1]),
                               linear(g, t[0].columns(4, 44), t[2])};
  };
  c.reference = [](const std::vector<HostTensor>& t, const HostBatch&) {
    return std::vector<HostTensor>{linear_reference({columns_of(t[0], 1, 9), t[1]})[0],
                                   linear_reference({columns_of(t[0], 4, 44), t[2]})[0]};
  };
  cases.push_back(c);
  add(16384, 64, 64, true, false, true);
  add(16384, 128, 384, true, false, true);
}

}  // namespace recallbench
