// Where edges lead, with names that really change: a hosts file and a name server in namespaces of the tests' own. Needs root:
// without, every test that does says that it was left out.
#include "agent/edge_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/net/private_names.h"

namespace squall {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Text(const std::vector<Address>& addresses) {
  return absl::StrJoin(addresses, " ", [](std::string* out, const Address& address) { out->append(address.ToString()); });
}

Edge MakeEdge(const std::string& name, const std::vector<std::string>& to) {
  Edge edge;
  edge.set_name(name);
  edge.set_from("orders");
  edge.mutable_to()->Assign(to.begin(), to.end());
  return edge;
}

// Notes what the edges lead to, as it is told.
class Places {
 public:
  EdgeNames::Sink Sink() {
    return [this](const std::string& edge, const std::vector<Address>& now, const std::vector<Address>& ever) {
      absl::MutexLock lock(&mutex_);
      ever_[edge] = Text(ever);
      told_[edge] = Text(now);
      return absl::OkStatus();
    };
  }
  // Waits until the edge leads there. The bound is a safety net.
  bool Leads(const std::string& edge, const std::string& there) {
    absl::MutexLock lock(&mutex_);
    const auto there_now = [&] { return told_[edge] == there; };
    return mutex_.AwaitWithTimeout(absl::Condition(&there_now), absl::Seconds(20));
  }
  std::string Ever(const std::string& edge) {
    absl::MutexLock lock(&mutex_);
    return ever_[edge];
  }

 private:
  absl::Mutex mutex_;
  std::map<std::string, std::string> told_, ever_;
};

TEST(WrittenAddresses, AreTakenAsTheyStand) {
  const NetNamespace own = *NetNamespace::Own();
  Places places;
  EdgeNames names(places.Sink());
  const auto nobody = [] { return std::optional<pid_t>(); };
  const auto found = names.Open(MakeEdge("db", {"127.0.0.1:5432", "[::1]:5432", "*:5433"}), Service(), nobody, own);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(Text(*found), "127.0.0.1:5432 [::1]:5432 *:5433");
  EXPECT_TRUE(found->back().IsAny());
  EXPECT_FALSE(names.HasNames());
  EXPECT_TRUE(names.Await("", absl::ZeroDuration(), false).ok());
  // Again, as when the service turns out to be in another namespace.
  EXPECT_TRUE(names.Open(MakeEdge("db", {"127.0.0.1:5432"}), Service(), nobody, own).ok());
  const auto twice = names.Open(MakeEdge("other", {"[::ffff:127.0.0.1]:5432"}), Service(), nobody, own);
  EXPECT_EQ(twice.status().message(), "edge db leads to 127.0.0.1:5432 as well; leave one of them out");
}

class EdgeNamesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) {
      printf("LEFT OUT: edge_names_test: namespaces need root\n");
      GTEST_SKIP();
    }
    private_.emplace();
    private_->WriteHosts("127.0.0.7 db.test\n");
    edge_names_.emplace(places_.Sink());
  }
  absl::StatusOr<std::vector<Address>> Open(const std::string& name, const std::vector<std::string>& to) {
    return edge_names_->Open(MakeEdge(name, to), Service(), [this] { return std::optional<pid_t>(private_->pid()); },
                             *private_->ns);
  }
  std::string Opened(const std::string& name, const std::vector<std::string>& to) {
    const auto opened = Open(name, to);
    return opened.ok() ? Text(*opened) : std::string(opened.status().message());
  }

  Places places_;
  std::optional<PrivateNames> private_;  // outlives what looks up there
  std::optional<EdgeNames> edge_names_;
};

TEST_F(EdgeNamesTest, FollowTheNameAndKeepWhatIsWrittenOut) {
  EXPECT_EQ(Opened("db", {"127.0.0.1:5432", "DB.test:5432"}), "127.0.0.1:5432 127.0.0.7:5432");
  edge_names_->Start();
  private_->WriteHosts("127.0.0.8 db.test\n::8 db.test\n");
  EXPECT_TRUE(places_.Leads("db", "127.0.0.1:5432 127.0.0.8:5432 [::8]:5432"));
  EXPECT_EQ(places_.Ever("db"), "127.0.0.1:5432 127.0.0.7:5432 127.0.0.8:5432 [::8]:5432") << "where it led is still the edge's";
  EXPECT_THAT(edge_names_->Notes(), ElementsAre());
}

TEST_F(EdgeNamesTest, AreNotForgottenWhileNobodyKnowsThem) {
  EXPECT_EQ(Opened("db", {"db.test:5432"}), "127.0.0.7:5432");
  edge_names_->Start();
  private_->StopServer();
  private_->WriteHosts("");
  while (edge_names_->Notes().empty()) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_THAT(edge_names_->Notes()[0], HasSubstr("edge db: db.test could not be looked up for a while"));
  private_->WriteHosts("127.0.0.9 db.test\n");
  EXPECT_TRUE(places_.Leads("db", "127.0.0.9:5432")) << "and are found again";
}

TEST_F(EdgeNamesTest, MayBeKnownOnlyOnceAServiceRuns) {
  const auto opened = Open("db", {"late.internal.test:5432"});
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(Text(*opened), "");
  const absl::Status missing = edge_names_->Await("orders", absl::ZeroDuration(), false);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("edge db: cannot look up late.internal.test as orders does: "));
  private_->WriteZone("127.0.0.7 late.internal.test\n");
  const absl::Status found = edge_names_->Await("orders", absl::Seconds(20), false);
  EXPECT_TRUE(found.ok()) << found;
  EXPECT_TRUE(places_.Leads("db", "127.0.0.7:5432"));
}

TEST_F(EdgeNamesTest, AreAskedForLessAndLessOftenWhileUnknown) {
  int attempts = 0;
  const auto counted = [&] {
    ++attempts;
    return std::optional<pid_t>(private_->pid());
  };
  ASSERT_TRUE(edge_names_->Open(MakeEdge("db", {"late.internal.test:5432"}), Service(), counted, *private_->ns).ok());
  EXPECT_FALSE(edge_names_->Await("orders", absl::Milliseconds(1500), false).ok());
  EXPECT_GE(attempts, 3);
  EXPECT_LE(attempts, 7);
}

TEST_F(EdgeNamesTest, MustNotLeadWhereAnotherEdgeDoes) {
  private_->WriteHosts("127.0.0.7 db.test\n127.0.0.6 prices.test\n");
  EXPECT_EQ(Opened("prices", {"127.0.0.6:80", "127.0.0.7:80"}), "127.0.0.6:80 127.0.0.7:80");
  EXPECT_EQ(Opened("db", {"db.test:80"}), "db.test is 127.0.0.7:80, where edge prices leads as well; leave one of them out");
  EXPECT_EQ(Opened("db", {"db.test:81"}), "127.0.0.7:81") << "another port is another place";
  // Later it is no error any more.
  edge_names_->Start();
  private_->WriteHosts("127.0.0.7 db.test\n");
  EXPECT_EQ(Opened("any", {"*:80"}), "*:80");
  edge_names_->Told("orders", "db.test", {ParseAddress("127.0.0.9:1").value()});
  EXPECT_TRUE(places_.Leads("db", "127.0.0.7:81 127.0.0.9:81"));
}

TEST_F(EdgeNamesTest, LeadAtOnceWhereTheServiceIsTold) {
  EXPECT_EQ(Opened("db", {"db.test:5432"}), "127.0.0.7:5432");
  edge_names_->Told("orders", "DB.test.", {ParseAddress("127.0.0.20:1").value(), ParseAddress("[::20]:1").value()});
  EXPECT_TRUE(places_.Leads("db", "127.0.0.7:5432 127.0.0.20:5432 [::20]:5432"));
  edge_names_->Told("orders", "else.test", {ParseAddress("127.0.0.30:1").value()});
  edge_names_->Told("browse", "db.test", {ParseAddress("127.0.0.30:1").value()});
  EXPECT_TRUE(places_.Leads("db", "127.0.0.7:5432 127.0.0.20:5432 [::20]:5432")) << "of nobody else and nothing else";
}

}  // namespace
}  // namespace squall
