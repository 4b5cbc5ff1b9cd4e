#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mixers/model.h"

namespace recallbench {

/// What `recallbench forward` is asked for.
struct ForwardRequest {
  std::string model;    ///< model.toml
  std::string weights;  ///< .safetensors, under the reference's state_dict names
  std::string inputs;   ///< .npy, integers [B, L]
  std::string labels;   ///< .npy, integers [B, L], -100 where nothing is asked; "" for none
  std::string out;      ///< folder to write to
  std::int64_t train_steps = 0;  ///< AdamW steps on this one batch, dropout off
  double lr = 1e-2, weight_decay = 0.1;
  Device device = Device::cpu;
};

/// Runs given weights on a given batch in float32 and writes into `out`: `logits.npy`
/// [B, L, V] as in training without dropout, `logits_eval.npy` where a mixer evaluates otherwise,
/// `state_size.json`; with labels `loss.json` and `grads.safetensors`, both without auxiliary
/// losses; with train_steps `train_trace.json`, where a mixer has an auxiliary loss also of the
/// training that adds it. Returns their paths. Throws Error(usage) about anything in the files that
/// does not fit: missing, unknown or misshapen parameters are named.
std::vector<std::string> forward_model(const ForwardRequest& request);

/// Fills a model's parameters from a safetensors file, strictly: each must be there with its shape,
/// none may be left over. A tied `lm_head.weight` may stand beside the embedding that it equals.
void load_weights(Model& model, const std::string& path);

}  // namespace recallbench
