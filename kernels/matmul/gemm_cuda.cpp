#include "kernels/matmul/gemm_cuda.h"

#include <cublasLt.h>

#include <array>
#include <map>

#include "kernels/base/error.h"

namespace recallbench {
namespace {

constexpr std::size_t kWorkspace = std::size_t{32} << 20;

void lt_check(cublasStatus_t status, const char* what) {
  check(status == CUBLAS_STATUS_SUCCESS, "gemm_cuda", "{} failed: {}", what,
        cublasLtGetStatusString(status));
}

/// Handle and workspace of this process.
struct Lt {
  cublasLtHandle_t handle = nullptr;
  std::byte* workspace = nullptr;

  static const Lt& get() {
    static const Lt lt = [] {
      Lt made;
      lt_check(cublasLtCreate(&made.handle), "cublasLtCreate");
      made.workspace = cuda_allocate(kWorkspace);
      return made;
    }();
    return lt;
  }
};

/// cuBLAS is column-major: a row-major C = op(A) op(B) is its Cᵀ = op(B)ᵀ op(A)ᵀ, so the operands
/// change places, and a row-major [rows, cols] matrix is a column-major [cols, rows] one.
class Layout {
 public:
  Layout(cudaDataType_t type, Index rows, Index cols, Index stride, Index batch_stride,
         Index batch) {
    lt_check(cublasLtMatrixLayoutCreate(&layout_, type, static_cast<std::uint64_t>(cols),
                                        static_cast<std::uint64_t>(rows), stride),
             "cublasLtMatrixLayoutCreate");
    const auto count = static_cast<std::int32_t>(batch);
    lt_check(cublasLtMatrixLayoutSetAttribute(layout_, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                              sizeof(count)),
             "batch count");
    lt_check(cublasLtMatrixLayoutSetAttribute(layout_, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                              &batch_stride, sizeof(batch_stride)),
             "batch stride");
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(layout_); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  cublasLtMatrixLayout_t get() const { return layout_; }

 private:
  cublasLtMatrixLayout_t layout_ = nullptr;
};

cublasComputeType_t compute_type(Precision precision, bool bf16) {
  if (bf16 || precision == Precision::fp32) return CUBLAS_COMPUTE_32F;
  return precision == Precision::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F_FAST_16BF;
}

class Description {
 public:
  Description(const GemmProduct& p, Precision precision) {
    lt_check(cublasLtMatmulDescCreate(&description_, compute_type(precision, p.a.bf16), CUDA_R_32F),
             "cublasLtMatmulDescCreate");
    const auto op = [](Transpose t) { return t == Transpose::yes ? CUBLAS_OP_T : CUBLAS_OP_N; };
    set(CUBLASLT_MATMUL_DESC_TRANSA, op(p.tb));
    set(CUBLASLT_MATMUL_DESC_TRANSB, op(p.ta));
    if (p.bias == nullptr) return;
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    set(CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, static_cast<std::int64_t>(p.bias_batch_stride));
  }
  ~Description() { cublasLtMatmulDescDestroy(description_); }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;
  cublasLtMatmulDesc_t get() const { return description_; }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    lt_check(cublasLtMatmulDescSetAttribute(description_, attribute, &value, sizeof(value)),
             "cublasLtMatmulDescSetAttribute");
  }
  cublasLtMatmulDesc_t description_ = nullptr;
};

/// Bytes, at most 256, that an address and all its multiples of a stride are aligned to.
Index alignment_of(const void* data, Index stride_bytes) {
  Index alignment = 256;
  while (alignment > 1 &&
         (reinterpret_cast<std::uintptr_t>(data) % static_cast<std::uintptr_t>(alignment) != 0 ||
          stride_bytes % alignment != 0))
    alignment /= 2;
  return alignment;
}

/// All that the choice of an algorithm may depend on: never the size of the batch.
using Key = std::array<Index, 15>;

Key key_of(const GemmProduct& p, Precision precision, Index m, Index n, Index k) {
  const auto bytes = [](const GemmOperand& o) { return o.bf16 ? Index{2} : Index{4}; };
  return {m,
          n,
          k,
          p.a.stride,
          p.b.stride,
          p.c_stride,
          alignment_of(p.a.data, p.a.batch_stride * bytes(p.a)),
          alignment_of(p.b.data, p.b.batch_stride * bytes(p.b)),
          alignment_of(p.c, p.c_batch_stride * 4),
          p.ta == Transpose::yes,
          p.tb == Transpose::yes,
          p.accumulate,
          p.bias != nullptr,
          static_cast<Index>(precision),
          p.a.bf16};
}

struct Sizes {
  Index m, n, k;
};

template <class T>
T config(const cublasLtMatmulAlgo_t& algorithm, cublasLtMatmulAlgoConfigAttributes_t attribute) {
  T value{};
  std::size_t written = 0;
  cublasLtMatmulAlgoConfigGetAttribute(&algorithm, attribute, &value, sizeof(value), &written);
  return value;
}

/// The first of the heuristic's algorithms for one matrix that does not split the inner sum.
///
/// Products with more than a tile of columns are asked for as if four replicas' rows were one
/// matrix's, and of what there is the first is taken whose blocks work in pairs on two tiles of
/// rows, so that what they share is the narrow operand: pairs on two tiles of columns, which the
/// heuristic often puts first, took up to 1.4 times as long (H200, tf32, four times 65,536 rows),
/// and what it has for one replica's rows up to 1.7 times (four times 16,384).
cublasLtMatmulAlgo_t choose(const GemmProduct& p, Precision precision, const Sizes& s,
                            const Key& key) {
  const cudaDataType_t in = p.a.bf16 ? CUDA_R_16BF : CUDA_R_32F;
  constexpr Index kTile = 128, kReplicas = 4, kLeastInner = 16;
  const bool in_pairs = p.ta == Transpose::no && s.m >= kTile && s.n > kTile && s.k >= kLeastInner;
  const Index times = in_pairs ? kReplicas : 1;
  const Layout a(in, times * p.a.rows, p.a.cols, p.a.stride, 0, 1);
  const Layout b(in, p.b.rows, p.b.cols, p.b.stride, 0, 1);
  const Layout c(CUDA_R_32F, times * s.m, s.n, p.c_stride, 0, 1);
  const Description description(p, precision);
  cublasLtMatmulPreference_t preference = nullptr;
  lt_check(cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    lt_check(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)),
             "cublasLtMatmulPreferenceSetAttribute");
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE));
  // cuBLAS' A is our b.
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<std::uint32_t>(key[7]));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<std::uint32_t>(key[6]));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<std::uint32_t>(key[8]));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<std::uint32_t>(key[8]));
  std::array<cublasLtMatmulHeuristicResult_t, 16> found{};
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      Lt::get().handle, description.get(), b.get(), a.get(), c.get(), c.get(), preference,
      static_cast<int>(found.size()), found.data(), &count);
  cublasLtMatmulPreferenceDestroy(preference);
  lt_check(status, "cublasLtMatmulAlgoGetHeuristic");
  const cublasLtMatmulAlgo_t* first = nullptr;
  for (int i = 0; i < count; ++i) {
    const cublasLtMatmulAlgo_t& candidate = found[static_cast<std::size_t>(i)].algo;
    if (config<std::int32_t>(candidate, CUBLASLT_ALGO_CONFIG_SPLITK_NUM) > 1) continue;
    if (first == nullptr) first = &candidate;
    const auto pairs = config<std::uint16_t>(candidate, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID);
    if (in_pairs && pairs == CUBLASLT_CLUSTER_SHAPE_1x2x1) return candidate;
  }
  if (first != nullptr) return *first;
  fail_internal("gemm_cuda", fmt::format("no algorithm for {} x {} x {}", s.m, s.n, s.k));
}

}  // namespace

void gemm_cuda(const CudaCall& call, const GemmProduct& p) {
  const Sizes s{p.ta == Transpose::yes ? p.a.cols : p.a.rows,
                p.tb == Transpose::yes ? p.b.rows : p.b.cols,
                p.ta == Transpose::yes ? p.a.rows : p.a.cols};
  check(s.k == (p.tb == Transpose::yes ? p.b.cols : p.b.rows) && p.a.bf16 == p.b.bf16, "gemm_cuda",
        "operands do not fit: {} x {} and {} x {}", p.a.rows, p.a.cols, p.b.rows, p.b.cols);
  static std::map<Key, cublasLtMatmulAlgo_t> chosen;
  const Key key = key_of(p, call.precision, s.m, s.n, s.k);
  auto place = chosen.find(key);
  if (place == chosen.end()) place = chosen.emplace(key, choose(p, call.precision, s, key)).first;
  const cudaDataType_t in = p.a.bf16 ? CUDA_R_16BF : CUDA_R_32F;
  const Layout a(in, p.a.rows, p.a.cols, p.a.stride, p.a.batch_stride, p.batch);
  const Layout b(in, p.b.rows, p.b.cols, p.b.stride, p.b.batch_stride, p.batch);
  const Layout c(CUDA_R_32F, s.m, s.n, p.c_stride, p.c_batch_stride, p.batch);
  const Description description(p, call.precision);
  const float alpha = p.alpha, beta = p.accumulate ? 1.0f : 0.0f;
  lt_check(cublasLtMatmul(Lt::get().handle, description.get(), &alpha, p.b.data, b.get(), p.a.data,
                          a.get(), &beta, p.c, c.get(), p.c, c.get(), &place->second,
                          Lt::get().workspace, kWorkspace, call.stream),
           "cublasLtMatmul");
}

}  // namespace recallbench
