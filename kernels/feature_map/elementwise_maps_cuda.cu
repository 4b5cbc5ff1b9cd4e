// Maps of single numbers: `elementwise_features`, `polynomial_features`, `cosformer_features`. Each
// number is read and written once, 4 bytes each (backward: x and dy read, dx written), by
// neighbouring threads; nothing else is stored. Floor: those bytes.
#include "kernels/cuda/launch.cuh"
#include "kernels/feature_map/elements_cuda.cuh"
#include "kernels/feature_map/feature_map_cuda.h"

namespace recallbench {
namespace {

constexpr float kFloor = 1e-12f;
constexpr float kRootHalf = 0.70710678118654752f, kRootTwo = 1.41421356237309505f;

template <ElementwiseMap Map>
struct ElementwiseForward {
  float temperature;
  Batched<float> x, y;

  __device__ void operator()(Index r, Index i, int c) const {
    const float z = place_of(x, r, i)[c] * temperature;
    float value;
    if constexpr (Map == ElementwiseMap::relu)
      value = z < kFloor ? kFloor : z;  // so that NaN stays
    else if constexpr (Map == ElementwiseMap::pos_elu)
      value = z > 0 ? z + 1 : expf(z);
    else
      value = z * z;
    place_of(y, r, i)[c] = value;
  }
};

template <ElementwiseMap Map>
struct ElementwiseBackward {
  float temperature;
  Batched<float> x, dy;
  Gradient<float> dx;

  __device__ void operator()(Index r, Index i, int c) const {
    const float z = place_of(x, r, i)[c] * temperature, d = place_of(dy, r, i)[c] * temperature;
    float value;
    if constexpr (Map == ElementwiseMap::relu)
      value = z < kFloor ? 0 : d;
    else if constexpr (Map == ElementwiseMap::pos_elu)
      value = z > 0 ? d : d * expf(z);
    else
      value = 2 * d * z;
    write_gradient(dx, r, i, c, value);
  }
};

struct PolynomialForward {
  Batched<float> a, b, y;

  __device__ void operator()(Index r, Index i, int c) const {
    const float from = place_of(a, r, i)[c];
    place_of(y, r, i)[c] = (from * from + place_of(b, r, i)[c]) * kRootHalf;
  }
};

struct PolynomialBackward {
  Batched<float> a, dy;
  Gradient<float> da, db;

  __device__ void operator()(Index r, Index i, int c) const {
    const float d = place_of(dy, r, i)[c];
    write_gradient(da, r, i, c, place_of(a, r, i)[c] * d * kRootTwo);
    write_gradient(db, r, i, c, d * kRootHalf);
  }
};

// -- CosFormer ------------------------------------------------------------------------------------

struct Angles {
  RowPositions positions;
  double horizon;
  bool rounds;

  /// (sin, cos) of row i's angle.
  __device__ float2 operator()(Index r, Index i) const {
    const Index t = positions.positions == nullptr
                        ? i % positions.rows
                        : positions.positions[r * positions.examples * positions.rows + i];
    double angle = 1.5707963267948966 * static_cast<double>(t + 1);
    if (rounds) angle = static_cast<float>(angle);
    double sine, cosine;
    sincos(angle / horizon, &sine, &cosine);
    return {static_cast<float>(sine), static_cast<float>(cosine)};
  }
};

/// As for_elements; the angles of the block's rows are taken first. body(replica, row, col, turn).
template <class Body>
__global__ void for_turned_elements(Index rows, int cols, Index rows_each, Angles angles,
                                    Body body) {
  after_previous();
  __shared__ float2 turns[kRowsOfBlock];
  const Index first = blockIdx.x * rows_each;
  const int rows_here = static_cast<int>(min(rows_each, rows - first));
  for (int i = threadIdx.x; i < rows_here; i += kElementThreads)
    turns[i] = angles(blockIdx.y, first + i);
  __syncthreads();
  for (int i = threadIdx.x; i < rows_here * cols; i += kElementThreads)
    body(blockIdx.y, first + i / cols, i % cols, turns[i / cols]);
}

template <class Body>
void launch_turned(const CudaCall& call, const char* name, const CosformerOptions& options,
                   const RowPositions& positions, const Batched<float>& x, const Body& body) {
  const Index rows_each = rows_of_block(x.cols);
  cuda_launch(name, for_turned_elements<Body>,
              {blocks_of_rows(x.rows, rows_each, x.replicas), kElementThreads, 0, call.stream},
              x.rows, static_cast<int>(x.cols), rows_each,
              Angles{positions, static_cast<double>(options.horizon), options.rounds_angles}, body);
}

struct CosformerForward {
  int features;  ///< f of one head
  Batched<float> x, y;

  __device__ void operator()(Index r, Index i, int c, float2 turn) const {
    const float from = place_of(x, r, i)[c];
    const float positive = from < 0 ? 0 : from;
    float* to = place_of(y, r, i) + c + c / features * features;
    to[0] = positive * turn.x;
    to[features] = positive * turn.y;
  }
};

struct CosformerBackward {
  int features;
  Batched<float> x, dy;
  Gradient<float> dx;

  __device__ void operator()(Index r, Index i, int c, float2 turn) const {
    const float* d = place_of(dy, r, i) + c + c / features * features;
    const float slope = place_of(x, r, i)[c] > 0 ? d[0] * turn.x + d[features] * turn.y : 0;
    write_gradient(dx, r, i, c, slope);
  }
};

int features_of_head(const CosformerOptions& options, const Batched<float>& x) {
  return static_cast<int>(x.cols / options.heads);
}

}  // namespace

void elementwise_features_cuda(const CudaCall& call, ElementwiseMap map, float temperature,
                               const Batched<float>& x, const Batched<float>& y) {
  const auto launch = [&](const auto& body) {
    launch_for_elements(call.stream, "elementwise_features", x, body);
  };
  switch (map) {
    case ElementwiseMap::relu:
      return launch(ElementwiseForward<ElementwiseMap::relu>{temperature, x, y});
    case ElementwiseMap::pos_elu:
      return launch(ElementwiseForward<ElementwiseMap::pos_elu>{temperature, x, y});
    case ElementwiseMap::square:
      return launch(ElementwiseForward<ElementwiseMap::square>{temperature, x, y});
  }
}

void elementwise_features_backward_cuda(const CudaCall& call, ElementwiseMap map, float temperature,
                                        const Batched<float>& x, const Batched<float>& dy,
                                        const Gradient<float>& dx) {
  if (!dx.wanted) return;
  const auto launch = [&](const auto& body) {
    launch_for_elements(call.stream, "elementwise_features_backward", x, body);
  };
  switch (map) {
    case ElementwiseMap::relu:
      return launch(ElementwiseBackward<ElementwiseMap::relu>{temperature, x, dy, dx});
    case ElementwiseMap::pos_elu:
      return launch(ElementwiseBackward<ElementwiseMap::pos_elu>{temperature, x, dy, dx});
    case ElementwiseMap::square:
      return launch(ElementwiseBackward<ElementwiseMap::square>{temperature, x, dy, dx});
  }
}

void polynomial_features_cuda(const CudaCall& call, const Batched<float>& a,
                              const Batched<float>& b, const Batched<float>& y) {
  launch_for_elements(call.stream, "polynomial_features", y, PolynomialForward{a, b, y});
}

void polynomial_features_backward_cuda(const CudaCall& call, const Batched<float>& a,
                                       const Batched<float>& dy, const Gradient<float>& da,
                                       const Gradient<float>& db) {
  if (!da.wanted && !db.wanted) return;
  launch_for_elements(call.stream, "polynomial_features_backward", dy,
                      PolynomialBackward{a, dy, da, db});
}

void cosformer_features_cuda(const CudaCall& call, const CosformerOptions& options,
                             const RowPositions& positions, const Batched<float>& x,
                             const Batched<float>& y) {
  launch_turned(call, "cosformer_features", options, positions, x,
                CosformerForward{features_of_head(options, x), x, y});
}

void cosformer_features_backward_cuda(const CudaCall& call, const CosformerOptions& options,
                                      const RowPositions& positions, const Batched<float>& x,
                                      const Batched<float>& dy, const Gradient<float>& dx) {
  if (!dx.wanted) return;
  launch_turned(call, "cosformer_features_backward", options, positions, x,
                CosformerBackward{features_of_head(options, x), x, dy, dx});
}

}  // namespace recallbench
