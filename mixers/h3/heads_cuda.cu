// Floor: every input read once and every output written once. Heads of one channel, as H3 has
// them, make all of it products element by element, at the speed of memory (elementwise). Wider
// heads: a thread computes one number, neighbours those of neighbouring heads, so that the products
// of heads, F times wider than all else, move in whole lines.
#include <cstdint>

#include "kernels/elementwise/elementwise_cuda.h"
#include "mixers/h3/heads_cuda.h"

namespace recallbench {
namespace {

constexpr unsigned kThreads = 256;

/// Where number i of head h lies: i · number + h · head.
struct Layout {
  Index number, head;
};

__device__ std::uint32_t narrow(Index i) {
  return static_cast<std::uint32_t>(i);
}

__device__ float* row_of(const Batched<float>& m, Index replica, Index row) {
  return m.data + replica * m.replica_stride + row * m.stride;
}

__device__ void store(float* to, bool accumulate, float value) {
  *to = accumulate ? *to + value : value;
}

/// wide[(i F + j) H + h] = a[i of h] b[j of h], or += that.
__global__ void expand(Batched<float> a, Layout of_a, Batched<float> b, Layout of_b, Index head_dim,
                       Batched<float> wide, bool accumulate) {
  const std::uint32_t e = blockIdx.x * kThreads + threadIdx.x, cols = narrow(wide.cols);
  if (e >= narrow(wide.rows) * cols) return;
  const std::uint32_t f = narrow(head_dim), heads = cols / f / f, col = e % cols;
  const Index replica = blockIdx.y, row = e / cols;
  const Index h = col % heads, j = col / heads % f, i = col / heads / f;
  const float x = row_of(a, replica, row)[i * of_a.number + h * of_a.head];
  const float y = row_of(b, replica, row)[j * of_b.number + h * of_b.head];
  store(row_of(wide, replica, row) + col, accumulate, x * y);
}

/// to[i of h] = Σ_j wide[i · of_wide.number + j · of_wide.head + h] x[j of h], or += that.
__global__ void contract(Batched<float> wide, Layout of_wide, Batched<float> x, Layout of_x,
                         Index head_dim, Batched<float> to, Layout of_to, bool accumulate) {
  const std::uint32_t e = blockIdx.x * kThreads + threadIdx.x, cols = narrow(to.cols);
  if (e >= narrow(to.rows) * cols) return;
  const std::uint32_t heads = cols / narrow(head_dim), col = e % cols;
  const Index replica = blockIdx.y, row = e / cols, h = col % heads, i = col / heads;
  const float* products = row_of(wide, replica, row) + i * of_wide.number + h;
  const float* factors = row_of(x, replica, row) + h * of_x.head;
  float sum = 0;
  for (Index j = 0; j < head_dim; ++j)
    sum += products[j * of_wide.head] * factors[j * of_x.number];
  store(row_of(to, replica, row) + i * of_to.number + h * of_to.head, accumulate, sum);
}

dim3 blocks_of(const Batched<float>& m) {
  check(m.rows * m.cols < Index{1} << 31, "h3", "more numbers than a GPU kernel counts");
  return dim3(static_cast<unsigned>((m.rows * m.cols + kThreads - 1) / kThreads),
              static_cast<unsigned>(m.replicas));
}

void expand_cuda(const CudaCall& call, const Batched<float>& a, Layout of_a,
                 const Batched<float>& b, Layout of_b, Index head_dim,
                 const Gradient<float>& wide) {
  if (!wide.wanted) return;
  if (head_dim == 1) return multiply_cuda(call, a, b, wide);
  expand<<<blocks_of(wide.view), kThreads, 0, call.stream>>>(a, of_a, b, of_b, head_dim, wide.view,
                                                             wide.accumulate);
  cuda_check_launch("head_expand");
}

void contract_cuda(const CudaCall& call, const Batched<float>& wide, Layout of_wide,
                   const Batched<float>& x, Layout of_x, Index head_dim, const Gradient<float>& to,
                   Layout of_to) {
  if (!to.wanted) return;
  if (head_dim == 1) return multiply_cuda(call, wide, x, to);
  contract<<<blocks_of(to.view), kThreads, 0, call.stream>>>(wide, of_wide, x, of_x, head_dim,
                                                             to.view, of_to, to.accumulate);
  cuda_check_launch("head_contract");
}

/// Layouts for H heads of F numbers: head after head, number after number, and the rows and
/// columns of the heads' products (kept index first).
struct Layouts {
  Layout by_head, by_number, rows, columns;
  Layouts(Index heads, Index head_dim)
      : by_head{1, head_dim},
        by_number{heads, 1},
        rows{head_dim * heads, heads},
        columns{heads, head_dim * heads} {}
};

}  // namespace

void head_outer_cuda(const CudaCall& call, const Batched<float>& k, const Batched<float>& v,
                     Index head_dim, const Batched<float>& p) {
  const Layouts l(k.cols / head_dim, head_dim);
  expand_cuda(call, k, l.by_head, v, l.by_head, head_dim, {p, true, false});
}

void head_outer_backward_cuda(const CudaCall& call, const Batched<float>& k,
                              const Batched<float>& v, const Batched<float>& dp, Index head_dim,
                              const Gradient<float>& dk, const Gradient<float>& dv) {
  const Layouts l(k.cols / head_dim, head_dim);
  contract_cuda(call, dp, l.rows, v, l.by_head, head_dim, dk, l.by_head);
  contract_cuda(call, dp, l.columns, k, l.by_head, head_dim, dv, l.by_head);
}

void head_inner_cuda(const CudaCall& call, const Batched<float>& q, const Batched<float>& p,
                     Index head_dim, const Batched<float>& o) {
  const Layouts l(q.cols / head_dim, head_dim);
  contract_cuda(call, p, l.columns, q, l.by_head, head_dim, {o, true, false}, l.by_number);
}

void head_inner_backward_cuda(const CudaCall& call, const Batched<float>& q,
                              const Batched<float>& p, const Batched<float>& d_o, Index head_dim,
                              const Gradient<float>& dq, const Gradient<float>& dp) {
  const Layouts l(q.cols / head_dim, head_dim);
  contract_cuda(call, p, l.rows, d_o, l.by_number, head_dim, dq, l.by_head);
  expand_cuda(call, q, l.by_head, d_o, l.by_number, head_dim, dp);
}

}  // namespace recallbench
