// Floor: reads q, k, v, rates and writes o and the kept models once; a token needs about 6 f² FLOPs
// a head with one layer, 14 f m with two, and the products within a mini-batch. At B = 256, L =
// 256, two heads of f = 32 that is 1 GFLOP and 0.11 GB with one layer, 0.03 ms; with two, m = 128,
// 8 GFLOP and 0.36 GB, 0.15 ms in float32. The model stays in shared memory from mini-batch to
// mini-batch; all but LayerNorm is products of warps, on tensor cores where the precision allows.
// With one layer the five phases of a mini-batch are short, and what hides their latency is other
// blocks.
#include "kernels/cuda/launch.cuh"
#include "kernels/ttt/block.cuh"

namespace recallbench {
namespace ttt_block {

struct ForwardPlan : Plan {
  ForwardPlan(const TttSize& s, Index replicas) : Plan(s, replicas) {
    Placing placing;
    for (Place* p : {&q, &k, &v, &gradient, &step, &answer})
      *p = placing.take(rows, s.head_dim);
    for (Place* p : {&norm, &norm_bias})
      *p = placing.take(1, s.head_dim);
    for (Place* p : {&tau, &eta})
      *p = placing.take(1, rows);
    mixing = placing.take(rows, rows);
    if (s.hidden > 0)
      for (Place* p : {&hidden_k, &hidden_q, &hidden_gradient})
        *p = placing.take(rows, s.hidden);
    weights = {placing.take_numbers(model.numbers), 0};
    shared_bytes = placing.shared_bytes();
    global = placing.global_numbers();
  }

  bool in_shared() const { return global == 0; }

  Place q, k, v, gradient, step, answer;  // [rows, f]: Z and then G, τ_last η ⊙ G, Z̄
  Place norm, norm_bias, tau, eta, mixing, weights;
  Place hidden_k, hidden_q, hidden_gradient;  // X, X by query, and G of the layer between
  std::size_t shared_bytes;
};

template <Product P, bool Deep, bool Shared>
class ForwardBlock {
  static constexpr int kTop = Deep ? 1 : 0;
  // Fragments of 8 columns that a warp computes of the first layer's outputs.
  static constexpr int kFirst = Deep ? 2 : 1;

 public:
  __device__ ForwardBlock(const ForwardPlan& plan, const Memory<Shared>& memory)
      : p_(plan),
        q_(memory.tile(plan.q)),
        k_(memory.tile(plan.k)),
        v_(memory.tile(plan.v)),
        gradient_(memory.tile(plan.gradient)),
        step_(memory.tile(plan.step)),
        answer_(memory.tile(plan.answer)),
        mixing_(memory.tile(plan.mixing)),
        hidden_k_(memory.tile(plan.hidden_k)),
        hidden_q_(memory.tile(plan.hidden_q)),
        hidden_gradient_(memory.tile(plan.hidden_gradient)),
        norm_(memory.at(plan.norm)),
        norm_bias_(memory.at(plan.norm_bias)),
        tau_(memory.at(plan.tau)),
        eta_(memory.at(plan.eta)),
        model_(memory.at(plan.weights)) {}

  __device__ void run(const Item& item, const TttViews<float>& in, const Batched<float>& models,
                      const Batched<float>& o) {
    load_norms(p_, item, in, norm_, norm_bias_);
    for (int l = 0; l <= kTop; ++l) {
      const Batched<float>&w = in.all[7 + 2 * l], &b = in.all[8 + 2 * l];
      const Tile to = weight(l);
      delta_load(to.data, to.stride, p_.in_padded[l], to.stride, item.own(w, p_.in[l]), w.stride,
                 p_.in[l], p_.out[l]);
      delta_load(bias(l), to.stride, 1, to.stride, item.own(b, 1), b.stride, 1, p_.out[l]);
    }
    for (int chunk = 0; chunk < p_.chunks; ++chunk) {
      const int first = chunk * p_.mini_batch;
      count_ = min(p_.mini_batch, static_cast<int>(p_.length) - first);
      load_tokens(p_, item, {q_, k_, v_}, {in.all[0], in.all[1], in.all[2]}, first, count_);
      load_steps(p_, item, in, first, count_, tau_, eta_);
      __syncthreads();
      if (models.data != nullptr) copy_model(p_, model_, item.kept(p_, models, chunk));
      mini_batch();
      write_answers(item, first, o);
      __syncthreads();
    }
  }

 private:
  __device__ Tile weight(int l) const {
    return {model_ + p_.model.w[l].offset, p_.model.w[l].stride};
  }
  __device__ float* bias(int l) const { return model_ + p_.model.b[l].offset; }
  __device__ float last_step(int i) const { return tau_[count_ - 1] * eta_[i]; }

  /// Z̄ in `answer_`, and the model after the mini-batch. Ends with __syncthreads.
  __device__ void mini_batch() {
    {
      Turns turns;
      Deep ? hidden_inputs(turns) : apply<1>(turns, 0, k_, gradient_);
      apply<kFirst>(turns, 0, q_, Deep ? hidden_q_ : answer_);
      mix(turns, q_, k_, p_.in_padded[0]);
    }
    __syncthreads();
    if constexpr (Deep) {
      Turns turns;
      apply<1>(turns, 1, hidden_k_, gradient_);
      __syncthreads();
    }
    loss_gradients();
    __syncthreads();
    if constexpr (Deep) hidden_layer();
    Turns turns;
    subtract_mixed<1>(turns, kTop, gradient_, [&](int i, int j, float x) { answer_(i, j) -= x; });
    advance(turns, kTop, Deep ? hidden_k_ : k_, step_);
    if constexpr (Deep) advance(turns, 0, k_, hidden_gradient_);
    __syncthreads();
  }

  /// to = x W + b.
  template <int N>
  __device__ void apply(Turns& turns, int l, const Tile& x, const Tile& to) const {
    const Tile w = weight(l);
    const float* b = bias(l);
    product<N>(
        turns, p_.rows, p_.out_padded[l],
        [&](auto& c, const Spot& s) { add_ab<P>(c, s, x, w, p_.in_padded[l]); },
        [&](int i, int j, float x) { to(i, j) = x + b[j]; });
  }
  /// GELU(Z1), and its slope where G1 will be.
  __device__ void hidden_inputs(Turns& turns) const {
    const Tile w = weight(0);
    const float* b = bias(0);
    product<2>(
        turns, p_.rows, p_.out_padded[0],
        [&](auto& c, const Spot& s) { add_ab<P>(c, s, k_, w, p_.in_padded[0]); },
        [&](int i, int j, float x) {
          const TanhGelu<float> at = gelu(x + b[j]);
          hidden_k_(i, j) = at.value();
          hidden_gradient_(i, j) = at.first();
        });
  }
  /// M.
  __device__ void mix(Turns& turns, const Tile& in_q, const Tile& in_k, int width) const {
    lower_product<P>(turns, p_.rows, in_q, in_k, width, [&](int i, int j, float x) {
      mixing_(i, j) = j <= i ? tau_[i] * eta_[j] * (x + 1.0f) : 0.0f;
    });
  }
  template <int N, class Store>
  __device__ void subtract_mixed(Turns& turns, int l, const Tile& g, const Store& store) const {
    product<N>(
        turns, p_.rows, p_.out_padded[l],
        [&](auto& c, const Spot& s) { add_ab<P>(c, s, mixing_, g, s.row + 16); }, store);
  }

  /// Z of the last layer becomes G.
  __device__ void loss_gradients() const {
    Turns turns;
    rows(turns, p_.rows, [&](int i) {
      float* g = gradient_.row(i);
      const RowNorm normed(g, p_.in[0]);
      const LossRow loss{norm_, norm_bias_, k_.row(i), v_.row(i)};
      project(
          p_.in[0], p_.in_padded[0], normed.inverse,
          [&](int j) { return loss.residual(j, normed(g[j])) * norm_[j]; },
          [&](int j) { return normed(g[j]); },
          [&](int j, float x) {
            g[j] = x;
            step_(i, j) = last_step(i) * x;
          });
    });
  }

  /// From G of the last layer to its Z̄ without M G, with M, and τ_last η ⊙ G of the layer before.
  __device__ void hidden_layer() const {
    {
      Turns turns;
      const Tile w = weight(1);
      product<2>(
          turns, p_.rows, p_.out_padded[0],
          [&](auto& c, const Spot& s) { add_abt<P>(c, s, gradient_, w, p_.out_padded[1]); },
          [&](int i, int j, float x) { hidden_gradient_(i, j) *= x; });
    }
    __syncthreads();
    {
      Turns turns;
      subtract_mixed<kFirst>(turns, 0, hidden_gradient_, [&](int i, int j, float x) {
        hidden_q_(i, j) = gelu(hidden_q_(i, j) - x).value();
      });
    }
    __syncthreads();
    Turns turns;
    apply<1>(turns, 1, hidden_q_, answer_);
    mix(turns, hidden_q_, hidden_k_, p_.out_padded[0]);
    rows(turns, p_.rows, [&](int i) {
      lanes(p_.out_padded[0], [&](int j) { hidden_gradient_(i, j) *= last_step(i); });
    });
    __syncthreads();
  }

  /// W -= Xᵀ S, b -= Σ S over the tokens.
  __device__ void advance(Turns& turns, int l, const Tile& x, const Tile& s) const {
    const Tile w = weight(l);
    float* b = bias(l);
    product<2>(
        turns, p_.in_padded[l], p_.out_padded[l],
        [&](auto& c, const Spot& spot) { add_atb<P>(c, spot, x, s, p_.rows); },
        [&](int i, int j, float x) { w(i, j) -= x; });
    columns(turns, p_.out_padded[l], [&](int j) {
      float sum = 0;
      for (int i = 0; i < count_; ++i)
        sum += s(i, j);
      b[j] -= sum;
    });
  }

  /// o = q + LN(Z̄).
  __device__ void write_answers(const Item& item, int first, const Batched<float>& o) const {
    Turns turns;
    rows(turns, p_.rows, [&](int i) {
      const float* z = answer_.row(i);
      const RowNorm normed(z, p_.in[0]);
      float* to = item.at(o, first + i, Index{item.head} * p_.in[0]);
      if (i >= count_) return;
      lanes(p_.in[0], [&](int j) { to[j] = q_(i, j) + norm_[j] * normed(z[j]) + norm_bias_[j]; });
    });
  }

  const ForwardPlan& p_;
  Tile q_, k_, v_, gradient_, step_, answer_, mixing_, hidden_k_, hidden_q_, hidden_gradient_;
  float *norm_, *norm_bias_, *tau_, *eta_, *model_;
  int count_ = 0;
};

template <Product P, bool Deep, bool Shared>
__global__ void __launch_bounds__(kThreads, Deep || !Shared ? 1 : kBlocks)
    ttt_forward(const __grid_constant__ ForwardPlan plan, TttViews<float> in, Batched<float> models,
                Batched<float> o, float* scratch) {
  after_previous();
  extern __shared__ float4 memory[];
  ForwardBlock<P, Deep, Shared> block(
      plan, {reinterpret_cast<float*>(memory), scratch + blockIdx.x * plan.global});
  for (Index item = blockIdx.x; item < plan.items; item += gridDim.x)
    block.run(Item(plan, item), in, models, o);
}

template <Product P, bool Deep, bool Shared>
void launch(const CudaCall& call, const ForwardPlan& plan, const TttViews<float>& in,
            const Batched<float>& models, const Batched<float>& o, float* scratch) {
  const auto kernel = ttt_forward<P, Deep, Shared>;
  cuda_allow_shared(kernel, plan.shared_bytes, "ttt_forward");
  cuda_launch("ttt_forward", kernel,
              {static_cast<unsigned>(plan.blocks()), kThreads, plan.shared_bytes, call.stream},
              plan, in, models, o, scratch);
}

template <bool Deep, bool Shared, class... Args>
void launch_in(const CudaCall& call, const Args&... args) {
  switch (product_of(call.precision)) {
    case Product::tf32:
      return launch<Product::tf32, Deep, Shared>(call, args...);
    case Product::bf16:
      return launch<Product::bf16, Deep, Shared>(call, args...);
    default:
      return launch<Product::fp32, Deep, Shared>(call, args...);
  }
}
template <bool Deep, class... Args>
void launch_of(const CudaCall& call, const ForwardPlan& plan, const Args&... args) {
  if (plan.in_shared())
    launch_in<Deep, true>(call, plan, args...);
  else
    launch_in<Deep, false>(call, plan, args...);
}

}  // namespace ttt_block

Index ttt_cuda_model_numbers(const TttSize& size) {
  return ttt_block::ModelPlan(size).numbers;
}

Index ttt_forward_cuda_scratch(const TttSize& size, Index replicas) {
  const ttt_block::ForwardPlan plan(size, replicas);
  return plan.blocks() * plan.global;
}

void ttt_forward_cuda(const CudaCall& call, const TttSize& size, const TttViews<float>& in,
                      const Batched<float>& models, const Batched<float>& o, float* scratch) {
  const ttt_block::ForwardPlan plan(size, o.replicas);
  if (size.hidden > 0)
    ttt_block::launch_of<true>(call, plan, in, models, o, scratch);
  else
    ttt_block::launch_of<false>(call, plan, in, models, o, scratch);
}

}  // namespace recallbench
