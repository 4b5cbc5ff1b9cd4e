#pragma once

#include <cstdint>

#include "mixers/use_mixer.h"

namespace recallbench {

/// Counts what a mixer declares, without memory for it.
class DeclareOnly : public ParameterDeclarer {
 public:
  Parameter declare(ParameterSpec spec) override {
    check_declaration(spec);
    numbers_ += static_cast<std::int64_t>(spec.rows()) * spec.cols();
    return {count_++};
  }
  std::int64_t numbers() const { return numbers_; }

 private:
  std::int64_t numbers_ = 0;
  int count_ = 0;
};

}  // namespace recallbench
