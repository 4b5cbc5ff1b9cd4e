// Which views skip_gate takes: threads of a GPU must not meet in one place of a gradient.
#include "kernels/skip_gate/skip_gate.h"

#include <gtest/gtest.h>

#include "tests/base/expect_error.h"

namespace recallbench {
namespace {

TEST(SkipGate, RefusesViewsThatShareSomeColumns) {
  Parameters parameters({}, DType::f32, 1);
  Graph graph(parameters, true);
  const Tensor all = graph.input({1, 5, 9}, true), skip = graph.input({1, 1, 3}, true);
  const auto part = [&](Index first) { return all.columns(first, 3); };
  skip_gate(graph, part(0), part(3), skip, part(6));
  skip_gate(graph, part(0), part(0), skip, part(3));
  EXPECT_ERROR(skip_gate(graph, part(0), part(2), skip, part(6)), ErrorKind::internal,
               "share some");
  EXPECT_ERROR(skip_gate(graph, part(6), part(3), skip, part(4)), ErrorKind::internal,
               "share some");
  EXPECT_ERROR(skip_gate(graph, part(4), part(0), skip, part(6)), ErrorKind::internal,
               "share some");
}

}  // namespace
}  // namespace recallbench
