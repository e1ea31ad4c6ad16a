#include "runtime/reason.h"

#include <fmt/format.h>

#include <atomic>
#include <cstdlib>
#include <cxxabi.h>
#include <dlfcn.h>
#include <iterator>
#include <memory>
#include <vector>

namespace erlking {

struct Reason::Body {
  std::atomic<std::uint32_t> count{1};
  std::string name, detail, type, what;
  std::vector<void*> backtrace;
  std::uintptr_t address = 0;
  bool is_fault = false;
};

namespace {

constexpr std::string_view kNames[] = {"normal",  "shutdown",     "kill",         "killed",   "noproc",
                                       "timeout", "system_limit", "noconnection", "terminate"};

}  // namespace

std::string detail::frame_text(void* address) {
  Dl_info info{};
  // The return address lies behind the call: one back is inside the calling function.
  auto* const at = static_cast<char*>(address) - 1;
  if (dladdr(at, &info) == 0) return fmt::format("{}", address);
  if (info.dli_sname == nullptr) {
    return fmt::format("{}+{:#x}", info.dli_fname, at - static_cast<char*>(info.dli_fbase));
  }
  int status = 0;
  std::unique_ptr<char, void (*)(void*)> demangled(abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status),
                                                   &std::free);
  return fmt::format("{}+{:#x}", status == 0 ? demangled.get() : info.dli_sname,
                     at - static_cast<char*>(info.dli_saddr));
}

Reason::Reason(std::string_view name, std::string_view detail) {
  if (detail.empty()) {
    for (std::size_t code = 0; code < std::size(kNames); ++code) {
      if (kNames[code] == name) {
        word_ = code << 1 | 1;
        return;
      }
    }
  }
  auto made = std::make_unique<Body>();
  made->name = name;
  made->detail = detail;
  word_ = reinterpret_cast<std::uintptr_t>(made.release());
}

Reason Reason::exception(std::string_view type, std::string_view what, std::span<void* const> backtrace) {
  auto made = std::make_unique<Body>();
  made->name = "exception";
  made->type = type;
  made->what = what;
  made->backtrace.assign(backtrace.begin(), backtrace.end());
  Reason reason;
  reason.word_ = reinterpret_cast<std::uintptr_t>(made.release());
  return reason;
}

Reason Reason::fault(std::string_view name, std::uintptr_t address, std::string_view detail,
                     std::span<void* const> backtrace) {
  auto made = std::make_unique<Body>();
  made->name = name;
  made->detail = detail;
  made->backtrace.assign(backtrace.begin(), backtrace.end());
  made->address = address;
  made->is_fault = true;
  Reason reason;
  reason.word_ = reinterpret_cast<std::uintptr_t>(made.release());
  return reason;
}

bool Reason::is_fault() const noexcept { return !is_code(word_) && body()->is_fault; }
std::uintptr_t Reason::address() const noexcept { return is_code(word_) ? 0 : body()->address; }

void Reason::retain() const noexcept {
  // relaxed: the source keeps the body alive meanwhile
  if (!is_code(word_)) const_cast<Body*>(body())->count.fetch_add(1, std::memory_order_relaxed);
}

void Reason::release() noexcept {
  // acq_rel: what other holders did with the body happens before its destruction
  if (const_cast<Body*>(body())->count.fetch_sub(1, std::memory_order_acq_rel) == 1) delete body();
}

std::string_view Reason::name() const noexcept {
  return is_code(word_) ? kNames[word_ >> 1] : std::string_view(body()->name);
}
std::string_view Reason::detail() const noexcept {
  return is_code(word_) ? std::string_view() : std::string_view(body()->detail);
}
std::string_view Reason::type() const noexcept {
  return is_code(word_) ? std::string_view() : std::string_view(body()->type);
}
std::string_view Reason::what() const noexcept {
  return is_code(word_) ? std::string_view() : std::string_view(body()->what);
}
std::span<void* const> Reason::backtrace() const noexcept {
  return is_code(word_) ? std::span<void* const>() : std::span<void* const>(body()->backtrace);
}

std::string Reason::to_string() const {
  if (is_exception())
    return what().empty() ? fmt::format("exception: {}", type()) : fmt::format("exception: {}: {}", type(), what());
  if (!detail().empty()) return fmt::format("{{{}, {}}}", name(), detail());
  return std::string(name());
}

std::vector<std::string> Reason::frames() const {
  std::vector<std::string> texts;
  for (void* address : backtrace()) texts.push_back(detail::frame_text(address));
  return texts;
}

std::string Reason::report() const {
  std::string text = to_string();
  for (const std::string& frame : frames()) text += "\n    at " + frame;
  return text;
}

bool operator==(const Reason& a, const Reason& b) noexcept {
  return a.word_ == b.word_ ||
         (a.name() == b.name() && a.detail() == b.detail() && a.type() == b.type() && a.what() == b.what());
}

}  // namespace erlking
