// Floor: forward reads r and h and writes stream and norm, backward reads the stream and two
// gradients and writes two (B = 256, L = 256, D = 128: 134 and 168 MB, 32 and 40 us); apart,
// dropout, add and norm would move 235 and 302 MB. The kernels are the norm's, fed with the sum as
// it is made.
#include "kernels/dropout/dropout_on_device.cuh"
#include "kernels/norm/norm_rows.cuh"
#include "kernels/residual_norm/residual_norm_cuda.h"

namespace recallbench {
namespace {

struct ResidualSource {
  Batched<float> r, h, stream;
  DropoutOnDevice mask;
  template <int kVec>
  __device__ void load(int replica, Index row, Index col, float (&to)[kVec]) const {
    float branch[kVec], scales[kVec];
    load_numbers(place_of(r, replica, row, col), to);
    load_numbers(place_of(h, replica, row, col), branch);
    dropout_scales(mask, replica, row * r.cols + col, scales);
#pragma unroll
    for (int k = 0; k < kVec; ++k)
      to[k] += branch[k] * scales[k];
    store_numbers(to, place_of(stream, replica, row, col));
  }
};

struct ResidualSink {
  Batched<float> dstream;
  Gradient<float> dr, dh;
  DropoutOnDevice mask;
  template <int kVec>
  __device__ void load(int replica, Index row, Index col, float (&to)[kVec]) const {
    load_numbers(place_of(dstream, replica, row, col), to);
  }
  template <int kVec>
  __device__ void store(int replica, Index row, Index col, const float (&sum)[kVec]) const {
    if (dr.wanted) write_numbers(sum, dr.accumulate, place_of(dr.view, replica, row, col));
    if (!dh.wanted) return;
    float scales[kVec];
    dropout_scales(mask, replica, row * dstream.cols + col, scales);
#pragma unroll
    for (int k = 0; k < kVec; ++k)
      scales[k] *= sum[k];
    write_numbers(scales, dh.accumulate, place_of(dh.view, replica, row, col));
  }
};

}  // namespace

void residual_norm_forward_cuda(const CudaCall& call, std::uint32_t random_id, double p,
                                const Batched<float>& r, const Batched<float>& h,
                                const Batched<float>& weight, const Batched<float>& bias,
                                double eps, const Batched<float>& stream,
                                const Batched<float>& normalised, const Batched<float>& saved) {
  norm_forward_cuda(call, ResidualSource{r, h, stream, dropout_on_device(call, random_id, p)},
                    all_in_quads(r, h, stream), weight, bias, eps, normalised, saved);
}

void residual_norm_backward_cuda(const CudaCall& call, std::uint32_t random_id, double p,
                                 const Batched<float>& stream, const Batched<float>& weight,
                                 const Batched<float>& saved, const Batched<float>& dstream,
                                 const Batched<float>& dnormalised, bool centred,
                                 const Gradient<float>& dr, const Gradient<float>& dh,
                                 const Gradient<float>& dweight, const Gradient<float>& dbias,
                                 float* scratch) {
  norm_backward_cuda(call, ResidualSink{dstream, dr, dh, dropout_on_device(call, random_id, p)},
                     all_in_quads(dstream, dr.view, dh.view), stream, weight, saved, dnormalised,
                     centred, dweight, dbias, scratch);
}

}  // namespace recallbench
