#include "agent/net/name_paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kUsual[] = "# comment\npasswd: files systemd\nhosts:          files mdns4_minimal [NOTFOUND=return] dns # last\n";
constexpr char kResolved[] = "hosts: mymachines resolve [!UNAVAIL=return] files myhostname dns\n";
constexpr char kResolvedSocket[] = "/run/systemd/resolve/io.systemd.Resolve";

Dns About(const std::vector<std::string>& names, Dns::RecordType type = Dns::RECORD_TYPE_ANY) {
  Dns dns;
  dns.mutable_names()->Assign(names.begin(), names.end());
  dns.set_type(type);
  return dns;
}

TEST(NamePaths, OfAnOrdinaryHostLeadToAServer) {
  const NamePaths paths = ReadNamePaths(kUsual, "127.0.0.1 localhost\n", "");
  EXPECT_THAT(WhatEscapes(About({"recommend.test"}), paths), IsEmpty());
  EXPECT_EQ(WhyNothingArrives(About({"recommend.test"}), paths), "");
}

TEST(NamePaths, WithoutNsswitchLeadToAServerAfterHosts) {
  const NamePaths paths = ReadNamePaths("", "127.0.0.1 recommend.test", "");
  EXPECT_TRUE(paths.asks_servers);
  EXPECT_TRUE(paths.files_first);
}

TEST(NamePaths, SayWhichNamesStandInHosts) {
  const NamePaths paths = ReadNamePaths(kUsual, "10.0.0.1  a.test  A2.Test # old\n::1 b.test\n# 1.2.3.4 c.test\n", "");
  EXPECT_THAT(WhatEscapes(About({"*.test"}), paths),
              ElementsAre("a.test, a2.test, b.test stand in /etc/hosts: programs that read it first never ask for them"));
  EXPECT_EQ(WhyNothingArrives(About({"*.test"}), paths), "") << "others below may be asked for";
  EXPECT_EQ(WhyNothingArrives(About({"A.test", "c.test"}), paths), "") << "c.test is asked for";
  EXPECT_EQ(WhyNothingArrives(About({"A.test"}), paths), "a.test stands in /etc/hosts, so that no name server is asked");
}

TEST(NamePaths, HostsThatAreReadLastHideNothing) {
  EXPECT_EQ(WhyNothingArrives(About({"a.test"}), ReadNamePaths("hosts: dns files", "10.0.0.1 a.test", "")), "");
}

TEST(NamePaths, WithoutAnyServerNothingArrives) {
  EXPECT_THAT(WhyNothingArrives(About({"a.test"}), ReadNamePaths("hosts: files", "", "")), HasSubstr("neither `dns` nor `resolve`"));
}

TEST(NamePaths, ToldOfDaemonsOnlyWhereTheyListen) {
  EXPECT_THAT(WhatEscapes(About({"a.test"}), ReadNamePaths(kResolved, "", "")), IsEmpty());
  EXPECT_THAT(WhatEscapes(About({"a.test"}), ReadNamePaths(kResolved, "", kResolvedSocket)),
              ElementsAre(HasSubstr("systemd-resolved over a unix socket")));
  EXPECT_THAT(WhatEscapes(About({"a.test"}), ReadNamePaths(kUsual, "", kResolvedSocket)), IsEmpty());
  EXPECT_THAT(WhatEscapes(About({"a.test"}), ReadNamePaths(kUsual, "", "/var/run/nscd/socket")), ElementsAre(HasSubstr("nscd runs")));
}

}  // namespace
}  // namespace squall
