// What every case of misuse includes; wont_compile_test.py precompiles it.
#pragma once

#include <erlking/erlking.h>

#include <array>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

using namespace erlking;
using namespace std::chrono_literals;

struct Note {
  int n = 0;
};

struct Get {
  std::string key;
  using Reply = std::string;
};
