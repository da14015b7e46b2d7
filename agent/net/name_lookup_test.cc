// Looking names up as another process does, with real files and a real name server in namespaces of the tests' own. Needs root:
// without, every test that does says that it was left out.
#include "agent/net/name_lookup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "agent/net/private_names.h"

namespace squall {
namespace {

using ::testing::HasSubstr;

// "127.0.0.1 ::1".
std::string Text(const std::vector<Address>& addresses) {
  std::vector<std::string> texts;
  for (const Address& address : addresses) {
    const std::string text = address.ToString();
    texts.push_back(text.substr(0, text.rfind(':')));
  }
  return absl::StrJoin(texts, " ");
}

TEST(HostsFile, GivesEveryAddressOfAName) {
  constexpr char kHosts[] =
      "127.0.0.1\tlocalhost\n"
      "# 10.0.0.9 db.test\n"
      "10.0.0.1  db.test DB # primary\r\n"
      "fd00::1 other.test db.test.\n"
      "10.0.0.1 db.test\n"
      "nonsense db.test\n"
      "db.test\n";
  EXPECT_EQ(Text(AddressesInHosts(kHosts, "db.test")), "10.0.0.1 [fd00::1]");
  EXPECT_EQ(Text(AddressesInHosts(kHosts, "Db")), "10.0.0.1");
  EXPECT_EQ(Text(AddressesInHosts(kHosts, "localhost.")), "127.0.0.1");
  EXPECT_EQ(Text(AddressesInHosts(kHosts, "127.0.0.1")), "");
  EXPECT_EQ(Text(AddressesInHosts("", "db.test")), "");
}

class NameLookup : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) {
      printf("LEFT OUT: name_lookup_test: namespaces need root\n");
      GTEST_SKIP();
    }
    names_.emplace();
    while (!LookUp("db.internal.test").ok() && absl::Now() < until_) absl::SleepFor(absl::Milliseconds(1));
  }
  absl::StatusOr<FoundAddresses> LookUp(const std::string& name) { return LookUp(name, {names_->pid(), std::nullopt}); }
  absl::StatusOr<FoundAddresses> LookUp(const std::string& name, const NameWays& ways,
                                        absl::Duration patience = absl::Seconds(10)) {
    return LookUpName(name, ways, *names_->ns, patience, cancelled_);
  }
  std::string Found(const std::string& name) {
    const auto found = LookUp(name);
    return found.ok() ? Text(found->addresses) : std::string(found.status().message());
  }

  const absl::Time until_ = absl::Now() + absl::Seconds(10);
  std::atomic<bool> cancelled_ = false;
  std::optional<PrivateNames> names_;
};

TEST_F(NameLookup, AsksTheServerOfTheProcessInItsNamespace) { EXPECT_EQ(Found("db.internal.test"), "127.0.0.7"); }

TEST_F(NameLookup, SearchesWhereTheProcessDoes) { EXPECT_EQ(Found("db"), "127.0.0.7"); }

TEST_F(NameLookup, ReadsTheHostsFileOfTheProcessFirst) {
  names_->WriteHosts("127.0.0.8 db.internal.test\n::8 db.internal.test\n");
  EXPECT_EQ(Found("db.internal.test"), "127.0.0.8 [::8]");
  EXPECT_EQ(LookUp("db.internal.test")->ttl, absl::ZeroDuration());
}

TEST_F(NameLookup, SeesAtOnceWhatTheServerSays) {
  names_->WriteZone("127.0.0.9 db.internal.test\n127.0.0.10 db.internal.test\n::9 db.internal.test\n");
  std::string found;
  while (absl::Now() < until_) {
    auto looked_up = LookUp("db.internal.test");
    if (looked_up.ok() && looked_up->addresses.size() == 3) found = Text(looked_up->addresses);
    if (!found.empty()) break;
    absl::SleepFor(absl::Milliseconds(1));
  }
  for (const char* address : {"127.0.0.9", "127.0.0.10", "[::9]"}) EXPECT_THAT(found, HasSubstr(address));
}

TEST_F(NameLookup, AsksTheServerThatIsNamedInstead) {
  // The files are the test's own, which know neither the server nor the name.
  const auto found = LookUp("db.internal.test", {0, ParseAddress("127.0.0.1:53").value()});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(Text(found->addresses), "127.0.0.7");
  const auto refused = LookUp("db.internal.test", {names_->pid(), ParseAddress("127.0.0.1:1").value()});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable) << refused.status();
}

TEST_F(NameLookup, TellsWhatHasNoAddressFromWhatNobodySays) {
  const auto unknown = LookUp("nobody.internal.test");
  EXPECT_FALSE(unknown.ok());
  names_->WriteZone("127.0.0.7 other.test\n");
  names_->StopServer();
  const auto silent = LookUp("db.internal.test");
  EXPECT_EQ(silent.status().code(), absl::StatusCode::kUnavailable) << silent.status();
  EXPECT_THAT(std::string(silent.status().message()), HasSubstr("no name server says"));
  const auto gone = LookUp("db.internal.test", {1 << 30, std::nullopt});
  EXPECT_EQ(gone.status().code(), absl::StatusCode::kUnavailable) << gone.status();
  EXPECT_THAT(std::string(gone.status().message()), HasSubstr("is gone"));
}

TEST_F(NameLookup, IsOverOnceItIsCancelledOrPatienceIs) {
  // Bound, and never read: a server that says nothing.
  const Fd silent = names_->ns->Socket(AF_INET, SOCK_DGRAM).value();
  Address at = ParseAddress("127.0.0.2:53").value();
  sockaddr_storage storage;
  const socklen_t length = at.ToSockaddr(storage);
  ASSERT_EQ(bind(silent.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
  EXPECT_EQ(LookUp("db.internal.test", {names_->pid(), at}, absl::Milliseconds(50)).status().code(),
            absl::StatusCode::kUnavailable);
  cancelled_ = true;
  EXPECT_EQ(LookUp("db.internal.test", {names_->pid(), at}, absl::Hours(1)).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace squall
