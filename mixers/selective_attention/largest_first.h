#pragma once

#include <cstdint>

#include "kernels/tensor/matrix.h"

namespace recallbench {

/// Puts the k largest of n shares first. Of equal ones it takes those that torch.topk takes on a
/// CPU (ATen/native/TopKImpl.h), whose choice is that of GCC's standard library: of
/// std::partial_sort where 64 k <= n, of std::nth_element elsewhere (bits/stl_algo.h,
/// bits/stl_heap.h). C++ leaves the choice open, so their steps stand here, but for those that only
/// sort the first k. All is constexpr: a CPU and a GPU run the same code.
template <class T>
class LargestFirst {
 public:
  /// The share of token t is shares[t * stride].
  constexpr LargestFirst(const T* shares, Index stride, std::int32_t* order)
      : shares_(shares), stride_(stride), order_(order) {}

  /// `order` holds 0 .. n - 1; afterwards its first k are the tokens of the largest shares, in no
  /// order. 1 <= k <= n.
  constexpr void select(Index n, Index k) {
    if (64 * k <= n)
      heap_select(0, k, n);
    else
      introselect(k, n);
  }

 private:
  constexpr bool larger(std::int32_t a, std::int32_t b) const {
    return shares_[a * stride_] > shares_[b * stride_];
  }
  constexpr void swap(Index i, Index j) {
    const std::int32_t token = order_[i];
    order_[i] = order_[j];
    order_[j] = token;
  }

  /// Introselect (Musser, Introspective sorting and selection algorithms, 1997): partitions until
  /// the k-th place is one of three, which are sorted; after 2 floor(log2 n) partitions, a heap.
  constexpr void introselect(Index k, Index n) {
    int partitions = 0;
    for (Index size = n; size > 1; size /= 2)
      partitions += 2;
    Index first = 0, last = n;
    for (; last - first > 3; --partitions) {
      if (partitions == 0) return heap_select(first, k, last);
      const Index cut = partition(first, last);
      (cut < k ? first : last) = cut;
    }
    insertion_sort(first, last);
  }

  /// Partition (Hoare, Algorithm 63, 1961) of places first .. last - 1 by the median of three,
  /// which waits in `first`: no share before the place returned is smaller than one from there on.
  /// A share equal to the pivot stops both walks, so that none leaves the range.
  constexpr Index partition(Index first, Index last) {
    swap(first, median(first + 1, first + (last - first) / 2, last - 1));
    const std::int32_t pivot = order_[first];
    Index low = first + 1, high = last - 1;
    while (true) {
      while (larger(order_[low], pivot))
        ++low;
      while (larger(pivot, order_[high]))
        --high;
      if (low >= high) return low;
      swap(low++, high--);
    }
  }

  /// The place of the middle share of three.
  constexpr Index median(Index i, Index j, Index k) const {
    const std::int32_t a = order_[i], b = order_[j], c = order_[k];
    if (larger(a, b)) return larger(b, c) ? j : larger(a, c) ? k : i;
    return larger(a, c) ? i : larger(b, c) ? k : j;
  }

  constexpr void insertion_sort(Index first, Index last) {
    for (Index i = first + 1; i < last; ++i) {
      const std::int32_t token = order_[i];
      Index hole = i;
      for (; hole > first && larger(token, order_[hole - 1]); --hole)
        order_[hole] = order_[hole - 1];
      order_[hole] = token;
    }
  }

  /// Makes places first .. middle - 1 a heap, a smallest share on top; each share in the places up
  /// to last - 1 that is larger takes the place of the top.
  constexpr void heap_select(Index first, Index middle, Index last) {
    std::int32_t* const heap = order_ + first;
    const Index size = middle - first;
    for (Index i = size / 2 - 1; i >= 0; --i)
      put_below(heap, size, i, heap[i]);
    for (Index i = middle; i < last; ++i) {
      const std::int32_t token = order_[i];
      if (!larger(token, heap[0])) continue;
      order_[i] = heap[0];
      put_below(heap, size, 0, token);
    }
  }

  /// Puts a token into the heap at or below place `top`, which is free (Floyd, Treesort 3, 1964,
  /// down to a leaf first): the free place goes down by way of the smaller child, of equal ones the
  /// right, then up while the share above is larger than the token's.
  constexpr void put_below(std::int32_t* heap, Index size, Index top, std::int32_t token) const {
    Index hole = top;
    for (Index child = 2 * hole + 2; child <= size; child = 2 * hole + 2) {
      if (child == size || larger(heap[child], heap[child - 1])) --child;
      heap[hole] = heap[child];
      hole = child;
    }
    for (Index parent = (hole - 1) / 2; hole > top && larger(heap[parent], token);
         parent = (hole - 1) / 2) {
      heap[hole] = heap[parent];
      hole = parent;
    }
    heap[hole] = token;
  }

  const T* shares_;
  Index stride_;
  std::int32_t* order_;
};

}  // namespace recallbench
