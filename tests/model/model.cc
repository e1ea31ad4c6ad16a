#include "tests/model/model_sync.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <tuple>
#include <vector>

namespace erlking::base {

// The structures' invariants fail the execution, with its history, instead of the program.
void check_failed(const char* what, const char* file, int line) noexcept {
  rl::ctx().fail_test(what, rl::test_result_user_assert_failed, rl::debug_info("", file, static_cast<unsigned>(line)));
  __builtin_unreachable();  // the execution's stack is never resumed
}

}  // namespace erlking::base

namespace erlking::model {

namespace {

auto key(const Site& site) { return std::tuple(std::string_view(site.file), site.line, site.op, site.order); }

std::uint64_t from_environment(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

std::vector<Site> sites_of(const Candidate& world) {
  weakening.begin_recording();
  const Outcome outcome = world.run(300, false);
  weakening.end_recording();
  EXPECT_TRUE(outcome.passed()) << world.name << ": " << outcome.what();
  std::vector<Site> sites;
  for (std::size_t i = 0; i < weakening.count(); ++i) sites.push_back(weakening[i]);
  return sites;
}

std::vector<std::memory_order> weaker(Op op, std::memory_order order) {
  using base::acq_rel, base::acquire, base::relaxed, base::release, base::seq_cst;
  if (op == Op::fence) return {relaxed};
  if (order == relaxed) return {};
  const bool reads = op == Op::load || op == Op::cas_failure;
  std::vector<std::memory_order> all;
  if (reads || op == Op::store) {
    if (order == seq_cst) all.push_back(reads ? acquire : release);
  } else {
    if (order == seq_cst) all.push_back(acq_rel);
    if (order == seq_cst || order == acq_rel) all.push_back(acquire), all.push_back(release);
  }
  all.push_back(relaxed);
  return all;
}

// Drops what the compiler says about template arguments from each line.
std::string readable(std::string history) {
  for (std::size_t at = 0; (at = history.find(" [with ", at)) != history.npos;) {
    history.erase(at, history.find("],", at) + 1 - at);
  }
  return history;
}

const char* base_name(const char* file) {
  const char* const slash = std::strrchr(file, '/');
  return slash == nullptr ? file : slash + 1;
}

}  // namespace

void Weakening::record(Op op, std::memory_order order, const Location& at) {
  for (std::size_t i = 0; i < count_; ++i) {
    const Site& s = sites_[i];
    if (s.line == at.line() && s.op == op && s.order == order && std::strcmp(s.file, at.file_name()) == 0) return;
  }
  if (count_ < kMaxSites) {
    sites_[count_++] = {at.file_name(), static_cast<unsigned>(at.line()), at.function_name(), op, order};
  }
}

void Weakening::end_recording() {
  recording_ = false;
  std::sort(sites_.begin(), sites_.begin() + static_cast<std::ptrdiff_t>(count_),
            [](const Site& a, const Site& b) { return key(a) < key(b); });
}

std::string short_name(const char* function) {
  std::string_view name(function);
  name = name.substr(0, name.find('('));
  const std::size_t colons = name.rfind("::");
  return std::string(colons == name.npos ? name : name.substr(colons + 2));
}

const char* name(Op op) {
  switch (op) {
    case Op::load:
      return "load";
    case Op::store:
      return "store";
    case Op::rmw:
      return "exchange";
    case Op::cas:
      return "CAS";
    case Op::cas_failure:
      return "failed CAS";
    case Op::fence:
      return "fence";
  }
  return "?";
}

const char* name(std::memory_order order) { return rl::format(relacy_order(order)); }

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::uint64_t first_execution() {
  static const std::uint64_t first = from_environment("ERLKING_MODEL_FIRST", 1);
  return first;
}
std::uint64_t factor() {
  static const std::uint64_t times = from_environment("ERLKING_MODEL_FACTOR", 1);
  return times;
}

testing::AssertionResult holds(const Outcome& outcome) {
  if (outcome.passed()) {
    std::printf("             %llu executions%s, %.2f s\n", static_cast<unsigned long long>(outcome.executions),
                outcome.complete ? " (all)" : "", outcome.seconds);
    return testing::AssertionSuccess();
  }
  return testing::AssertionFailure() << outcome.what() << " in execution " << outcome.executions
                                     << "; replay with ERLKING_MODEL_FIRST=" << outcome.executions << "\n"
                                     << readable(outcome.history);
}

testing::AssertionResult holds_throughout(const Outcome& outcome) {
  testing::AssertionResult result = holds(outcome);
  if (!result || outcome.complete) return result;
  return testing::AssertionFailure() << "the search did not come to its end in " << outcome.executions << " executions";
}

testing::AssertionResult fails_as_expected(const Control& control, std::uint64_t executions) {
  unsigned seen = 0;
  for (const Site& site : sites_of(control.world)) {
    if (short_name(site.function) != control.function || site.op != control.op || site.order != control.order) continue;
    if (++seen != control.nth) continue;
    weakening.begin(site, control.to);
    const Outcome outcome = control.world.run(executions, false);
    weakening.end();
    if (outcome.result == control.expected) return testing::AssertionSuccess();
    return testing::AssertionFailure() << control.function << " " << name(control.op) << " " << name(control.order)
                                       << " #" << control.nth << " -> " << name(control.to) << " under "
                                       << control.world.name << ": " << outcome.what() << " after "
                                       << outcome.executions
                                       << " executions, expected: " << rl::test_result_str(control.expected);
  }
  return testing::AssertionFailure() << "no such site: " << control.function << " " << name(control.op) << " "
                                     << name(control.order) << " #" << control.nth << " under " << control.world.name;
}

void sweep(std::initializer_list<Candidate> candidates, std::uint64_t executions) {
  std::vector<std::vector<Site>> sites_by_world;
  std::vector<Site> all;
  for (const Candidate& world : candidates) {
    sites_by_world.push_back(sites_of(world));
    all.insert(all.end(), sites_by_world.back().begin(), sites_by_world.back().end());
  }
  std::sort(all.begin(), all.end(), [](const Site& a, const Site& b) { return key(a) < key(b); });
  all.erase(std::unique(all.begin(), all.end(), [](const Site& a, const Site& b) { return key(a) == key(b); }),
            all.end());
  for (const Site& site : all) {
    for (const std::memory_order to : weaker(site.op, site.order)) {
      std::printf("%s:%u %s %s %s -> %s:", base_name(site.file), site.line, short_name(site.function).c_str(),
                  name(site.op), name(site.order), name(to));
      bool found = false;
      auto its_sites = sites_by_world.begin();
      for (const Candidate& world : candidates) {
        const auto& sites = *its_sites++;
        if (std::none_of(sites.begin(), sites.end(), [&](const Site& s) { return key(s) == key(site); })) continue;
        weakening.begin(site, to);
        const Outcome outcome = world.run(executions, false);
        weakening.end();
        if (outcome.passed()) continue;
        std::printf(" %s: %s (%llu)", world.name, outcome.what(), static_cast<unsigned long long>(outcome.executions));
        found = true;
      }
      std::printf("%s\n", found ? "" : " SURVIVES");
    }
  }
}

}  // namespace erlking::model
