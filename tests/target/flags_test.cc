#include "tests/target/flags.h"

#include <gtest/gtest.h>

namespace squall::target {
namespace {

TEST(ParseHostPort, TakesNamesAndBothKindsOfAddresses) {
  for (const auto& [text, host] : {std::pair("127.0.0.1:9090", "127.0.0.1"), std::pair("[::1]:9090", "::1"),
                                   std::pair("localhost:9090", "localhost")}) {
    const std::optional<HostPort> parsed = ParseHostPort(text);
    ASSERT_TRUE(parsed.has_value()) << text;
    EXPECT_EQ(parsed->host, host);
    EXPECT_EQ(parsed->port, 9090);
  }
}

TEST(ParseHostPort, RefusesWhatIsNoAddress) {
  for (const char* text :
       {"", "9090", ":9090", "host", "host:", "host:x", "host:0", "host:65536", "::1:9090", "[]:1"}) {
    EXPECT_FALSE(ParseHostPort(text).has_value()) << text;
  }
}

TEST(AddDuration, ReadsUnitsAndRefusesBareNumbers) {
  for (const auto& [text, good] :
       {std::pair("12ms", true), std::pair("0", true), std::pair("1m30s", true), std::pair("12", false),
        std::pair("-1s", false), std::pair("inf", false), std::pair("soon", false)}) {
    CLI::App app;
    absl::Duration value = absl::Seconds(7);
    AddDuration(app, "--for", value, "how long");
    const std::string flag = std::string("--for=") + text;
    const char* argv[] = {"test", flag.c_str()};
    if (good) {
      EXPECT_NO_THROW(app.parse(2, argv)) << text;
      EXPECT_NE(value, absl::Seconds(7)) << text;
    } else {
      EXPECT_THROW(app.parse(2, argv), CLI::ParseError) << text;
    }
  }
}

}  // namespace
}  // namespace squall::target
