#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/io/stored_array.h"

namespace recallbench {

using Metadata = std::map<std::string, std::string>;

/// The content of a .safetensors file, checked as a whole before anything of it can be had: header
/// length, UTF-8, unique names, known types, and data that the tensors cover from the first byte
/// to the last without hole or overlap.
class Safetensors {
 public:
  /// Throws Error(kind) on anything that the format does not allow.
  static Safetensors parse(std::string bytes, const std::string& source,
                           ErrorKind kind = ErrorKind::io);
  /// read_file and parse.
  static Safetensors read(const std::string& path, std::uint64_t max_bytes,
                          ErrorKind kind = ErrorKind::io);

  /// In alphabetical order.
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const { return entries_.count(name) != 0; }
  /// A view, valid while this lives unmoved; an unknown name is an error that lists the known.
  StoredArray at(const std::string& name) const;
  const Metadata& metadata() const { return metadata_; }
  const std::string& source() const { return source_; }

 private:
  struct Entry {
    StoredType type;
    std::vector<std::int64_t> shape;
    std::uint64_t begin, end;  // within the data
  };
  friend class SafetensorsParser;

  std::string bytes_;
  std::uint64_t data_ = 0;  // offset of the data
  std::string source_;
  ErrorKind kind_ = ErrorKind::io;
  std::map<std::string, Entry> entries_;
  Metadata metadata_;
};

/// The file with these tensors, byte for byte as the format's own library writes it: by falling
/// StoredType (large elements first), then by name; header padded with spaces to a multiple of 8.
/// Two tensors of one name are an Error(internal).
std::string safetensors_bytes(std::span<const StoredArray> tensors, const Metadata& metadata = {});

/// Publishes the same, without holding the data twice.
void write_safetensors(const std::string& path, std::span<const StoredArray> tensors,
                       const Metadata& metadata = {});

}  // namespace recallbench
