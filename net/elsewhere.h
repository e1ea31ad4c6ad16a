// elsewhere(): a system call that waits and has no operation, on a spare thread. Inside net.
#pragma once

#include "net/descriptor.h"
#include "runtime/blocking.h"

#include <cerrno>
#include <expected>
#include <optional>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace erlking::detail {

/// Runs `ask`, which answers std::expected<T, int>, an errno, and owns what it uses, as blocking() does.
template <class Ask>
auto elsewhere(std::string_view operation, const Bound& bound, Ask ask)
    -> std::expected<typename std::invoke_result_t<Ask&>::value_type, IoError> {
  using Answer = std::invoke_result_t<Ask&>;
  try {
    std::optional<Answer> answer = blocking(bound, std::move(ask));
    if (!answer) return failure(ETIME, operation);
    if (!*answer) return failure(answer->error(), operation);
    if constexpr (std::is_void_v<typename Answer::value_type>) {
      return {};
    } else {
      return std::move(**answer);
    }
  } catch (const std::system_error& no_thread) {
    return failure(no_thread.code().value(), operation);
  }
}

}  // namespace erlking::detail
