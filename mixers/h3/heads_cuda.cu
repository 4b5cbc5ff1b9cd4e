// Floor: every input read once and every output written once; 805 MB or 192 us for the gradients of
// head_outer with 67 M products (R = 4, B = 256, L = 256, d = 128, F = 2) at 4.2 TB/s. A thread has
// one row of four neighbouring heads, all F² of their products and all else that goes with them, so
// nothing is read twice and all moves in pieces of 16 bytes. Other heads than of 1, 2 or 4 channels
// and unaligned views: a thread has a row of one head, neighbours neighbouring ones, so that at
// least the products, F times wider than all else, move in whole lines.
#include <cstdint>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/launch.cuh"
#include "mixers/h3/heads_cuda.h"

namespace recallbench {
namespace {

constexpr unsigned kThreads = 256;

/// All that an operation and its gradients do, p = `products`[(i F + j) H + h]:
///   to_first[i] = Σ_j p[i, j] second[j]   to_second[j] = Σ_i p[i, j] first[i]
///   to_products[i, j] = first[i] second[j]
/// of each head, or += that. What no output needs may be empty. Number i of head h is column
/// h F + i; where `by_number`, number j of `second` and `to_second` is column j H + h.
struct Heads {
  Index replicas, rows, heads, head_dim;
  bool by_number;
  Batched<float> first, second, products;
  Gradient<float> to_first, to_second, to_products;
};

/// numbers[i][k] = number i of the thread's head k of four.
template <int F>
__device__ void load_heads(const Batched<float>& from, bool by_number, Index heads, Index row,
                           Index head, float (&numbers)[F][4]) {
  const float* at = place_of(from, blockIdx.y, row, by_number ? head : head * F);
  float flat[F][4];
#pragma unroll
  for (int i = 0; i < F; ++i)
    load_numbers(at + i * (by_number ? heads : 4), flat[i]);
#pragma unroll
  for (int i = 0; i < F; ++i)
#pragma unroll
    for (int k = 0; k < 4; ++k)
      numbers[i][k] = by_number ? flat[i][k] : flat[(k * F + i) / 4][(k * F + i) % 4];
}

template <int F>
__device__ void write_heads(const float (&numbers)[F][4], const Gradient<float>& to, bool by_number,
                            Index heads, Index row, Index head) {
  float* at = place_of(to.view, blockIdx.y, row, by_number ? head : head * F);
  float flat[F][4];
#pragma unroll
  for (int i = 0; i < F; ++i)
#pragma unroll
    for (int k = 0; k < 4; ++k)
      if (by_number)
        flat[i][k] = numbers[i][k];
      else
        flat[(k * F + i) / 4][(k * F + i) % 4] = numbers[i][k];
#pragma unroll
  for (int i = 0; i < F; ++i)
    write_numbers(flat[i], to.accumulate, at + i * (by_number ? heads : 4));
}

/// a[k] += b[k] c[k].
__device__ void add_products(float (&a)[4], const float (&b)[4], const float (&c)[4]) {
#pragma unroll
  for (int k = 0; k < 4; ++k)
    a[k] += b[k] * c[k];
}

/// H is a multiple of four, and rows can be read in quads.
template <int F>
__global__ void __launch_bounds__(kThreads) four_heads(Heads h) {
  after_previous();
  const std::uint32_t e = blockIdx.x * kThreads + threadIdx.x;
  const std::uint32_t quads = static_cast<std::uint32_t>(h.heads / 4);
  if (e >= static_cast<std::uint32_t>(h.rows) * quads) return;
  const Index row = e / quads, head = Index{e % quads} * 4;
  float first[F][4] = {}, second[F][4] = {}, products[F][F][4] = {};
  if (h.first.data != nullptr) load_heads(h.first, false, h.heads, row, head, first);
  if (h.second.data != nullptr) load_heads(h.second, h.by_number, h.heads, row, head, second);
  if (h.to_first.wanted || h.to_second.wanted)
#pragma unroll
    for (int i = 0; i < F; ++i)
#pragma unroll
      for (int j = 0; j < F; ++j)
        load_numbers(place_of(h.products, blockIdx.y, row, (i * F + j) * h.heads + head),
                     products[i][j]);
  if (h.to_first.wanted) {
    float sums[F][4] = {};
#pragma unroll
    for (int i = 0; i < F; ++i)
#pragma unroll
      for (int j = 0; j < F; ++j)
        add_products(sums[i], products[i][j], second[j]);
    write_heads(sums, h.to_first, false, h.heads, row, head);
  }
  if (h.to_second.wanted) {
    float sums[F][4] = {};
#pragma unroll
    for (int j = 0; j < F; ++j)
#pragma unroll
      for (int i = 0; i < F; ++i)
        add_products(sums[j], products[i][j], first[i]);
    write_heads(sums, h.to_second, h.by_number, h.heads, row, head);
  }
  if (!h.to_products.wanted) return;
#pragma unroll
  for (int i = 0; i < F; ++i)
#pragma unroll
    for (int j = 0; j < F; ++j) {
      float product[4] = {};
      add_products(product, first[i], second[j]);
      write_numbers(product, h.to_products.accumulate,
                    place_of(h.to_products.view, blockIdx.y, row, (i * F + j) * h.heads + head));
    }
}

__device__ void store(float* to, bool accumulate, float value) {
  *to = accumulate ? *to + value : value;
}

__global__ void __launch_bounds__(kThreads) one_head(Heads h) {
  after_previous();
  const std::uint32_t e = blockIdx.x * kThreads + threadIdx.x;
  const std::uint32_t heads = static_cast<std::uint32_t>(h.heads);
  if (e >= static_cast<std::uint32_t>(h.rows) * heads) return;
  const Index row = e / heads, head = e % heads, f = h.head_dim;
  const auto first = [&](const Batched<float>& m, Index i) {
    return place_of(m, blockIdx.y, row, head * f + i);
  };
  const auto second = [&](const Batched<float>& m, Index j) {
    return place_of(m, blockIdx.y, row, h.by_number ? j * h.heads + head : head * f + j);
  };
  const auto product = [&](const Batched<float>& m, Index i, Index j) {
    return place_of(m, blockIdx.y, row, (i * f + j) * h.heads + head);
  };
  for (Index i = 0; i < f && h.to_first.wanted; ++i) {
    float sum = 0;
    for (Index j = 0; j < f; ++j)
      sum += *product(h.products, i, j) * *second(h.second, j);
    store(first(h.to_first.view, i), h.to_first.accumulate, sum);
  }
  for (Index j = 0; j < f && h.to_second.wanted; ++j) {
    float sum = 0;
    for (Index i = 0; i < f; ++i)
      sum += *product(h.products, i, j) * *first(h.first, i);
    store(second(h.to_second.view, j), h.to_second.accumulate, sum);
  }
  for (Index i = 0; i < f && h.to_products.wanted; ++i)
    for (Index j = 0; j < f; ++j)
      store(product(h.to_products.view, i, j), h.to_products.accumulate,
            *first(h.first, i) * *second(h.second, j));
}

void run(const CudaCall& call, const char* name, const Heads& h) {
  if (!h.to_first.wanted && !h.to_second.wanted && !h.to_products.wanted) return;
  const auto quads = [](const Gradient<float>& to) { return !to.wanted || in_quads(to.view); };
  const bool four = h.heads % 4 == 0 && in_quads(h.first) && in_quads(h.second) &&
                    in_quads(h.products) && quads(h.to_first) && quads(h.to_second) &&
                    quads(h.to_products);
  auto* kernel = !four             ? one_head
                 : h.head_dim == 1 ? four_heads<1>
                 : h.head_dim == 2 ? four_heads<2>
                 : h.head_dim == 4 ? four_heads<4>
                                   : one_head;
  const Index count = h.rows * (kernel == one_head ? h.heads : h.heads / 4);
  check(count < Index{1} << 31, "h3", "more heads than a GPU kernel counts");
  if (count == 0) return;
  const dim3 blocks(static_cast<unsigned>((count + kThreads - 1) / kThreads),
                    static_cast<unsigned>(h.replicas));
  cuda_launch(name, kernel, {blocks, kThreads, 0, call.stream}, h);
}

Heads heads_of(const Batched<float>& shape, Index head_dim, bool by_number) {
  Heads h{};
  h.replicas = shape.replicas;
  h.rows = shape.rows;
  h.heads = shape.cols / head_dim;
  h.head_dim = head_dim;
  h.by_number = by_number;
  return h;
}

}  // namespace

void head_outer_cuda(const CudaCall& call, const Batched<float>& k, const Batched<float>& v,
                     Index head_dim, const Batched<float>& p) {
  Heads h = heads_of(k, head_dim, false);
  h.first = k;
  h.second = v;
  h.to_products = {p, true, false};
  run(call, "head_outer", h);
}

void head_outer_backward_cuda(const CudaCall& call, const Batched<float>& k,
                              const Batched<float>& v, const Batched<float>& dp, Index head_dim,
                              const Gradient<float>& dk, const Gradient<float>& dv) {
  Heads h = heads_of(k, head_dim, false);
  h.first = k;
  h.second = v;
  h.products = dp;
  h.to_first = dk;
  h.to_second = dv;
  run(call, "head_outer_backward", h);
}

void head_inner_cuda(const CudaCall& call, const Batched<float>& q, const Batched<float>& p,
                     Index head_dim, const Batched<float>& o) {
  Heads h = heads_of(q, head_dim, true);
  h.first = q;
  h.products = p;
  h.to_second = {o, true, false};
  run(call, "head_inner", h);
}

void head_inner_backward_cuda(const CudaCall& call, const Batched<float>& q,
                              const Batched<float>& p, const Batched<float>& d_o, Index head_dim,
                              const Gradient<float>& dq, const Gradient<float>& dp) {
  Heads h = heads_of(q, head_dim, true);
  h.first = q;
  h.second = d_o;
  h.products = p;
  h.to_first = dq;
  h.to_products = dp;
  run(call, "head_inner_backward", h);
}

}  // namespace recallbench
