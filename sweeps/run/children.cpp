#include "sweeps/run/children.h"

#include <signal.h>

#include <algorithm>

namespace recallbench {
namespace {

bool has_child(const Children& children, int gpu, Running::Turn turn) {
  return std::any_of(children.begin(), children.end(), [&](const auto& entry) {
    return entry.second.gpu == gpu && entry.second.turn == turn;
  });
}

}  // namespace

bool gpu_is_free(const Children& children, int gpu) {
  return !has_child(children, gpu, Running::Turn::now);
}

std::int64_t runs_in_turn(const Children& children) {
  std::int64_t runs = 0;
  for (const auto& [key, child] : children)
    if (child.turn == Running::Turn::now) runs += std::ssize(child.jobs);
  return runs;
}

int threads_of(const Children& children) {
  int sum = 0;
  for (const auto& [key, child] : children)
    sum += child.threads;
  return sum;
}

void stop_child(const Running& child) {
  kill(child.child.pid, child.turn == Running::Turn::ahead ? SIGKILL : SIGTERM);
}

void stop_children(const Children& children) {
  for (const auto& [key, child] : children)
    stop_child(child);
}

void kill_children(const Children& children) {
  for (const auto& [key, child] : children)
    kill(child.child.pid, SIGKILL);
}

std::optional<Place> next_place(const Children& children, const std::vector<int>& gpus) {
  for (const bool waits : {false, true})
    for (const int gpu : gpus)
      if (!has_child(children, gpu, Running::Turn::ahead) && (waits || gpu_is_free(children, gpu)))
        return Place{gpu, waits};
  return std::nullopt;
}

std::vector<int> children_to_recall(const Children& children, const std::vector<int>& gpus) {
  const auto free =
      std::count_if(gpus.begin(), gpus.end(), [&](int gpu) { return gpu_is_free(children, gpu); });
  const auto recalled = std::count_if(children.begin(), children.end(),
                                      [](const auto& entry) { return entry.second.recalled; });
  std::vector<int> keys;
  for (const auto& [key, child] : children)
    if (child.turn == Running::Turn::ahead && !child.recalled &&
        recalled + static_cast<std::ptrdiff_t>(keys.size()) < free)
      keys.push_back(key);
  return keys;
}

}  // namespace recallbench
