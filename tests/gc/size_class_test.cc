#include "gc/size_class.h"

#include <gtest/gtest.h>

namespace erlking::gc {
namespace {

TEST(SizeClassTest, EverySizeGetsTheSmallestClassThatHoldsIt) {
  for (std::size_t bytes = 0; bytes <= kSmallMax; ++bytes) {
    const unsigned cls = size_class(bytes);
    ASSERT_LT(cls, kClasses) << bytes;
    ASSERT_GE(class_size(cls), bytes);
    if (cls != 0) {
      ASSERT_LT(class_size(cls - 1), bytes);
    }
  }
}

TEST(SizeClassTest, EveryClassIsAMultipleOfTheGrainAndItsOwnClass) {
  for (unsigned cls = 0; cls != kClasses; ++cls) {
    EXPECT_EQ(class_size(cls) % kGrain, 0u);
    EXPECT_EQ(size_class(class_size(cls)), cls);
  }
}

TEST(SizeClassTest, StepsAreSixtyFourBytesTo512ThenFourADoubling) {
  EXPECT_EQ(class_size(7), 512u);
  EXPECT_EQ(class_size(8), 640u);
  EXPECT_EQ(class_size(11), 1024u);
  EXPECT_EQ(class_size(12), 1280u);
}

TEST(SizeClassTest, MoreThanTheLargestClassIsLarge) {
  EXPECT_EQ(size_class(kSmallMax + 1), kLarge);
  EXPECT_EQ(size_class(~std::size_t{0}), kLarge);
}

TEST(SizeClassTest, AMagazineIsBoundedInBlocksAndBytes) {
  for (unsigned cls = 0; cls != kClasses; ++cls) {
    EXPECT_LE(magazine_size(cls), kMagazineMax);
    EXPECT_GE(magazine_size(cls), 2u);
    EXPECT_LE(magazine_size(cls) * class_size(cls), kMagazineBytes);
  }
}

}  // namespace
}  // namespace erlking::gc
