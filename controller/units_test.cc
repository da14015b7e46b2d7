#include "controller/units.h"

#include <string>

#include "controller/formats.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using absl::Hours;
using absl::Microseconds;
using absl::Milliseconds;
using absl::Seconds;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

template <typename T>
std::string Message(const absl::StatusOr<T>& value) {
  return value.ok() ? "no error" : Message(value.status());
}

TEST(Duration, TakesNumbersWithUnits) {
  EXPECT_EQ(*ParseDurationText("250ms"), Milliseconds(250));
  EXPECT_EQ(*ParseDurationText("1.5s"), Milliseconds(1500));
  EXPECT_EQ(*ParseDurationText("1m30s"), Seconds(90));
  EXPECT_EQ(*ParseDurationText("2h"), Hours(2));
  EXPECT_EQ(*ParseDurationText("0s"), absl::ZeroDuration());
  EXPECT_EQ(*ParseDurationText("7us"), Microseconds(7));
}

TEST(Duration, SaysWhatToWriteInsteadOfABareNumber) {
  EXPECT_EQ(Message(ParseDurationText("500")), "a bare number has no unit; write 500ms or 500s");
  EXPECT_EQ(Message(ParseDurationText("0")), "a bare 0 has no unit; write 0s");
  EXPECT_EQ(Message(ParseDurationText("1.5")), "a bare number has no unit; write 1.5ms or 1.5s");
}

TEST(Duration, KnowsUnitsThatPeopleWriteElsewhere) {
  EXPECT_EQ(Message(ParseDurationText("5 sec")), "\"5 sec\" is not a duration; write 5s");
  EXPECT_EQ(Message(ParseDurationText("5min")), "\"5min\" is not a duration; write 5m");
  EXPECT_EQ(Message(ParseDurationText("10MS")), "\"10MS\" is not a duration; write 10ms");
}

TEST(Duration, RefusesWhatIsNoTime) {
  EXPECT_EQ(Message(ParseDurationText("-1s")), "\"-1s\" is negative; write 1s");
  EXPECT_EQ(Message(ParseDurationText("1001h")), "\"1001h\" is too long; write 1000h or less");
  for (const char* text : {"", "inf", "-inf", "soon", ".s", "1s1", "+1s", " 1s", "1e3s", "nan"}) {
    EXPECT_FALSE(ParseDurationText(text).ok()) << text;
  }
  EXPECT_FALSE(ParseDurationText(std::string(1 << 20, '1')).ok());
  EXPECT_FALSE(ParseDurationText("99999999999999999999999999999h").ok());
}

TEST(Duration, IsWrittenAsItIsRead) {
  EXPECT_EQ(DurationText(Milliseconds(1500)), "1.5s");
  EXPECT_EQ(DurationText(Seconds(90)), "1m30s");
  EXPECT_EQ(DurationText(absl::ZeroDuration()), "0s");
}

TEST(Rate, IsPerSecond) {
  EXPECT_DOUBLE_EQ(*ParseRate("200/s"), 200);
  EXPECT_DOUBLE_EQ(*ParseRate("6000/min"), 100);
  EXPECT_DOUBLE_EQ(*ParseRate("1800/h"), 0.5);
  EXPECT_DOUBLE_EQ(*ParseRate("0.5/s"), 0.5);
}

TEST(Rate, SaysWhatToWriteInstead) {
  EXPECT_EQ(Message(ParseRate("200")), "a bare number has no unit; write 200/s");
  EXPECT_EQ(Message(ParseRate("200rps")), "\"200rps\" is not a rate; write 200/s");
  EXPECT_EQ(Message(ParseRate("200/m")), "\"200/m\" is not a rate; write 200/min");
  EXPECT_EQ(Message(ParseRate("fast")),
            "\"fast\" is not a rate; write a number and /s, /min or /h, for example 200/s");
  for (const char* text : {"", "/s", "-1/s", "inf/s", "1e9/s", "1..2/s", "200/s/s", "200 /s "}) {
    EXPECT_FALSE(ParseRate(text).ok()) << text;
  }
}

TEST(Percent, IsTenForTenPercent) {
  EXPECT_DOUBLE_EQ(*ParsePercent("10%"), 10);
  EXPECT_DOUBLE_EQ(*ParsePercent("0.5%"), 0.5);
  EXPECT_DOUBLE_EQ(*ParsePercent("0%"), 0);
}

TEST(Percent, AsksWhetherAShareWasMeant) {
  EXPECT_EQ(Message(ParsePercent("0.1")), "a bare number has no unit; write 0.1% or 10%");
  EXPECT_EQ(Message(ParsePercent("10")), "a bare number has no unit; write 10%");
  EXPECT_EQ(Message(ParsePercent("10 percent")), "\"10 percent\" is not a percentage; write 10%");
  EXPECT_FALSE(ParsePercent("%").ok());
}

TEST(Bytes, CountIn1024s) {
  EXPECT_EQ(*ParseBytes("512B"), 512);
  EXPECT_EQ(*ParseBytes("64KiB"), 64 << 10);
  EXPECT_EQ(*ParseBytes("1.5MiB"), 3 << 19);
  EXPECT_EQ(*ParseBytes("2GiB"), int64_t{2} << 30);
}

TEST(Bytes, SayWhatToWriteInstead) {
  EXPECT_EQ(Message(ParseBytes("64")), "a bare number has no unit; write 64B or 64KiB");
  EXPECT_EQ(Message(ParseBytes("64KB")), "\"64KB\" is not a size; write 64KiB (units of 1024)");
  EXPECT_EQ(Message(ParseBytes("0.3B")), "\"0.3B\" is not a whole number of bytes; write a smaller unit");
  EXPECT_FALSE(ParseBytes("99999999999TiB").ok());
}

TEST(Integer, IsDigitsOnly) {
  EXPECT_EQ(*ParseInteger("42"), 42);
  EXPECT_EQ(*ParseInteger("-3"), -3);
  for (const char* text : {"", "-", "4.2", "0x10", "+1", " 1", "1e3", "ten", "99999999999999999999"}) {
    EXPECT_FALSE(ParseInteger(text).ok()) << text;
  }
}

TEST(Number, HasAtMostOnePoint) {
  EXPECT_DOUBLE_EQ(*ParseNumber("1.25"), 1.25);
  EXPECT_DOUBLE_EQ(*ParseNumber("-2"), -2);
  for (const char* text : {"", ".", "1.2.3", "nan", "inf", "1e3", "0x1"})
    EXPECT_FALSE(ParseNumber(text).ok()) << text;
}

TEST(Name, IsLettersDigitsAndAFewSigns) {
  for (const char* text : {"a", "7", "recommend-slow_2.b"}) EXPECT_TRUE(CheckName(text).ok()) << text;
  for (const char* text : {"", "-a", ".", "a b", "a/b", "\xC3\xA4", "a\n"})
    EXPECT_FALSE(CheckName(text).ok()) << text;
  EXPECT_TRUE(CheckName(std::string(100, 'a')).ok());
  EXPECT_FALSE(CheckName(std::string(101, 'a')).ok());
}

TEST(Address, IsHostAndPort) {
  for (const char* text :
       {"127.0.0.1:9090", "[::1]:9090", "[fe80::1]:1", "orders.local:65535", "localhost:80"}) {
    EXPECT_TRUE(CheckAddress(text, false).ok()) << text;
  }
  for (const char* text :
       {"", ":", ":80", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "1.2.3:80", "256.1.1.1:80", "[::1]",
        "[::g]:80", "[]:80", "a b:80", "a:80:90", "http://a:80", "a:+80", "a:080808"}) {
    EXPECT_FALSE(CheckAddress(text, false).ok()) << text;
  }
}

TEST(Address, SaysWhatToWriteInstead) {
  EXPECT_EQ(Message(CheckAddress("9090", false)), "\"9090\" has no host; write \"127.0.0.1:9090\"");
  EXPECT_EQ(Message(CheckAddress("localhost", false)), "\"localhost\" has no port; write \"localhost:9090\"");
  EXPECT_EQ(Message(CheckAddress("::1", false)), "\"::1\" is an IPv6 address without a port; write \"[::1]:9090\"");
  EXPECT_EQ(Message(CheckAddress("1:2:3:4:5:6:7:8:9090", false)),
            "\"1:2:3:4:5:6:7:8:9090\" needs brackets; write \"[1:2:3:4:5:6:7:8]:9090\"");
}

TEST(Address, HasOnePlainForm) {
  for (const auto& [written, plain] : std::vector<std::pair<std::string, std::string>>{
           {"127.0.0.1:80", "127.0.0.1:80"},
           {"[::FFFF:127.0.0.1]:80", "127.0.0.1:80"},
           {"[0:0::0:1]:80", "[::1]:80"},
           {"[2001:DB8::1]:80", "[2001:db8::1]:80"},
           {"DB.Example.:5432", "db.example:5432"},
           {"*:5432", "*:5432"}}) {
    EXPECT_EQ(PlainAddress(written), plain);
  }
}

TEST(Url, IsAbsoluteAndHttpOrHttps) {
  for (const char* text : {"http://127.0.0.1", "http://127.0.0.1:8080/order?a=b:c@d", "http://[::1]:80/",
                           "http://a/", "http://[::1]/x", "https://a", "https://127.0.0.1:8443/order"}) {
    EXPECT_TRUE(CheckUrl(text).ok()) << text;
  }
  for (const char* text : {"", "http://", "http:///x", "https://", "/x", "ftp://a", "http://a:0/",
                           "http://a:b/", "http://a/ b", "http://a/\n", "http://u:p@a/", "http://:80/"}) {
    EXPECT_FALSE(CheckUrl(text).ok()) << text;
  }
}

TEST(Signal, IsKnownByItsFullName) {
  EXPECT_TRUE(CheckSignal("SIGKILL").ok());
  EXPECT_TRUE(CheckSignal("SIGUSR1").ok());
  EXPECT_EQ(Message(CheckSignal("kill")), "\"kill\" is not the name of a signal; write SIGKILL");
  EXPECT_EQ(Message(CheckSignal("9")), "\"9\" is not the name of a signal; write SIGKILL");
  EXPECT_EQ(Message(CheckSignal("SIGTREM")),
            "\"SIGTREM\" is not the name of a signal; did you mean \"SIGTERM\"?");
  EXPECT_FALSE(CheckSignal("").ok());
}

}  // namespace
}  // namespace squall
