#pragma once

#include "kernels/graph/batch.h"
#include "kernels/tensor/matrix.h"

namespace recallbench {

/// y[r, i] = table[r, tokens[r, i]]: tokens [R, rows], table [R, V, D], y [R, rows, D].
template <class T>
void embedding_cpu(const std::int32_t* tokens, const Batched<T>& table, const Batched<T>& y);
/// Rows are added up in the order of the batch, whatever the number of threads.
template <class T>
void embedding_backward_cpu(const std::int32_t* tokens, const Batched<T>& dy,
                            const Gradient<T>& dtable);

/// The batch has as many tokens as were recorded, `rows`, or an Error of `who`.
void check_tokens(const char* who, const Batch& batch, Index rows);

}  // namespace recallbench
