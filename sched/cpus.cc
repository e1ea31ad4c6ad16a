#include "sched/cpus.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <memory>
#include <sched.h>
#include <unistd.h>

namespace erlking::sched {
namespace {

std::string read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return {};
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// Cuts off and returns what is before the next `separator` (everything if there is none).
std::string_view cut(std::string_view& text, char separator) {
  const std::size_t end = text.find(separator);
  const std::string_view head = text.substr(0, end);
  text = end == text.npos ? std::string_view{} : text.substr(end + 1);
  return head;
}

bool has_word(std::string_view list, std::string_view word) {  // comma-separated
  while (!list.empty()) {
    if (cut(list, ',') == word) return true;
  }
  return false;
}

// mountinfo writes blanks, tabs, newlines and backslashes in paths as \ooo.
std::string unescape(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(&text[i + 1], &text[i + 1] + 3, code, 8).ptr == &text[i + 1] + 3) {
      result += static_cast<char>(code);
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

std::optional<std::int64_t> number(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

void limit(CpuLimits& limits, std::optional<std::int64_t> quota, std::optional<std::int64_t> period,
           const std::string& source) {
  if (!quota || !period || *quota <= 0 || *period <= 0) return;  // "max" is no number; version 1 writes -1
  const double cpus = static_cast<double>(*quota) / static_cast<double>(*period);
  if (limits.quota && *limits.quota <= cpus) return;
  limits.quota = cpus;
  limits.source = source;
}

struct Hierarchy {
  bool v2 = false;
  bool found = false;
  std::string path;  // of the process's cgroup within the hierarchy
};

void read_one(CpuLimits& limits, const std::string& folder, bool v2) {
  if (v2) {
    const std::string file = folder + "/cpu.max";  // "max 100000" or "150000 100000"
    const std::string text = read_all(file);
    std::string_view rest = text;
    const auto quota = number(cut(rest, ' '));
    limit(limits, quota, number(rest), file);
  } else {
    const std::string file = folder + "/cpu.cfs_quota_us";
    limit(limits, number(read_all(file)), number(read_all(folder + "/cpu.cfs_period_us")), file);
  }
}

// The process's cgroup and every one above it up to the mount point. `root` is the cgroup that is mounted there.
void read_upward(CpuLimits& limits, const std::string& mount_point, std::string_view root, const Hierarchy& hierarchy) {
  std::string_view below = hierarchy.path;
  if (root != "/") {
    const bool inside = below.starts_with(root) && (below.size() == root.size() || below[root.size()] == '/');
    below = inside ? below.substr(root.size()) : std::string_view{};
  }
  // Outside of this cgroup namespace or of what is mounted: all that can be seen is the mount point.
  if (below.find("/..") != below.npos) below = {};
  for (;;) {
    while (below.ends_with('/')) below.remove_suffix(1);
    read_one(limits, mount_point + std::string(below), hierarchy.v2);
    if (below.empty()) return;
    below = below.substr(0, below.rfind('/') + 1);
  }
}

}  // namespace

std::optional<unsigned> CpuLimits::cpus() const noexcept {
  if (!quota) return std::nullopt;
  return static_cast<unsigned>(std::clamp(std::ceil(*quota), 1.0, 1e6));
}

CpuLimits read_cpu_limits(std::string_view proc_root, std::string_view sys_root) {
  const std::string self = std::string(proc_root) + "/self/";

  Hierarchy v1, v2;
  v2.v2 = true;
  const std::string cgroup = read_all(self + "cgroup");
  for (std::string_view rest = cgroup; !rest.empty();) {  // "id:controllers:path"
    std::string_view line = cut(rest, '\n');
    const std::string_view id = cut(line, ':');
    const std::string_view controllers = cut(line, ':');
    if (line.empty()) continue;
    Hierarchy* const hierarchy = id == "0" && controllers.empty() ? &v2 : has_word(controllers, "cpu") ? &v1 : nullptr;
    if (hierarchy == nullptr) continue;
    hierarchy->found = true;
    hierarchy->path = line;
  }

  CpuLimits limits;
  const std::string mounts = read_all(self + "mountinfo");
  for (std::string_view rest = mounts; !rest.empty();) {
    // "id parent device root mount-point options [optional …] - type source super-options"
    std::string_view line = cut(rest, '\n');
    for (int i = 0; i < 3; ++i) cut(line, ' ');
    const std::string root = unescape(cut(line, ' '));
    const std::string mount_point = unescape(cut(line, ' '));
    const std::size_t dash = line.find(" - ");
    if (dash == line.npos) continue;
    line.remove_prefix(dash + 3);
    const std::string_view type = cut(line, ' ');
    cut(line, ' ');
    const Hierarchy* const hierarchy = type == "cgroup2"                           ? &v2
                                       : type == "cgroup" && has_word(line, "cpu") ? &v1
                                                                                   : nullptr;
    if (hierarchy == nullptr || !hierarchy->found) continue;
    read_upward(limits, std::string(sys_root) + mount_point, root, *hierarchy);
  }
  return limits;
}

std::vector<int> allowed_cpus() {
  for (int most = 1024; most <= 1 << 20; most *= 2) {  // the kernel refuses a mask smaller than its own
    const std::size_t bytes = CPU_ALLOC_SIZE(most);
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> mask(CPU_ALLOC(most), [](cpu_set_t* m) { CPU_FREE(m); });
    if (mask == nullptr) break;
    CPU_ZERO_S(bytes, mask.get());
    if (::sched_getaffinity(0, bytes, mask.get()) != 0) continue;
    std::vector<int> cpus;
    for (int cpu = 0; cpu < most; ++cpu) {
      if (CPU_ISSET_S(static_cast<std::size_t>(cpu), bytes, mask.get())) cpus.push_back(cpu);
    }
    return cpus;
  }
  return {};
}

unsigned usable_cpus() {
  unsigned cpus = static_cast<unsigned>(allowed_cpus().size());
  if (cpus == 0) {
    const long online = ::sysconf(_SC_NPROCESSORS_ONLN);
    cpus = online > 0 ? static_cast<unsigned>(online) : 1;
  }
  return std::min(cpus, read_cpu_limits().cpus().value_or(cpus));
}

bool pin_thread(int cpu) noexcept {
  if (cpu < 0 || cpu >= CPU_SETSIZE) return false;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CPU_SET(static_cast<std::size_t>(cpu), &mask);
  return ::sched_setaffinity(0, sizeof mask, &mask) == 0;
}

bool raise_autogroup(int nice) noexcept {
  char text[16];
  const int length = std::snprintf(text, sizeof text, "%d", nice);
  const int fd = ::open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool written = ::write(fd, text, static_cast<std::size_t>(length)) == length;
  ::close(fd);
  return written;
}

}  // namespace erlking::sched
