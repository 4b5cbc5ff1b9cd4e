// Mixers that break one promise each: the obligation that is for it must catch every one.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/elementwise/elementwise.h"
#include "kernels/graph/execution.h"
#include "kernels/tensor/parallel.h"
#include "mixers/obligations/lone_mixer.h"
#include "mixers/obligations/random_configuration.h"
#include "sweeps/check/tiny_mqar.h"

namespace recallbench {
namespace {

/// y = 2x with one fault, chosen by name: the honest form passes everything.
struct Fault {
  bool wrong_gradient = false, forgets_to_accumulate = false, peeks_ahead = false;
  bool reads_unwritten = false, depends_on_replica = false, depends_on_threads = false;
  bool decoder_differs = false, hides_state = false, lies_about_growth = false;
  bool adds_to_outputs = false, swallows_options = false, rows_differ = false,
       lies_about_accuracy = false;
  bool returns_no_tensor = false, has_no_decoder = false;
  bool counters_grow = false;
  Index window = 0, settles_after = 0;  // inputs that the state comes to hold; what the traits say
  bool throws_a_number = false, throws_in_training = false;
  bool throws_on_threads = false, throws_in_poisoned_memory = false;
  bool overflows_in_training = false, declares_what_nothing_reads = false;
};

class FaultyDouble : public TypedOperation<FaultyDouble> {
 public:
  FaultyDouble(const Tensor& x, const Fault& fault) : fault_(fault), length_(x.shape[2]) {
    reads(x, InBackward::unused);
    writes(x.shape, InBackward::unused);
    needs_scratch(1, 0);
  }
  std::string_view name() const override { return "faulty_double"; }

  template <class T>
  void forward_as(Execution& e) {
    const bool in_training = e.input<T>(0).rows > 1000;  // more than the other obligations give it
    if (fault_.throws_in_training && in_training) throw 7;
    if (fault_.throws_on_threads && threads() > 1) throw 7;
    if (fault_.throws_in_poisoned_memory && memory_poisoning()) throw 7;
    for (Index r = 0; r < e.replicas(); ++r) {
      const Matrix<T> x = e.input<T>(0).replica(r), y = e.output<T>(0).replica(r);
      for (Index i = 0; i < x.rows; ++i) {
        for (Index j = 0; j < x.cols; ++j)
          y.row(i)[j] = 2 * x.row(i)[j];
        if (fault_.peeks_ahead && i % length_ + 1 < length_) y.row(i)[0] += x.row(i + 1)[0];
        if (fault_.overflows_in_training && in_training) y.row(i)[0] = T(INFINITY);
        if (fault_.depends_on_replica) y.row(i)[0] += static_cast<T>(r) * T(1e-3);
        if (fault_.depends_on_threads) y.row(i)[0] += static_cast<T>(threads() - 1) * T(1e-3);
      }
      if (fault_.reads_unwritten) y.row(0)[0] += *e.scratch<T>() * T(1e-30);
    }
  }
  template <class T>
  void backward_as(Execution& e) {
    const Gradient<T> dx = e.input_gradient<T>(0);
    for (Index r = 0; r < e.replicas(); ++r) {
      const Matrix<T> dy = e.output_gradient<T>(0).replica(r), to = dx.view.replica(r);
      for (Index i = 0; i < dy.rows; ++i)
        for (Index j = 0; j < dy.cols; ++j) {
          const T sign = fault_.wrong_gradient && i == dy.rows - 1 && j == 0 ? T(-2) : T(2);
          const bool add = dx.accumulate && !fault_.forgets_to_accumulate;
          to.row(i)[j] = (add ? to.row(i)[j] : T(0)) + sign * dy.row(i)[j];
        }
    }
  }

 private:
  Fault fault_;
  Index length_;
};

class FaultyDecoder : public Decoder {
 public:
  explicit FaultyDecoder(const Fault& fault) : fault_(fault) {}
  State start() const override { return {}; }
  void step(std::span<const double> x, State& state, std::span<double> y) const override {
    // 2x of the mixer, and x once more of the sum around it.
    for (std::size_t j = 0; j < x.size(); ++j)
      y[j] = 3 * x[j] + (fault_.adds_to_outputs ? y[j] : 0);
    if (fault_.decoder_differs) y[0] *= 1 + 1e-6;
    if (fault_.lies_about_growth) state.numbers.push_back(x[0]);
    if (std::ssize(state.numbers) < fault_.window) state.numbers.push_back(x[0]);
    if (fault_.counters_grow) state.counters.push_back(0);
    if (fault_.hides_state) {
      y[0] += hidden_;
      hidden_ += x[0];
    }
  }

 private:
  Fault fault_;
  mutable double hidden_ = 0;
};

class FaultyMixer : public SequenceMixer {
 public:
  explicit FaultyMixer(const Fault& fault) : fault_(fault) {}
  Tensor forward(Forward& f, const Tensor& x) const override {
    if (fault_.returns_no_tensor) return {};
    if (fault_.throws_a_number) throw 7;
    // x is read twice, so that one of the two gradients must be added to the other.
    const Tensor twice = f.graph().add(std::make_unique<FaultyDouble>(x, fault_))[0];
    return add(f.graph(), twice, x);
  }
  Tensor forward_rows(Forward& f, const Tensor& x, Index labels) const override {
    const Tensor rows = SequenceMixer::forward_rows(f, x, labels);
    return fault_.rows_differ ? add(f.graph(), rows, rows) : rows;
  }
  std::unique_ptr<Decoder> decoder(const HostParameters&, Index) const override {
    return fault_.has_no_decoder ? nullptr : std::make_unique<FaultyDecoder>(fault_);
  }
  std::optional<double> published_state_size(Index) const override { return std::nullopt; }
  Traits traits() const override {
    return {true, true, fault_.lies_about_accuracy ? 0.9 : 0.0, 1.0, fault_.settles_after};
  }

 private:
  Fault fault_;
};

MixerEntry entry_with(const Fault& fault) {
  return {"A mixer with a fault.",
          [fault](const MixerContext&, Options& options, ParameterDeclarer& declarer) {
            if (fault.declares_what_nothing_reads) declarer.weight("idle", {3}, constant(1));
            if (fault.swallows_options)
              for (const auto& [key, value] : Values(options.given()))
                options.integer(key, 0, INT64_MIN, INT64_MAX);
            return std::make_unique<FaultyMixer>(fault);
          }};
}

/// The numbers of the obligations that fail.
std::vector<int> failures(const Fault& fault) {
  std::vector<int> numbers;
  for (const Obligation& o :
       check_obligations("liar", entry_with(fault), {}, {1, 2, 6, false, true}))
    if (o.failed()) numbers.push_back(o.number);
  return numbers;
}

bool contains(const std::vector<int>& numbers, int wanted) {
  return std::find(numbers.begin(), numbers.end(), wanted) != numbers.end();
}

TEST(Liars, TheHonestOneIsNotAccused) {
  EXPECT_EQ(failures({}), std::vector<int>());
}

TEST(Liars, AWindowThatFillsWhenItSaysIsNotAccused) {
  EXPECT_EQ(failures({.window = 700, .settles_after = 700}), std::vector<int>());
}

TEST(Liars, AllThatMakesOtherBitsIsNamed) {
  std::string detail;
  const Fault fault{.depends_on_replica = true, .depends_on_threads = true};
  for (const Obligation& o :
       check_obligations("liar", entry_with(fault), {}, {1, 2, 6, false, true}))
    if (o.number == 7) detail = o.detail;
  EXPECT_EQ(detail, "other bits on three threads, in a population of three");
}

TEST(Liars, OneThatThrowsOnManyThreadsLeavesTheirNumberAsItWas) {
  const int before = threads();
  EXPECT_TRUE(contains(failures({.throws_on_threads = true}), 7));
  EXPECT_EQ(threads(), before);
}

TEST(Liars, OneThatThrowsInPoisonedMemoryLeavesTheNextCleanMemory) {
  EXPECT_TRUE(contains(failures({.throws_in_poisoned_memory = true}), 5));
  EXPECT_FALSE(memory_poisoning());
}

struct Liar {
  const char* name;
  Fault fault;
  int caught_by;
};

class Liars : public ::testing::TestWithParam<Liar> {};

TEST_P(Liars, IsCaughtByTheObligationForIt) {
  EXPECT_TRUE(contains(failures(GetParam().fault), GetParam().caught_by));
}

INSTANTIATE_TEST_SUITE_P(
    All, Liars,
    ::testing::Values(Liar{"DecoderDiffers", {.decoder_differs = true}, 1},
                      Liar{"AddsToOutputs", {.adds_to_outputs = true}, 1},
                      Liar{"RowsDiffer", {.rows_differ = true}, 1},
                      Liar{"ReturnsNoTensor", {.returns_no_tensor = true}, 1},
                      Liar{"HasNoDecoder", {.has_no_decoder = true}, 1},
                      Liar{"ThrowsANumber", {.throws_a_number = true}, 2},
                      Liar{"WrongGradient", {.wrong_gradient = true}, 2},
                      Liar{"ForgetsToAccumulate", {.forgets_to_accumulate = true}, 2},
                      Liar{"DeclaresWhatNothingReads", {.declares_what_nothing_reads = true}, 2},
                      Liar{"PeeksAhead", {.peeks_ahead = true}, 3},
                      Liar{"ReadsUnwrittenMemory", {.reads_unwritten = true}, 5},
                      Liar{"HidesState", {.hides_state = true}, 6},
                      Liar{"LiesAboutGrowth", {.lies_about_growth = true}, 6},
                      Liar{"CountersGrow", {.counters_grow = true}, 6},
                      Liar{"FillsAWindowThatItHides", {.window = 600}, 6},
                      Liar{"FillsItsWindowLater", {.window = 700, .settles_after = 600}, 6},
                      Liar{"SettlesAfterMoreThanIsSeen", {.settles_after = 1 << 20}, 6},
                      Liar{"DependsOnReplica", {.depends_on_replica = true}, 7},
                      Liar{"DependsOnThreads", {.depends_on_threads = true}, 7},
                      Liar{"SwallowsOptions", {.swallows_options = true}, 8}),
    [](const auto& info) { return info.param.name; });

/// Honest at its defaults; with a second head its gradient is wrong.
MixerEntry wrong_with_two_heads() {
  return {"A mixer with a rare fault.",
          [](const MixerContext& context, Options& options, ParameterDeclarer&) {
            const Index heads = options.integer("num_heads", 1, 1, context.d_model);
            if (context.d_model % heads != 0) options.reject("num_heads", "must divide d_model");
            return std::make_unique<FaultyMixer>(Fault{.wrong_gradient = heads == 2});
          }};
}

TEST(Liars, AFaultOfFewConfigurationsIsCaughtByRandomOnes) {
  const MixerEntry entry = wrong_with_two_heads();
  int caught = 0;
  for (std::uint32_t number = 0; number < 25; ++number) {
    const RandomConfiguration drawn = random_configuration("liar", entry, number);
    const bool wrong = drawn.options.at("num_heads") == Value(std::int64_t{2});
    for (const Obligation& o :
         check_obligations("liar", entry, drawn.options, drawn.context, drawn.sizes))
      EXPECT_EQ(o.failed(), wrong && o.number == 2) << drawn.text() << ": " << o.name;
    caught += wrong;
  }
  EXPECT_GE(caught, 1);
}

TEST(Liars, AMixerThatRefusesEverythingIsNotPassedOver) {
  const MixerEntry entry = {"A mixer that wants nothing.",
                            [](const MixerContext&, Options& options, ParameterDeclarer&) {
                              options.reject("num_heads", "is never right");
                              return std::unique_ptr<SequenceMixer>();
                            }};
  try {
    random_configuration("refuser", entry, 0);
    FAIL() << "a configuration was found";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("is never right"), std::string::npos) << error.what();
  }
}

TEST(Liars, MoreNumbersThanCanBeCountedAreAUsageError) {
  const MixerEntry entry = {"A mixer of endless width.",
                            [](const MixerContext&, Options&, ParameterDeclarer& d) {
                              d.weight("wide", {Index{1} << 40, Index{1} << 40}, constant(0));
                              return std::unique_ptr<SequenceMixer>();
                            }};
  try {
    make_mixer("wide", entry, {}, {1, 2, 6, false, true});
    FAIL() << "it was made";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
  }
}

Obligation tiny_mqar_of(const std::string& name, const Fault& fault) {
  const MixerEntry entry = entry_with(fault);
  mixer_registry().add(name, entry);
  return check_tiny_mqar(name, entry, {}, false);
}

TEST(Liars, AnAccuracyThatIsNotReachedIsCaught) {
  const Obligation o = tiny_mqar_of("liar_about_accuracy", {.lies_about_accuracy = true});
  EXPECT_TRUE(o.failed()) << o.detail;
}

TEST(Liars, ALossThatIsNotFiniteIsCaught) {
  const Obligation o = tiny_mqar_of("liar_that_overflows", {.overflows_in_training = true});
  EXPECT_TRUE(o.failed()) << o.detail;
  EXPECT_NE(o.detail.find("not finite at step 0"), std::string::npos) << o.detail;
}

TEST(Liars, WhatIsThrownInTrainingFailsThatObligation) {
  const Obligation o = tiny_mqar_of("liar_that_throws", {.throws_in_training = true});
  EXPECT_EQ(o.number, 9);
  EXPECT_TRUE(o.failed()) << o.detail;
}

}  // namespace
}  // namespace recallbench
