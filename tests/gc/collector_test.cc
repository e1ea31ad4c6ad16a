#include "gc/collector.h"

#include <gtest/gtest.h>

namespace erlking::gc {
namespace {

TEST(CollectorTest, AnUnknownNameIsAnsweredWithTheValidOnes) {
  const auto collector = make_collector("no such heap");
  ASSERT_FALSE(collector.has_value());
  EXPECT_NE(collector.error().find("no such heap"), std::string::npos);
  for (const std::string_view name : collector_names()) {
    EXPECT_NE(collector.error().find(name), std::string::npos) << collector.error();
  }
}

TEST(CollectorTest, OwnedIsTheDefault) { EXPECT_EQ(collector_names().front(), "owned"); }

}  // namespace
}  // namespace erlking::gc
