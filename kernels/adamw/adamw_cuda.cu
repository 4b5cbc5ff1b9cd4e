// Floor: value, gradient and both moments read, all but the gradient written: 28 bytes a number
// (V = 8192, D = 128, 2 layers: 1.3 M numbers, 36 MB, 9 us, or less from L2). One launch, whatever
// the number of parameters: a table says what each block updates.
#include "kernels/adamw/adamw_cuda.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/tensor/device_copy.h"

namespace recallbench {
namespace {

constexpr int kThreads = 256;
constexpr Index kPiece = 4 * kThreads;  // numbers of a block

/// Numbers of a slab, all of one parameter; `begin` is a multiple of four.
struct Piece {
  Index begin;
  std::int32_t count, decays;
};

struct Constants {
  float beta1, gain1, beta2, gain2, eps;
};

/// blockIdx.y is the replica.
__global__ void __launch_bounds__(kThreads)
    adamw(const Piece* table, const AdamwRates* rates, Constants c, Index slab, float* values,
          const float* gradients, float* moments, float* squares) {
  after_previous();
  const Piece piece = table[blockIdx.x];
  const AdamwRates& of_replica = rates[blockIdx.y];
  const float keep = piece.decays != 0 ? static_cast<float>(of_replica.keep) : 1.0f;
  const float step_size = static_cast<float>(of_replica.step_size);
  const float root_correction = static_cast<float>(of_replica.root_correction);
  const auto update = [&](float g, float& p, float& m, float& v) {
    m = c.beta1 * m + c.gain1 * g;
    v = c.beta2 * v + c.gain2 * g * g;
    p = p * keep - step_size * m / (sqrtf(v) * root_correction + c.eps);
  };
  const int i = 4 * static_cast<int>(threadIdx.x);
  const Index at = blockIdx.y * slab + piece.begin + i;
  if (i + 4 <= piece.count) {
    const float4 g = *reinterpret_cast<const float4*>(gradients + at);
    float4 p = *reinterpret_cast<const float4*>(values + at);
    float4 m = *reinterpret_cast<const float4*>(moments + at);
    float4 v = *reinterpret_cast<const float4*>(squares + at);
    update(g.x, p.x, m.x, v.x);
    update(g.y, p.y, m.y, v.y);
    update(g.z, p.z, m.z, v.z);
    update(g.w, p.w, m.w, v.w);
    *reinterpret_cast<float4*>(values + at) = p;
    *reinterpret_cast<float4*>(moments + at) = m;
    *reinterpret_cast<float4*>(squares + at) = v;
  } else {
    for (int k = 0; i + k < piece.count; ++k)
      update(gradients[at + k], values[at + k], moments[at + k], squares[at + k]);
  }
}

}  // namespace

AdamwCuda::AdamwCuda(Parameters& parameters, const std::vector<Parameter>& updated,
                     const AdamwConstants& constants)
    : replicas_(parameters.replicas()), slab_(parameters.slab()), constants_(constants) {
  check(parameters.device() == Device::cuda, "AdamwCuda", "expected parameters on a GPU");
  std::vector<Piece> table;
  for (const Parameter p : updated) {
    const ParameterSpec& spec = parameters.spec(p);
    const Index count = spec.rows() * spec.cols();
    for (Index first = 0; first < count; first += kPiece)
      table.push_back({parameters.begin(p) + first,
                       static_cast<std::int32_t>(count - first < kPiece ? count - first : kPiece),
                       spec.decays ? 1 : 0});
  }
  blocks_ = static_cast<Index>(table.size());
  if (table.empty()) return;
  const Parameter first{0};  // begins where the slab does
  values_ = parameters.value<float>(first).data;
  gradients_ = parameters.gradient<float>(first).data;
  moments_ = parameters.moment<float>(0, first).data;
  squares_ = parameters.moment<float>(1, first).data;
  table_.reserve(table.size() * sizeof(Piece));
  copy_to_device(Device::cuda, table_.data(), table.data(), table.size() * sizeof(Piece));
}

void AdamwCuda::step(const CudaCall& call, const AdamwRates* rates) const {
  if (blocks_ == 0) return;
  const Constants c{static_cast<float>(constants_.beta1), static_cast<float>(1 - constants_.beta1),
                    static_cast<float>(constants_.beta2), static_cast<float>(1 - constants_.beta2),
                    static_cast<float>(constants_.eps)};
  const dim3 blocks(static_cast<unsigned>(blocks_), static_cast<unsigned>(replicas_));
  cuda_launch("adamw", adamw, {blocks, kThreads, 0, call.stream},
              reinterpret_cast<const Piece*>(table_.data()), rates, c, slab_, values_, gradients_,
              moments_, squares_);
}

}  // namespace recallbench
