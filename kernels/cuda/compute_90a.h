#pragma once

namespace recallbench {

/// Whether code for compute 9.0 alone, which has wgmma, is in this program and the chosen GPU runs
/// it. Sources with such code are compiled with RECALLBENCH_SM90A where that architecture is asked
/// for.
bool cuda_has_wgmma();

}  // namespace recallbench
