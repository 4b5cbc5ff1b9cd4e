#include "sweeps/config/expand.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "kernels/base/names.h"
#include "sweeps/config/variables.h"

namespace recallbench {
namespace {

constexpr std::int64_t kMostValues = 100'000'000;  // of all runs
constexpr std::int64_t kUsualValues = 200;         // of a run

/// All values that each variable can take.
using Scope = std::map<std::string, std::vector<const Node*>>;
using Names = std::set<std::string>;

/// `a` x `b`, or a bound that no sweep reaches.
std::int64_t saturating_product(std::int64_t a, std::int64_t b) {
  constexpr std::int64_t kHuge = 1'000'000'000'000'000'000;
  std::int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) || product > kHuge ? kHuge : product;
}

std::int64_t saturating_sum(std::int64_t a, std::int64_t b) {
  return std::min(a, INT64_MAX - b) + b;
}

/// Numbers, strings, lists and tables in `node`, with itself.
std::int64_t count_values(const Node& node) {
  std::int64_t count = 1;
  if (const auto* list = node.get<List>())
    for (const Node& item : *list)
      count += count_values(item);
  if (const auto* table = node.get<Table>())
    for (const Entry& entry : table->entries)
      count += count_values(entry.value);
  return count;
}

void overlay(Table& table, const Table& top) {
  for (const Entry& entry : top.entries)
    table.set(entry.key, entry.place, entry.value);
}

/// The entry `key` of `run` as a table, made where it is missing. Null where a variable or a wrong
/// value stands there.
Table* table_in(Table& run, const std::string& key, const Place& place) {
  if (run.find(key) == nullptr) run.set(key, place, {Table{}, place});
  return run.find(key)->get<Table>();
}

void overlay_in(Table& run, const std::string& key, const Place& place, const Table& top) {
  if (top.entries.empty()) return;
  Table* table = table_in(run, key, place);
  if (table == nullptr)
    fail_at(run.find(key)->place, "'{}' must be a table here, since keys are laid over it", key);
  overlay(*table, top);
}

std::int64_t count_chosen(const Plan& plan) {
  return std::count_if(plan.models.begin(), plan.models.end(),
                       [](const ModelPlan& model) { return model.chosen; });
}

/// The models that the recipe or an override does not fit.
class Misfits {
 public:
  explicit Misfits(const Plan& plan) : plan_(plan) {}

  bool empty() const { return names_.empty(); }

  /// Calls `action`, which is about this model. Its error ends everything where nothing is
  /// overridden; else other models may have the same one, and are looked at first.
  template <class Action>
  void watch(const ModelPlan& model, const Action& action) {
    try {
      action();
    } catch (const Error& error) {
      if (names_.empty()) first_ = error;
      names_.push_back(in_quotes(model.name));
      if (plan_.overridden.empty()) throw_if_any();
    }
  }

  /// Throws the first error, and says which of several models it is about, where not all.
  void throw_if_any() const {
    constexpr std::size_t kMostNames = 8;
    if (names_.empty()) return;
    const std::int64_t all = count_chosen(plan_);
    if (all == 1 || (all == std::ssize(names_) && !plan_.overridden.empty())) throw first_;
    std::vector<std::string> shown = names_;
    shown.resize(std::min(shown.size(), kMostNames));
    const std::size_t more = names_.size() - shown.size();
    throw Error(first_.kind(), fmt::format("{} (model{} {}{})", first_.what(),
                                           names_.size() == 1 ? "" : "s", fmt::join(shown, ", "),
                                           more == 0 ? "" : fmt::format(" and {} more", more)));
  }

 private:
  const Plan& plan_;
  Error first_{ErrorKind::usage, ""};
  std::vector<std::string> names_;
};

class Expansion {
 public:
  using Visit = std::function<void(const std::string&, const Node&)>;

  explicit Expansion(const Plan& plan) : plan_(plan) {
    for (std::size_t i = 0; i < plan.overrides.size(); ++i) {
      const PathOverride& change = plan.overrides[i];
      if (change.values.size() == 1) {
        override_values_.push_back(change.values[0]);
        continue;
      }
      const std::string name = "override." + std::to_string(i);
      override_values_.push_back({"$" + name, change.place});
      override_axes_.push_back({name, change.place, change.values});
    }
  }

  void run(std::int64_t max_runs, const Visit& visit) {
    check_count(saturating_product(count_chosen(plan_), n_cases()), max_runs);
    Misfits misfits(plan_);
    std::vector<Live> live;
    for (const ModelPlan& model : plan_.models)
      misfits.watch(model, [&] {
        use_variables(model);
        if (model.chosen) live.push_back({&model, live_axes(model)});
      });
    if (misfits.empty()) check_cases_used();
    std::int64_t count = 0;
    for (const Live& one : live)
      count = saturating_sum(count, count_runs(one));
    check_count(count, max_runs);
    check_size(live, std::max(kMostValues, saturating_product(kUsualValues, max_runs)));
    for (const Live& one : live)
      misfits.watch(*one.model, [&] { visit_model(*one.model, one.axes, visit); });
    misfits.throw_if_any();
  }

 private:
  /// A chosen model and the axes that it is run over.
  struct Live {
    const ModelPlan* model;
    std::vector<const Axis*> axes;
  };

  std::int64_t count_runs(const Live& one) const {
    std::int64_t product = n_cases();
    for (const Axis* axis : one.axes)
      product = saturating_product(product, static_cast<std::int64_t>(axis->values.size()));
    return product;
  }

  /// A bound on runs alone leaves open what they take in memory.
  void check_size(const std::vector<Live>& live, std::int64_t most) const {
    std::int64_t together = 0;
    for (const Live& one : live) {
      const Scope scope = scope_of(*one.model, 0);
      std::int64_t size = count_values(template_of(*one.model, 0, scope));
      for (const auto& [name, values] : scope)
        size += count_values(*values[0]);
      const std::int64_t runs = count_runs(one);
      together = saturating_sum(together, saturating_product(size, runs));
      if (together > most)
        fail_at(
            plan_.place,
            "{} runs of some {} values each are too many; runs have at most {} values together, "
            "so shorten a list",
            runs, size, most);
    }
  }

  std::int64_t n_cases() const {
    return std::max<std::int64_t>(1, static_cast<std::int64_t>(plan_.cases.size()));
  }
  const CasePlan* case_at(std::int64_t c) const {
    return plan_.cases.empty() ? nullptr : &plan_.cases[static_cast<std::size_t>(c)];
  }

  void check_count(std::int64_t count, std::int64_t max_runs) const {
    if (count > max_runs)
      fail_at(plan_.place,
              "the product of models, cases and grids is {}{} runs, and at most {} are allowed; "
              "shorten a list, or raise --max-runs",
              count >= 1'000'000'000'000'000'000 ? "at least " : "", count, max_runs);
  }

  Scope scope_of(const ModelPlan& model, std::int64_t c) const {
    Scope scope;
    for (const auto* axes : {&model.grid, &plan_.grid, &override_axes_})
      for (const Axis& axis : *axes)
        for (const Node& value : axis.values)
          scope[axis.name].push_back(&value);
    if (const CasePlan* one = case_at(c))
      for (const Entry& entry : one->variables.entries)
        scope[entry.key].push_back(&entry.value);
    return scope;
  }

  /// Base, case and model laid over one another; variables still in it.
  Node template_of(const ModelPlan& model, std::int64_t c, const Scope& scope) const {
    Table run = plan_.base;
    if (const CasePlan* one = case_at(c))
      for (const Entry& entry : one->tables.entries)
        overlay_in(run, entry.key, entry.place, *entry.value.get<Table>());
    overlay_in(run, "model", model.place, model.keys);
    if (const auto seed = scope.find("seed"); seed != scope.end() && run.find("seed") == nullptr) {
      const Place& place = seed->second[0]->place;
      run.set("seed", place, {std::string("$seed"), place});
    }
    Node node{std::move(run),
              plan_.base.entries.empty() ? plan_.place : plan_.base.entries[0].place};
    return node;
  }

  void apply_overrides(Table& run, const Bindings* bindings) const {
    for (std::size_t i = 0; i < plan_.overrides.size(); ++i) {
      const Node& value = override_values_[i];
      set_path(run, plan_.overrides[i], bindings == nullptr ? value : substitute(value, *bindings),
               bindings == nullptr);
    }
  }

  /// The variables that `node` refers to, directly or through the values of others.
  static Names names_in(const Node& node, const Scope& scope) {
    std::vector<std::pair<std::string, Place>> open;
    collect_references(node, open);
    Names names;
    for (std::size_t i = 0; i < open.size(); ++i) {
      const auto [name, place] = open[i];
      const auto found = scope.find(name);
      if (found == scope.end()) fail_undeclared(name, place, scope);
      if (!names.insert(name).second) continue;
      for (const Node* value : found->second)
        collect_references(*value, open);
    }
    return names;
  }

  [[noreturn]] static void fail_undeclared(const std::string& name, const Place& place,
                                           const Scope& scope) {
    std::vector<std::string> known;
    for (const auto& [variable, values] : scope)
      if (is_variable_name(variable)) known.push_back(variable);
    fail_at(place, "variable '{}' is not declared in [sweep.grid], the cases or the model's grid{}",
            name, hint_for(name, known));
  }

  /// Adds the variables that this model refers to, before overrides. It must use all its own.
  void use_variables(const ModelPlan& model) {
    Names names;
    for (std::int64_t c = 0; c < n_cases(); ++c) {
      const Scope scope = scope_of(model, c);
      names.merge(names_in(template_of(model, c, scope), scope));
    }
    used_.insert(names.begin(), names.end());
    for (const Axis& axis : model.grid)
      if (names.count(axis.name) == 0) fail_unused(axis.name, axis.place);
    for (const Axis& axis : plan_.grid)
      if (names.count(axis.name) == 0) fail_unused_by(model, axis);
  }

  /// The axes that this model is run over. One that only overridden keys referred to is left out.
  std::vector<const Axis*> live_axes(const ModelPlan& model) const {
    Names names;
    for (std::int64_t c = 0; c < n_cases(); ++c) {
      const Scope scope = scope_of(model, c);
      Node node = template_of(model, c, scope);
      apply_overrides(*node.get<Table>(), nullptr);
      names.merge(names_in(node, scope));
    }
    std::vector<const Axis*> axes;
    for (const auto* grid : {&model.grid, &plan_.grid})
      for (const Axis& axis : *grid)
        if (names.count(axis.name) != 0) axes.push_back(&axis);
    for (const Axis& axis : override_axes_)
      axes.push_back(&axis);
    // The model's grid is outside the cases, all else inside.
    return axes;
  }

  [[noreturn]] void fail_unused(const std::string& name, const Place& place) const {
    if (name == "seed" && plan_.base.find("seed") != nullptr)
      fail_at(place,
              "the variable 'seed' clashes with the key 'seed' of the top level, which would "
              "decide alone; drop one of the two");
    fail_at(place, "variable '{}' is never used; write \"${}\" where it belongs, or drop it", name,
            name);
  }

  [[noreturn]] void fail_unused_by(const ModelPlan& model, const Axis& axis) const {
    const bool is_clash = axis.name == "seed" && plan_.base.find("seed") != nullptr;
    if (model.name.empty() || plan_.models.size() == 1 || is_clash)
      fail_unused(axis.name, axis.place);
    fail_at(axis.place,
            "variable '{}' is not used by model '{}', whose runs would be repeated; declare it in "
            "the grids of the models that use it",
            axis.name, model.name);
  }

  void check_cases_used() const {
    if (plan_.cases.empty()) return;
    for (const Entry& entry : plan_.cases[0].variables.entries)
      if (used_.count(entry.key) == 0) fail_unused(entry.key, entry.place);
  }

  void visit_model(const ModelPlan& model, const std::vector<const Axis*>& axes,
                   const Visit& visit) const {
    std::vector<Node> templates;
    for (std::int64_t c = 0; c < n_cases(); ++c) {
      templates.push_back(template_of(model, c, scope_of(model, c)));
      apply_overrides(*templates.back().get<Table>(), nullptr);
    }
    // Digits of an odometer, slowest first: the model's axes, the case, the other axes.
    std::size_t case_digit = 0;
    while (case_digit < axes.size() && is_of(model, *axes[case_digit]))
      ++case_digit;
    std::vector<std::size_t> digits(axes.size() + 1, 0);
    const auto size_of = [&](std::size_t d) {
      if (d == case_digit) return templates.size();
      return axes[d < case_digit ? d : d - 1]->values.size();
    };
    for (bool more = true; more;) {
      Bindings bindings;
      for (std::size_t a = 0; a < axes.size(); ++a)
        bindings[axes[a]->name] = &axes[a]->values[digits[a < case_digit ? a : a + 1]];
      const std::size_t c = digits[case_digit];
      if (const CasePlan* one = case_at(static_cast<std::int64_t>(c)))
        for (const Entry& entry : one->variables.entries)
          bindings[entry.key] = &entry.value;
      Node run = substitute(templates[c], bindings);
      apply_overrides(*run.get<Table>(), &bindings);
      visit(model.name, run);
      more = false;
      for (std::size_t d = digits.size(); d-- > 0 && !more;) {
        more = ++digits[d] < size_of(d);
        if (!more) digits[d] = 0;
      }
    }
  }

  static bool is_of(const ModelPlan& model, const Axis& axis) {
    return std::any_of(model.grid.begin(), model.grid.end(),
                       [&](const Axis& own) { return &own == &axis; });
  }

  const Plan& plan_;
  std::vector<Node> override_values_;  // of each override; a reference where it is an axis
  std::vector<Axis> override_axes_;
  Names used_;  // by any model, before overrides
};

}  // namespace

void expand(const Plan& plan, std::int64_t max_runs,
            const std::function<void(const std::string&, const Node&)>& visit) {
  Expansion(plan).run(max_runs, visit);
}

}  // namespace recallbench
