// What a server tells of itself: INFO, CONFIG GET, COMMAND.
#pragma once

#include "examples/kv/world.h"

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace kv {

/// The words of a request: its name is word 0.
using Word = std::function<std::string_view(std::size_t)>;

void reply_info(std::string& out, const World& world, std::string_view section);
void reply_config(std::string& out, const World& world, std::size_t words, const Word& word);
void reply_command(std::string& out, std::size_t words, const Word& word);

}  // namespace kv
