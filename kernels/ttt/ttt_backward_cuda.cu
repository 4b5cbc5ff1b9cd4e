// Floor: reads q, k, v, rates, the answers' gradient and the kept models, writes four gradients and
// each item's share of the parameters'. At B = 256, L = 256, two heads of f = 32 that is 4 GFLOP
// and 0.17 GB with one layer, 0.07 ms; with two, m = 128, 30 GFLOP and 0.45 GB, 0.5 ms in float32.
// Mini-batches go from the last to the first with the gradient of the model in shared memory; what
// is not kept of a mini-batch is computed again, which is a third of the work. Sums over examples
// are taken by further kernels, one for each layer, for γ and β, and for the steps.
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/partial_sums.h"
#include "kernels/ttt/backward_state.cuh"

namespace recallbench {
namespace ttt_block {

/// The gradients of one item, mini-batch after mini-batch.
template <Product P, bool Deep, bool Shared>
class BackwardBlock : BackwardState<P, Deep, Shared> {
  using State = BackwardState<P, Deep, Shared>;
  using State::count_;
  using State::dmodel_;
  using State::dweight;
  using State::eta_;
  using State::in_fragments;
  using State::kTop;
  using State::loss_row;
  using State::m_;
  using State::out_fragments;
  using State::p_;
  using State::tau_;
  using State::tile;
  using State::weight;

 public:
  __device__ BackwardBlock(const BackwardPlan& plan, const Memory<Shared>& memory)
      : State(plan, memory) {}

  __device__ void run(const Item& item, const TttViews<float>& in, const Batched<float>& models,
                      const Batched<float>& d_o, const TttGradients<float>& out,
                      const Shares& shares) {
    load_norms(p_, item, in, m_.at(p_.norm), m_.at(p_.norm_bias));
    threads(p_.in_padded[0], [&](int j) { m_.at(p_.dnorm)[j] = m_.at(p_.dnorm_bias)[j] = 0; });
    threads(p_.mini_batch, [&](int i) { m_.at(p_.dstep)[i] = 0; });
    threads(p_.model.numbers, [&](int i) { dmodel_[i] = 0; });
    for (int chunk = p_.chunks - 1; chunk >= 0; --chunk) {
      this->load(item, in, models, d_o, chunk);
      this->forward_again();
      layers_back();
      store(item, in, chunk * p_.mini_batch, out);
      __syncthreads();
    }
    store_shares(item, shares);
    __syncthreads();
  }

 private:
  __device__ void layers_back() const {
    const Tile dk = tile(p_.dk), dq = tile(p_.dq), d_o = tile(p_.d_o);
    if constexpr (Deep) {
      const Tile dx = tile(p_.layers[0].dz_bar), z_bar = tile(p_.z_bar);
      layer_back<1>([&](int i, int j, float x) { dx(i, j) = x; });
      inputs_back<1>(
          tile(p_.dhidden_k),
          [&](int i, int j, float x) { dx(i, j) = (dx(i, j) + x) * gelu(z_bar(i, j)).first(); },
          [](Turns&) {});
      __syncthreads();
    }
    layer_back<0>([&](int i, int j, float x) { dq(i, j) = d_o(i, j) + x; });
    inputs_back<0>(
        dk, [&](int i, int j, float x) { dq(i, j) += x; },
        [&](Turns& turns) { Deep ? hidden_gradient_back(turns) : loss_back(turns); });
    __syncthreads();
    if constexpr (Deep) hidden_layer_back();
  }
  /// From dG1 to dG2, and through Z1 and Z2.
  __device__ void hidden_layer_back() const {
    {
      Turns turns;
      const Tile e = tile(p_.layers[0].dg), w = weight(1), dg = tile(p_.layers[kTop].dg);
      product<1>(
          turns, p_.rows, p_.out_padded[kTop],
          [&](auto& c, const Spot& s) { add_ab<P>(c, s, e, w, p_.out_padded[0]); },
          [&](int i, int j, float x) { dg(i, j) += x; });
    }
    __syncthreads();
    {
      Turns turns;
      loss_back(turns);
    }
    __syncthreads();
    hidden_keys_back();
    __syncthreads();
  }

  /// From dZ̄ = through Z̄ = X W + b - M G: dM, dM ⊙ A, dG and, by store_dx, dZ̄ Wᵀ.
  template <int L, class Store>
  __device__ void layer_back(const Store& store_dx) const {
    const LayerPlaces& at = p_.layers[L];
    const Tile dz_bar = tile(at.dz_bar), a = tile(at.a), m = tile(at.m), dm = tile(p_.dm);
    const Tile w = weight(L), dg = tile(at.dg);
    Turns turns;
    product<in_fragments(L)>(
        turns, p_.rows, p_.in_padded[L],
        [&](auto& c, const Spot& s) { add_abt<P>(c, s, dz_bar, w, p_.out_padded[L]); }, store_dx);
    product<out_fragments(L)>(
        turns, p_.rows, p_.out_padded[L],
        [&](auto& c, const Spot& s) { add_atb<P>(c, s, m, dz_bar, p_.rows); },
        [&](int i, int j, float x) { dg(i, j) -= x; });
    lower_product<P>(turns, p_.rows, dz_bar, tile(at.g), p_.out_padded[L],
                     [&](int i, int j, float x) {
                       a(i, j) = j <= i ? -x * a(i, j) : 0.0f;
                       dm(i, j) = j <= i ? -x * tau_[i] * eta_[j] : 0.0f;
                     });
    __syncthreads();
  }
  /// From dM to both inputs: dX += dMᵀ X by query, store_dq(dM X); dτ and dη; and `rest`.
  template <int L, class Store, class Rest>
  __device__ void inputs_back(const Tile& dx, const Store& store_dq, const Rest& rest) const {
    const LayerPlaces& at = p_.layers[L];
    const Tile dm = tile(p_.dm), in_k = tile(at.in_k), in_q = tile(at.in_q), a = tile(at.a);
    Turns turns;
    product<in_fragments(L)>(
        turns, p_.rows, p_.in_padded[L],
        [&](auto& c, const Spot& s) { add_ab<P>(c, s, dm, in_k, s.row + 16); }, store_dq);
    product<in_fragments(L)>(
        turns, p_.rows, p_.in_padded[L],
        [&](auto& c, const Spot& s) { add_atb<P>(c, s, dm, in_q, p_.rows); },
        [&](int i, int j, float x) { dx(i, j) += x; });
    rest(turns);
    float *dtau = m_.at(p_.dtau), *deta = m_.at(p_.deta);
    rows(turns, p_.rows, [&](int i) {
      float of_tau = 0, of_eta = 0;
      lanes(count_, [&](int j) {
        of_tau += a(i, j) * eta_[j];
        of_eta += a(j, i) * tau_[j];
      });
      of_tau = row_sum(of_tau);
      of_eta = row_sum(of_eta);
      if (row_lane() != 0) return;
      dtau[i] = (L == kTop ? 0.0f : dtau[i]) + of_tau;
      deta[i] += of_eta;
    });
  }

  /// Through G1 = (G2 W2ᵀ) ⊙ GELU'(Z1): a part of dZ1; dG1 ⊙ GELU'(Z1) takes the place of dG1.
  __device__ void hidden_gradient_back(Turns& turns) const {
    const Tile dg = tile(p_.layers[0].dg), dz = tile(p_.layers[0].dz), z = tile(p_.z);
    this->back_through(turns, tile(p_.layers[kTop].g), [&](int i, int j, float x) {
      const TanhGelu<float> at = gelu(z(i, j));
      dz(i, j) = dg(i, j) * x * at.second();
      dg(i, j) *= at.first();
    });
  }
  /// From the last layer's dG to its dZ and to the gradient of the residuals.
  __device__ void loss_back(Turns& turns) const {
    const int f = p_.in[0];
    rows(turns, p_.rows, [&](int i) {
      const LossRow loss = loss_row(i);
      const float *z = tile(p_.normed).row(i), *g = tile(p_.layers[kTop].g).row(i);
      const float *dg = tile(p_.layers[kTop].dg).row(i), inverse = m_.at(p_.inverse)[i];
      float *dr = tile(p_.dr).row(i), *dz = tile(p_.layers[kTop].dz).row(i);
      float of_r = 0, of_dg = 0, along = 0;
      lanes(f, [&](int j) {
        of_r += loss.residual(j, z[j]) * loss.norm[j] * z[j];
        of_dg += dg[j] * z[j];
        along += dg[j] * g[j];
      });
      of_r = row_sum(of_r) / static_cast<float>(f);
      of_dg = row_sum(of_dg) / static_cast<float>(f);
      along = row_sum(along) / static_cast<float>(f);
      const auto normed = [&](int j) { return z[j]; };
      project(
          f, p_.in_padded[0], inverse, [&](int j) { return dg[j]; }, normed,
          [&](int j, float x) { dr[j] = x; });
      const auto through = [&](int j) {
        const float norm = loss.norm[j], r = loss.residual(j, z[j]) * norm;
        return dr[j] * norm * norm - inverse * (dg[j] * of_r + r * of_dg);
      };
      project(f, p_.in_padded[0], inverse, through, normed,
              [&](int j, float x) { dz[j] = x - (j < f ? along * inverse * z[j] : 0.0f); });
    });
  }
  /// dW2 and db2, and dZ1 from dZ2.
  __device__ void hidden_keys_back() const {
    const LayerPlaces &at = p_.layers[0], &top = p_.layers[kTop];
    const Tile dz = tile(at.dz), z = tile(p_.z), dx = tile(p_.dhidden_k), e = tile(at.dg);
    const Tile g = tile(top.g), dz_top = tile(top.dz);
    Turns turns;
    this->back_through(turns, dz_top, [&](int i, int j, float x) {
      dz(i, j) += (dx(i, j) + x) * gelu(z(i, j)).first();
    });
    add_to_dmodel(turns, kTop, [&](auto& c, const Spot& s) { add_atb<P>(c, s, e, g, p_.rows); });
  }
  /// dW += X_qᵀ dZ̄ + Xᵀ dZ + more, db += Σ (dZ̄ + dZ).
  template <class More>
  __device__ void add_to_dmodel(Turns& turns, int l, const More& more) const {
    const LayerPlaces& at = p_.layers[l];
    const Tile in_k = tile(at.in_k), in_q = tile(at.in_q), dz = tile(at.dz);
    const Tile dz_bar = tile(at.dz_bar), dw = dweight(l);
    product<2>(
        turns, p_.in_padded[l], p_.out_padded[l],
        [&](auto& c, const Spot& s) {
          add_atb<P>(c, s, in_q, dz_bar, p_.rows);
          add_atb<P>(c, s, in_k, dz, p_.rows);
          more(c, s);
        },
        [&](int i, int j, float x) { dw(i, j) += x; });
    float* db = dmodel_ + p_.model.b[l].offset;
    columns(turns, p_.out_padded[l], [&](int j) {
      float sum = 0;
      for (int i = 0; i < count_; ++i)
        sum += dz_bar(i, j) + dz(i, j);
      db[j] += sum;
    });
  }

  /// Writes the tokens' gradients and adds to the parameters'.
  __device__ void store(const Item& item, const TttViews<float>& in, int first,
                        const TttGradients<float>& out) const {
    const int f = p_.in[0];
    const float* norm = m_.at(p_.norm);
    const Tile dq = tile(p_.dq), dk = tile(p_.dk), dr = tile(p_.dr), dz = tile(p_.layers[0].dz);
    const Tile w = weight(0);
    const auto put = [&](const Gradient<float>& to, int i, int j, float value) {
      if (!to.wanted) return;
      float* place = item.at(to.view, first + i, Index{item.head} * f + j);
      *place = to.accumulate ? *place + value : value;
    };
    Turns turns;
    add_to_dmodel(turns, 0, [](auto&, const Spot&) {});
    product<1>(
        turns, p_.rows, p_.in_padded[0],
        [&](auto& c, const Spot& s) { add_abt<P>(c, s, dz, w, p_.out_padded[0]); },
        [&](int i, int j, float x) {
          if (i < count_ && j < f) put(out.all[1], i, j, dk(i, j) + dr(i, j) * norm[j] + x);
        });
    rows(turns, p_.rows, [&](int i) {
      if (i >= count_) return;
      lanes(f, [&](int j) {
        put(out.all[0], i, j, dq(i, j));
        put(out.all[2], i, j, -dr(i, j) * norm[j]);
      });
    });
    add_to_norms(turns);
    add_to_steps(turns, item, in, first, out.all[3]);
  }
  __device__ void add_to_norms(Turns& turns) const {
    const float *norm = m_.at(p_.norm), *norm_bias = m_.at(p_.norm_bias);
    const Tile d_o = tile(p_.d_o), answer = tile(p_.answer), normed = tile(p_.normed);
    const Tile dr = tile(p_.dr), k = tile(p_.k), v = tile(p_.v);
    columns(turns, p_.in[0], [&](int j) {
      float of_norm = 0, of_bias = 0;
      for (int i = 0; i < count_; ++i) {
        const float z = normed(i, j), scaled = norm[j] * z;
        const float residual = scaled + norm_bias[j] - (v(i, j) - k(i, j));
        of_norm += d_o(i, j) * answer(i, j) + dr(i, j) * (residual + scaled);
        of_bias += d_o(i, j) + dr(i, j) * norm[j];
      }
      m_.at(p_.dnorm)[j] += of_norm;
      m_.at(p_.dnorm_bias)[j] += of_bias;
    });
  }
  /// τ is max(1 / (i + 1) + step, 0).
  __device__ void add_to_steps(Turns& turns, const Item& item, const TttViews<float>& in, int first,
                               const Gradient<float>& drate) const {
    const float* step = in.all[4].data + item.replica * in.all[4].replica_stride;
    const float* last = m_.at(p_.last);
    columns(turns, count_, [&](int i) {
      float sum = m_.at(p_.dtau)[i];
      if (i == count_ - 1)
        for (int j = 0; j < count_; ++j)
          sum -= last[j];
      if (1.0f / static_cast<float>(i + 1) + step[i] >= 0.0f) m_.at(p_.dstep)[i] += sum;
      if (!drate.wanted) return;
      const float value = p_.scale * m_.at(p_.deta)[i];
      float* place = item.at(drate.view, first + i, item.head);
      *place = drate.accumulate ? *place + value : value;
    });
  }

  __device__ void store_shares(const Item& item, const Shares& shares) const {
    const Index example = item.replica * p_.examples + item.example, f = p_.in[0];
    float* step = shares.step + (example * p_.heads + item.head) * p_.mini_batch;
    threads(p_.mini_batch, [&](int i) { step[i] = m_.at(p_.dstep)[i]; });
    float* norms = shares.norms + (example * 2 * p_.heads + item.head) * f;
    threads(p_.in[0], [&](int j) {
      norms[j] = m_.at(p_.dnorm)[j];
      norms[p_.heads * f + j] = m_.at(p_.dnorm_bias)[j];
    });
    for (int l = 0; l <= kTop; ++l) {
      const Index in = p_.in[l], out = p_.out[l], numbers = p_.heads * in * out;
      float* to = shares.layer[l] + example * (numbers + p_.heads * out);
      const Tile dw = dweight(l);
      const float* db = dmodel_ + p_.model.b[l].offset;
      for (int i = static_cast<int>(threadIdx.x) / kRowLanes; i < p_.in[l]; i += 2 * kWarps)
        lanes(p_.out[l], [&](int j) { to[(item.head * in + i) * out + j] = dw(i, j); });
      threads(p_.out[l], [&](int j) { to[numbers + item.head * out + j] = db[j]; });
    }
  }
};

template <Product P, bool Deep, bool Shared>
__global__ void __launch_bounds__(kThreads, Deep || !Shared ? 1 : kBlocks)
    ttt_backward(const __grid_constant__ BackwardPlan plan, TttViews<float> in,
                 Batched<float> models, Batched<float> d_o,
                 const __grid_constant__ TttGradients<float> out, Shares shares, float* scratch) {
  after_previous();
  extern __shared__ float4 memory[];
  BackwardBlock<P, Deep, Shared> block(
      plan, {reinterpret_cast<float*>(memory), scratch + blockIdx.x * plan.global});
  for (Index item = blockIdx.x; item < plan.items; item += gridDim.x)
    block.run(Item(plan, item), in, models, d_o, out, shares);
}

template <Product P, bool Deep, bool Shared>
void launch(const CudaCall& call, const BackwardPlan& plan, const TttViews<float>& in,
            const Batched<float>& models, const Batched<float>& d_o, const TttGradients<float>& out,
            const Shares& shares, float* scratch) {
  const auto kernel = ttt_backward<P, Deep, Shared>;
  cuda_allow_shared(kernel, plan.shared_bytes, "ttt_backward");
  cuda_launch("ttt_backward", kernel,
              {static_cast<unsigned>(plan.blocks()), kThreads, plan.shared_bytes, call.stream},
              plan, in, models, d_o, out, shares, scratch);
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
void launch_of(const CudaCall& call, const BackwardPlan& plan, const Args&... args) {
  if (plan.in_shared())
    launch_in<Deep, true>(call, plan, args...);
  else
    launch_in<Deep, false>(call, plan, args...);
}

/// Numbers of an example's shares of W and b of a layer.
Index layer_numbers(const TttSize& s, Index l) {
  return s.heads * (s.in(l) + 1) * s.out(l);
}

/// Places of the shares in `scratch`, if any; `used` gets their numbers.
Shares place_shares(const TttSize& s, Index replicas, float* scratch, Index& used) {
  const Index examples = replicas * s.examples;
  used = 0;
  const auto take = [&](Index numbers) {
    float* const taken = scratch == nullptr ? nullptr : scratch + used;
    used += (numbers + 63) / 64 * 64;
    return taken;
  };
  Shares shares{
      take(examples * s.heads * s.mini_batch), take(examples * 2 * s.heads * s.head_dim), {}};
  for (Index l = 0; l < s.layers(); ++l)
    shares.layer[l] = take(examples * layer_numbers(s, l));
  return shares;
}

}  // namespace ttt_block

Index ttt_backward_cuda_scratch(const TttSize& size, Index replicas) {
  const ttt_block::BackwardPlan plan(size, replicas);
  Index shares;
  ttt_block::place_shares(size, replicas, nullptr, shares);
  return shares + plan.blocks() * plan.global;
}

void ttt_backward_cuda(const CudaCall& call, const TttSize& size, const TttViews<float>& in,
                       const Batched<float>& models, const Batched<float>& d_o,
                       const TttGradients<float>& gradients, float* scratch) {
  const ttt_block::BackwardPlan plan(size, d_o.replicas);
  Index used;
  const ttt_block::Shares shares = ttt_block::place_shares(size, d_o.replicas, scratch, used);
  scratch += used;
  if (size.hidden > 0)
    ttt_block::launch_of<true>(call, plan, in, models, d_o, gradients, shares, scratch);
  else
    ttt_block::launch_of<false>(call, plan, in, models, d_o, gradients, shares, scratch);
  const auto& g = gradients.all;
  const Index b = size.mini_batch, norms = size.heads * size.head_dim;
  sum_partials_cuda(call, d_o.replicas, {shares.step, size.examples * size.heads, b, 0, g[4], {}});
  sum_partials_cuda(call, d_o.replicas, {shares.norms, size.examples, norms, norms, g[5], g[6]});
  for (Index l = 0; l < size.layers(); ++l)
    sum_partials_cuda(call, d_o.replicas,
                      {shares.layer[l], size.examples, size.heads * size.in(l)*size.out(l),
                       size.heads * size.out(l), g[7 + 2 * l], g[8 + 2 * l]});
}

}  // namespace recallbench
