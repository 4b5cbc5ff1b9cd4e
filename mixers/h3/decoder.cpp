#include <algorithm>
#include <cmath>
#include <complex>

#include "mixers/h3/h3.h"
#include "mixers/host_math.h"

namespace recallbench {
namespace {

using Complex = std::complex<double>;

/// State: the last N - 1 keys, [N - 1, d] oldest first, then the diagonal SSMs' complex numbers
/// [H, F, F, N / 2] as pairs (re, im).
class H3Decoder : public Decoder {
 public:
  H3Decoder(const H3Sizes& sizes, const HostParameters& p)
      : heads_(to_size(sizes.heads())),
        head_dim_(to_size(sizes.head_dim)),
        modes_(to_size(sizes.modes())),
        states_(to_size(sizes.states)),
        dim_(to_size(sizes.d_model)),
        p_(p) {
    for (std::size_t i = 0; i < heads_ * modes_; ++i) {
      const Complex a(-std::exp(p.at("kernel.kernel.inv_A_real")[i]),
                      p.at("kernel.kernel.A_imag")[i]);
      const double dt = std::exp(p.at("kernel.kernel.log_dt")[i / modes_]);
      const Complex inverse = 1.0 / (1.0 - dt * a / 2.0);
      decay_.push_back((1.0 + dt * a / 2.0) * inverse);
      in_.push_back(dt * pair(p.at("kernel.kernel.B"), i) * inverse);
      out_.push_back(pair(p.at("kernel.kernel.C"), i));
    }
    add_taps();
  }

  State start() const override {
    return {std::vector<double>(window() + dim_ * head_dim_ * modes_ * 2, 0.0), {}};
  }

  void step(std::span<const double> u, State& state, std::span<double> y) const override {
    const std::vector<double> q = project(u, "q_proj"), v = project(u, "v_proj");
    const std::vector<double> k =
        shift(project(u, "k_proj"), std::span(state.numbers).first(window()));
    double* x = state.numbers.data() + window();
    const std::vector<double>& skip = p_.at("D");
    std::vector<double> o(dim_);
    for (std::size_t h = 0; h < heads_; ++h)
      for (std::size_t i = 0; i < head_dim_; ++i)
        for (std::size_t j = 0; j < head_dim_; ++j) {
          const double product = k[h * head_dim_ + i] * v[h * head_dim_ + j];
          double read = skip[h] * product;
          for (std::size_t n = h * modes_; n < (h + 1) * modes_; ++n, x += 2) {
            const Complex now = decay_[n] * Complex(x[0], x[1]) + in_[n] * product;
            x[0] = now.real();
            x[1] = now.imag();
            read += 2 * (out_[n] * now).real();
          }
          // Q19: the output's channels run over the heads first.
          o[j * heads_ + h] += q[h * head_dim_ + i] * read;
        }
    const std::vector<double> out =
        host_linear(o, p_.at("output_linear.weight"), p_.at("output_linear.bias"));
    std::copy(out.begin(), out.end(), y.begin());
  }

 private:
  static Complex pair(const std::vector<double>& numbers, std::size_t i) {
    return {numbers[2 * i], numbers[2 * i + 1]};
  }
  std::size_t window() const { return dim_ * (states_ - 1); }

  std::vector<double> project(std::span<const double> u, const std::string& name) const {
    return host_linear(u, p_.at(name + ".weight"), p_.at(name + ".bias"));
  }

  /// Taps of the shift SSM: Σ_m B[m] C[m + l], and D in the first.
  void add_taps() {
    const std::vector<double>&b = p_.at("ssm_k_kernel.kernel.B"),
          &c = p_.at("ssm_k_kernel.kernel.C");
    for (std::size_t l = 0; l < states_; ++l)
      for (std::size_t i = 0; i < dim_; ++i) {
        double tap = l == 0 ? p_.at("ssm_k_D")[i] : 0;
        for (std::size_t m = 0; m + l < states_; ++m)
          tap += b[i * states_ + m] * c[i * states_ + m + l];
        taps_.push_back(tap);
      }
  }

  /// The shift SSM at this token; `past` then holds k too.
  std::vector<double> shift(const std::vector<double>& k, std::span<double> past) const {
    std::vector<double> out(dim_);
    for (std::size_t i = 0; i < dim_; ++i)
      for (std::size_t l = 0; l < states_; ++l)
        out[i] += taps_[l * dim_ + i] * (l == 0 ? k[i] : past[(states_ - 1 - l) * dim_ + i]);
    if (states_ > 1) {
      std::copy(past.begin() + static_cast<std::ptrdiff_t>(dim_), past.end(), past.begin());
      std::copy(k.begin(), k.end(), past.end() - static_cast<std::ptrdiff_t>(dim_));
    }
    return out;
  }

  std::size_t heads_, head_dim_, modes_, states_, dim_;
  HostParameters p_;
  std::vector<Complex> decay_, in_, out_;  // [H, N / 2]: Ā, B̄, C
  std::vector<double> taps_;               // [N, D], tap 0 meets the current token
};

}  // namespace

std::unique_ptr<Decoder> make_h3_decoder(const H3Sizes& sizes, const HostParameters& parameters,
                                         Index length) {
  check_length("h3", "l_max", sizes.l_max, length);
  return std::make_unique<H3Decoder>(sizes, parameters);
}

}  // namespace recallbench
