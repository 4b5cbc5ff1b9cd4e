// Token by token, as the formulas stand; backward keeps every state of the item.
#include <algorithm>
#include <cmath>

#include "kernels/delta_rule/item_cpu.h"

namespace recallbench {
namespace {

template <class T>
T dot(Index n, const T* a, const T* b) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index i = 0; i < n; ++i)
    sum += a[i] * b[i];
  return sum;
}

template <class T>
void add_scaled(Index n, T factor, const T* x, T* to) {
#pragma omp simd
  for (Index i = 0; i < n; ++i)
    to[i] += factor * x[i];
}

template <class T>
class Recurrent {
 public:
  Recurrent(const DeltaRulePlan& p, const DeltaRuleItem<T>& item)
      : p_(p), it_(item), scale_(static_cast<T>(p.options.scale)) {}

  T decay(Index t) const {
    return it_.log_decay.data == nullptr ? T(1) : std::exp(it_.log_decay.row(t)[0]);
  }
  T beta(Index t) const {
    return static_cast<T>(p_.options.beta_scale) *
           (it_.beta.data == nullptr ? T(1) : it_.beta.row(t)[0]);
  }

  /// state [dk, dv], S_{t-1} → S_t; e [dv] becomes e_t.
  void step(Index t, T* state, T* e) const {
    const T a = decay(t), strength = beta(t), *k = it_.k.row(t);
    std::copy_n(it_.v.row(t), p_.values, e);
    for (Index i = 0; i < p_.keys; ++i)
      add_scaled(p_.values, -a * k[i], state + i * p_.values, e);
    for (Index i = 0; i < p_.keys; ++i) {
      T* row = state + i * p_.values;
      for (Index j = 0; j < p_.values; ++j)
        row[j] = a * row[j] + strength * k[i] * e[j];
    }
  }

  void read(Index t, const T* state, T* y) const {
    std::fill_n(y, p_.values, T(0));
    for (Index i = 0; i < p_.keys; ++i)
      add_scaled(p_.values, scale_ * it_.q.row(t)[i], state + i * p_.values, y);
  }

  /// g [dk, dv], the gradient of S_t without y_t's share, becomes that of S_{t-1}. With x = Gᵀ k:
  /// dβ = <e, x>, de = dv = β x, dk = G (β e) - S' de, and G - k deᵀ goes on through the decay.
  void step_back(Index t, const T* before, const T* after, const T* e,
                 const DeltaRuleItemGradients<T>& out, T* g, T* de) const {
    const T a = decay(t), strength = beta(t), *k = it_.k.row(t), *dy = out.dy.row(t);
    const Index n = p_.values;
    for (Index i = 0; i < p_.keys; ++i) {
      add_scaled(n, scale_ * it_.q.row(t)[i], dy, g + i * n);
      out.q.write(t, i, scale_ * dot(n, after + i * n, dy));
    }
    std::fill_n(de, n, T(0));
    for (Index i = 0; i < p_.keys; ++i)
      add_scaled(n, k[i], g + i * n, de);
    out.beta.write(t, 0, static_cast<T>(p_.options.beta_scale) * dot(n, e, de));
    T decay_gradient = 0;
    for (Index j = 0; j < n; ++j)
      de[j] *= strength, out.v.write(t, j, de[j]);
    for (Index i = 0; i < p_.keys; ++i) {
      T* row = g + i * n;
      const T* old = before + i * n;
      out.k.write(t, i, strength * dot(n, row, e) - a * dot(n, old, de));
      add_scaled(n, -k[i], de, row);
      decay_gradient += a * dot(n, row, old);
      for (Index j = 0; j < n; ++j)
        row[j] *= a;
    }
    out.log_decay.write(t, 0, decay_gradient);
  }

 private:
  const DeltaRulePlan& p_;
  const DeltaRuleItem<T>& it_;
  T scale_;
};

}  // namespace

Index recurrent_scratch(const DeltaRulePlan& p, bool backward) {
  const Index state = p.keys * p.values;
  return backward ? (p.length + 2) * state + (p.length + 1) * p.values : state + p.values;
}

template <class T>
void recurrent_forward(const DeltaRulePlan& p, const DeltaRuleItem<T>& item, const Matrix<T>& y,
                       T* scratch) {
  const Recurrent<T> form(p, item);
  T *state = scratch, *e = scratch + p.keys * p.values;
  std::fill_n(state, p.keys * p.values, T(0));
  for (Index t = 0; t < p.length; ++t) {
    form.step(t, state, e);
    form.read(t, state, y.row(t));
  }
}

template <class T>
void recurrent_backward(const DeltaRulePlan& p, const DeltaRuleItem<T>& item,
                        const DeltaRuleItemGradients<T>& gradients, T* scratch) {
  const Recurrent<T> form(p, item);
  const Index size = p.keys * p.values;
  T *states = scratch, *g = states + (p.length + 1) * size, *errors = g + size;
  T* de = errors + p.length * p.values;
  std::fill_n(states, size, T(0));
  std::fill_n(g, size, T(0));
  for (Index t = 0; t < p.length; ++t) {
    T* state = states + (t + 1) * size;
    std::copy_n(states + t * size, size, state);
    form.step(t, state, errors + t * p.values);
  }
  for (Index t = p.length - 1; t >= 0; --t)
    form.step_back(t, states + t * size, states + (t + 1) * size, errors + t * p.values, gradients,
                   g, de);
}

#define INSTANTIATE(T)                                                                             \
  template void recurrent_forward(const DeltaRulePlan&, const DeltaRuleItem<T>&, const Matrix<T>&, \
                                  T*);                                                             \
  template void recurrent_backward(const DeltaRulePlan&, const DeltaRuleItem<T>&,                  \
                                   const DeltaRuleItemGradients<T>&, T*);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace recallbench
