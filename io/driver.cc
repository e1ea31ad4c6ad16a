#include "io/driver.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

namespace erlking::io {

namespace {

struct Row {
  std::string_view name;
  bool non_blocking;
  std::unique_ptr<Driver> (*make)(Rouse) noexcept;
};
constexpr Row kDrivers[] = {
#if EK_URING
    {"uring", false, &make_uring_driver},
#endif
    {"epoll", true, &make_epoll_driver},
};

// Whether it works here; else why not.
std::string try_out(const Row& row) {
  const auto driver = row.make({});
  return driver != nullptr ? std::string() : std::generic_category().message(errno);
}

}  // namespace

void Driver::take_requests() noexcept {
  for (Request* request = requests_.take(); request != nullptr;) {
    Request* const following = request->link;  // read first: what has been started may be over soon
    if (request->kind == Request::Kind::start) {
      start(*request->operation);
    } else {
      request->link = cancels_;
      cancels_ = request;
    }
    request = following;
  }
}

std::vector<std::string_view> driver_names() {
  std::vector<std::string_view> names;
  for (const Row& row : kDrivers) names.push_back(row.name);
  return names;
}

std::expected<Choice, std::string> choose_driver(std::string_view wanted) {
  const Row* row = nullptr;
  std::string known;
  for (const Row& candidate : kDrivers) {
    known += fmt::format("{}{}", known.empty() ? "" : ", ", candidate.name);
    if (candidate.name == wanted) row = &candidate;
  }
  if (row == nullptr) return std::unexpected(fmt::format("unknown I/O driver '{}': there are {}", wanted, known));
  const std::string fault = try_out(*row);
  if (fault.empty()) return Choice{row->name, row->non_blocking, {}};
  std::string why = fmt::format("{} does not work here ({})", row->name, fault);
  for (const Row& other : kDrivers) {
    if (&other != row && try_out(other).empty()) return Choice{other.name, other.non_blocking, std::move(why)};
  }
  return std::unexpected("no I/O driver works: " + why);
}

std::unique_ptr<Driver> make_driver(std::string_view name, Rouse rouse) noexcept {
  for (const Row& row : kDrivers) {
    if (row.name == name) return row.make(rouse);
  }
  errno = EINVAL;
  return nullptr;
}

}  // namespace erlking::io
