#include "kernels/graph/batch_copy.h"

#include <vector>

#include "kernels/tensor/device_copy.h"

namespace recallbench {
namespace {

/// Collects arrays, then lays them side by side in a device's memory.
class Packer {
 public:
  template <class T>
  void add(const T* data, std::size_t count) {
    pieces_.push_back({data, data == nullptr ? 0 : count * sizeof(T)});
    bytes_ += align_up(pieces_.back().bytes);
  }
  void copy_to(Arena& memory) {
    memory.reserve(bytes_);
    std::byte* place = memory.data();
    for (Piece& piece : pieces_) {
      copy_to_device(memory.device(), place, piece.data, piece.bytes);
      piece.data = piece.bytes == 0 ? nullptr : place;
      place += align_up(piece.bytes);
    }
  }
  template <class T>
  const T* at(std::size_t i) const {
    return static_cast<const T*>(pieces_[i].data);
  }

 private:
  struct Piece {
    const void* data;
    std::size_t bytes;
  };
  std::vector<Piece> pieces_;
  std::size_t bytes_ = 0;
};

}  // namespace

Batch batch_on_device(const Batch& host, Index replicas, Arena& memory) {
  if (memory.device() == Device::cpu) return host;
  const auto rows = static_cast<std::size_t>(replicas * host.examples);
  const auto tokens = rows * static_cast<std::size_t>(host.length);
  const auto labels = rows * static_cast<std::size_t>(host.labels);
  Packer packer;
  packer.add(host.tokens, tokens);
  packer.add(host.positions, labels);
  packer.add(host.targets, labels);
  packer.add(host.weights, labels);
  packer.add(host.seeds.data(), host.seeds.size());
  packer.add(&host.step, 1);
  packer.copy_to(memory);
  Batch batch = host;
  batch.tokens = packer.at<std::int32_t>(0);
  batch.positions = packer.at<std::int32_t>(1);
  batch.targets = packer.at<std::int32_t>(2);
  batch.weights = packer.at<float>(3);
  batch.device_seeds = packer.at<std::uint64_t>(4);
  batch.device_step = packer.at<std::uint32_t>(5);
  return batch;
}

}  // namespace recallbench
