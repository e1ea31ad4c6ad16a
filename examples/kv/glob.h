// Glob patterns, as SCAN's MATCH takes them: * ? [a-z] [^a] \x.
#pragma once

#include <string_view>

namespace kv {

/// Whether all of `text` is what the pattern means. Takes at most as many steps as the product of their lengths.
bool matches(std::string_view pattern, std::string_view text) noexcept;

}  // namespace kv
