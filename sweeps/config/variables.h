#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sweeps/config/node.h"

namespace recallbench {

/// `"$name"`, `"$name/4"` or `"$name*2"` in the place of a value.
struct Reference {
  std::string name;
  char operation = 0;  ///< 0, '*' or '/'
  std::int64_t operand = 1;
};

/// The reference that a node is, if it is a string that begins with `$`; anything else after the
/// `$` than the three forms is an error at the node's place.
std::optional<Reference> as_reference(const Node& node);

/// Every reference inside `node`, with its place, in order.
void collect_references(const Node& node, std::vector<std::pair<std::string, Place>>& found);

/// Letters, digits and underscores, not beginning with a digit.
bool is_variable_name(const std::string& name);

/// What the variables of one run stand for.
using Bindings = std::map<std::string, const Node*>;

/// A copy of `node` with every reference replaced. Values may refer to further variables. `/` must
/// divide integers exactly; arithmetic on anything but numbers, an undeclared name, a cycle and a
/// result of more than 100,000 values are errors at their place.
Node substitute(const Node& node, const Bindings& bindings);

}  // namespace recallbench
