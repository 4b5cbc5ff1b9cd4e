#pragma once

#include "kernels/label_cross_entropy/label_cross_entropy_cuda.h"

namespace recallbench {

/// label_cross_entropy without logits in memory, on tensor cores with 16-bit operands and float32
/// sums: bfloat16 under Precision::bf16; under tf32 float16, which keeps as many bits as tf32, of
/// numbers that are brought into its range by a power of two for each of h and the table.
/// First row_loss, correct and dh.
void fused_head_rows_cuda(const CudaCall& call, const LabelCrossEntropyOnDevice& a);
/// Then dtable, from what the rows left in the scratch; h and the table are not read again.
void fused_head_table_cuda(const CudaCall& call, const LabelCrossEntropyOnDevice& a);

/// Whether it serves such a call: at most 256 columns, so that results stay in registers, and of
/// more than 128 columns only where a block may have 129 KB of shared memory.
bool fused_head_fits(Precision precision, Index cols);

/// What `a.scratch` holds, in numbers; 0 for widths that it does not serve.
Index fused_head_scratch(Index replicas, Index rows, Index vocab, Index cols);

}  // namespace recallbench
