#include "agent/net/nft_table.h"

#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/xt_NFQUEUE.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "agent/process/cgroup.h"

namespace squall {
namespace {

constexpr char kOutput[] = "output";
constexpr char kInput[] = "input";
// Leaving: after the host's mangling (-150) and before its address translation (-100). Arriving: after that (100).
constexpr int32_t kOutputPriority = -110;
constexpr int32_t kInputPriority = 110;
constexpr uint32_t kBatchBytes = 1 << 20;

template <typename T, auto Free>
struct Freed {
  void operator()(T* value) const { Free(value); }
};
using TablePtr = std::unique_ptr<nftnl_table, Freed<nftnl_table, nftnl_table_free>>;
using ChainPtr = std::unique_ptr<nftnl_chain, Freed<nftnl_chain, nftnl_chain_free>>;
using RulePtr = std::unique_ptr<nftnl_rule, Freed<nftnl_rule, nftnl_rule_free>>;

// Loads a field into register 1 and compares it.
void Compare(nftnl_rule* rule, uint32_t op, const void* data, uint32_t size) {
  nftnl_expr* cmp = nftnl_expr_alloc("cmp");
  nftnl_expr_set_u32(cmp, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
  nftnl_expr_set_u32(cmp, NFTNL_EXPR_CMP_OP, op);
  nftnl_expr_set(cmp, NFTNL_EXPR_CMP_DATA, data, size);
  nftnl_rule_add_expr(rule, cmp);
}

void MatchMeta(nftnl_rule* rule, uint32_t key, uint32_t op, const void* data, uint32_t size) {
  nftnl_expr* meta = nftnl_expr_alloc("meta");
  nftnl_expr_set_u32(meta, NFTNL_EXPR_META_KEY, key);
  nftnl_expr_set_u32(meta, NFTNL_EXPR_META_DREG, NFT_REG_1);
  nftnl_rule_add_expr(rule, meta);
  Compare(rule, op, data, size);
}

void MatchPayload(nftnl_rule* rule, uint32_t base, uint32_t offset, const void* data, uint32_t size) {
  nftnl_expr* payload = nftnl_expr_alloc("payload");
  nftnl_expr_set_u32(payload, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
  nftnl_expr_set_u32(payload, NFTNL_EXPR_PAYLOAD_BASE, base);
  nftnl_expr_set_u32(payload, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
  nftnl_expr_set_u32(payload, NFTNL_EXPR_PAYLOAD_LEN, size);
  nftnl_rule_add_expr(rule, payload);
  Compare(rule, NFT_CMP_EQ, data, size);
}

void MatchIp(nftnl_rule* rule, const Address& address, bool source) {
  if (address.IsV4()) {
    MatchPayload(rule, NFT_PAYLOAD_NETWORK_HEADER, source ? 12 : 16, address.ip.s6_addr + 12, 4);
  } else {
    MatchPayload(rule, NFT_PAYLOAD_NETWORK_HEADER, source ? 8 : 24, address.ip.s6_addr, 16);
  }
}

void MatchPort(nftnl_rule* rule, const Address& address, bool source) {
  const uint16_t port = htons(address.port);
  MatchPayload(rule, NFT_PAYLOAD_TRANSPORT_HEADER, source ? 0 : 2, &port, sizeof(port));
}

void MatchSocketCgroup(nftnl_rule* rule, const CgroupMatch& cgroup) {
  nftnl_expr* socket = nftnl_expr_alloc("socket");
  nftnl_expr_set_u32(socket, NFTNL_EXPR_SOCKET_KEY, NFT_SOCKET_CGROUPV2);
  nftnl_expr_set_u32(socket, NFTNL_EXPR_SOCKET_LEVEL, cgroup.level);
  nftnl_expr_set_u32(socket, NFTNL_EXPR_SOCKET_DREG, NFT_REG_1);
  nftnl_rule_add_expr(rule, socket);
  Compare(rule, NFT_CMP_EQ, &cgroup.id, sizeof(cgroup.id));
}

nftnl_expr* Queue(uint16_t number, bool native) {
  if (native) {
    nftnl_expr* queue = nftnl_expr_alloc("queue");
    nftnl_expr_set_u16(queue, NFTNL_EXPR_QUEUE_NUM, number);
    nftnl_expr_set_u16(queue, NFTNL_EXPR_QUEUE_TOTAL, 1);
    nftnl_expr_set_u16(queue, NFTNL_EXPR_QUEUE_FLAGS, NFT_QUEUE_FLAG_BYPASS);
    return queue;
  }
  nftnl_expr* target = nftnl_expr_alloc("target");
  nftnl_expr_set_str(target, NFTNL_EXPR_TG_NAME, "NFQUEUE");
  nftnl_expr_set_u32(target, NFTNL_EXPR_TG_REV, 3);
  // The expression takes it over and frees it. The kernel wants its size rounded up to 8 bytes.
  auto* info = static_cast<xt_NFQ_info_v3*>(calloc(1, 8));
  info->queuenum = number;
  info->queues_total = 1;
  info->flags = NFQ_FLAG_BYPASS;
  nftnl_expr_set(target, NFTNL_EXPR_TG_INFO, info, 8);
  return target;
}

RulePtr Build(const std::string& table, const NftRule& from, uint16_t queue, bool native) {
  RulePtr rule(nftnl_rule_alloc());
  nftnl_rule_set_str(rule.get(), NFTNL_RULE_TABLE, table.c_str());
  nftnl_rule_set_str(rule.get(), NFTNL_RULE_CHAIN, from.outgoing ? kOutput : kInput);
  nftnl_rule_set_u32(rule.get(), NFTNL_RULE_FAMILY, NFPROTO_INET);
  const uint32_t mark = NftTable::kMark;
  MatchMeta(rule.get(), NFT_META_MARK, NFT_CMP_NEQ, &mark, sizeof(mark));
  const uint8_t protocol = static_cast<uint8_t>(from.protocol);
  MatchMeta(rule.get(), NFT_META_L4PROTO, NFT_CMP_EQ, &protocol, sizeof(protocol));
  if (!from.remote.IsAny()) {
    const uint8_t family = from.remote.IsV4() ? NFPROTO_IPV4 : NFPROTO_IPV6;
    MatchMeta(rule.get(), NFT_META_NFPROTO, NFT_CMP_EQ, &family, sizeof(family));
    MatchIp(rule.get(), from.remote, /*source=*/!from.outgoing);
  }
  MatchPort(rule.get(), from.remote, /*source=*/!from.outgoing);
  if (from.local) {
    MatchIp(rule.get(), *from.local, /*source=*/from.outgoing);
    MatchPort(rule.get(), *from.local, /*source=*/from.outgoing);
  }
  if (from.cgroup) MatchSocketCgroup(rule.get(), *from.cgroup);
  nftnl_rule_add_expr(rule.get(), nftnl_expr_alloc("counter"));
  if (from.verdict == NftRule::Verdict::kReset) {
    nftnl_expr* reject = nftnl_expr_alloc("reject");
    nftnl_expr_set_u32(reject, NFTNL_EXPR_REJECT_TYPE, NFT_REJECT_TCP_RST);
    nftnl_expr_set_u8(reject, NFTNL_EXPR_REJECT_CODE, 0);
    nftnl_rule_add_expr(rule.get(), reject);
  } else {
    nftnl_rule_add_expr(rule.get(), Queue(queue, native));
  }
  return rule;
}

absl::Status Explain(int error) {
  if (error == EPERM) return absl::PermissionDeniedError("cannot make an nftables table (needs root)");
  return absl::ErrnoToStatus(error, "the kernel does not take the nftables rules");
}

}  // namespace

absl::StatusOr<CgroupMatch> MatchCgroup(const std::string& folder) {
  const absl::StatusOr<std::string> mount = CgroupV2Mount();
  if (!mount.ok()) return mount.status();
  absl::string_view below = folder;
  struct stat info;
  if (!absl::ConsumePrefix(&below, *mount) || stat(folder.c_str(), &info) != 0) {
    return absl::NotFoundError(absl::StrCat(folder, " is no cgroup v2"));
  }
  below = absl::StripSuffix(absl::StripPrefix(below, "/"), "/");
  CgroupMatch match;
  match.id = info.st_ino;
  match.level = below.empty() ? 0 : static_cast<uint32_t>(std::count(below.begin(), below.end(), '/')) + 1;
  return match;
}

// A netlink socket, and transactions over it. What the kernel answers is there when a send returns.
class NftTable::Link {
 public:
  static absl::StatusOr<std::unique_ptr<Link>> Open(const NetNamespace& ns) {
    mnl_socket* socket = nullptr;
    const absl::Status status = ns.Inside([&] {
      socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
      return socket != nullptr ? absl::OkStatus() : absl::ErrnoToStatus(errno, "cannot speak to nftables");
    });
    if (!status.ok()) return status;
    auto link = std::unique_ptr<Link>(new Link(socket));
    const int bytes = 2 * kBatchBytes;
    setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
    if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) return absl::ErrnoToStatus(errno, "cannot speak to nftables");
    return link;
  }
  ~Link() { mnl_socket_close(socket_); }

  // Adds messages to the transaction that Commit sends.
  void Begin() {
    buffer_.resize(kBatchBytes + (64 << 10));
    batch_ = mnl_nlmsg_batch_start(buffer_.data(), kBatchBytes);
    nftnl_batch_begin(Here(), ++sequence_);
    mnl_nlmsg_batch_next(batch_);
  }
  // `family` of the message, `fill` writes its payload. False: the transaction is full.
  bool Add(uint16_t type, uint16_t flags, const std::function<void(nlmsghdr*)>& fill) {
    nlmsghdr* header = nftnl_nlmsg_build_hdr(Here(), type, NFPROTO_INET, flags, ++sequence_);
    fill(header);
    last_ = header;
    return mnl_nlmsg_batch_next(batch_);
  }
  void Drop() { mnl_nlmsg_batch_stop(batch_); }
  // 0 or errno. Nothing of the transaction has happened when it failed.
  int Commit() {
    last_->nlmsg_flags |= NLM_F_ACK;
    nftnl_batch_end(Here(), ++sequence_);
    mnl_nlmsg_batch_next(batch_);
    const ssize_t sent = mnl_socket_sendto(socket_, mnl_nlmsg_batch_head(batch_), mnl_nlmsg_batch_size(batch_));
    const int send_error = errno;
    mnl_nlmsg_batch_stop(batch_);
    if (sent < 0) return send_error;
    bool acknowledged = false;
    const int error = Answers([&](const nlmsghdr*) {}, acknowledged);
    return error != 0 ? error : acknowledged ? 0 : EIO;
  }

  // Sends one request and hands every message of the answer to `take`. 0 or errno.
  int Ask(uint16_t type, uint16_t flags, const std::function<void(nlmsghdr*)>& fill,
          const std::function<void(const nlmsghdr*)>& take) {
    std::vector<char> request(64 << 10);
    nlmsghdr* header = nftnl_nlmsg_build_hdr(request.data(), type, NFPROTO_INET, flags, ++sequence_);
    fill(header);
    if (mnl_socket_sendto(socket_, header, header->nlmsg_len) < 0) return errno;
    bool acknowledged = false;
    return Answers(take, acknowledged);
  }

 private:
  explicit Link(mnl_socket* socket) : socket_(socket) {}
  char* Here() const { return static_cast<char*>(mnl_nlmsg_batch_current(batch_)); }

  int Answers(const std::function<void(const nlmsghdr*)>& take, bool& acknowledged) {
    std::vector<char> answer(64 << 10);
    int error = 0;
    while (true) {
      const ssize_t size = recv(mnl_socket_get_fd(socket_), answer.data(), answer.size(), MSG_DONTWAIT);
      if (size < 0) return errno == EAGAIN ? error : errno;
      int left = static_cast<int>(size);
      for (auto* each = reinterpret_cast<nlmsghdr*>(answer.data()); mnl_nlmsg_ok(each, left);
           each = mnl_nlmsg_next(each, &left)) {
        if (each->nlmsg_type == NLMSG_ERROR) {
          const int of_message = -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(each))->error;
          if (of_message == 0) acknowledged = true;
          if (error == 0) error = of_message;
        } else if (each->nlmsg_type >= NLMSG_MIN_TYPE) {
          take(each);
        }
      }
    }
  }

  mnl_socket* socket_;
  std::vector<char> buffer_;
  mnl_nlmsg_batch* batch_ = nullptr;
  nlmsghdr* last_ = nullptr;
  uint32_t sequence_ = 0;
};

NftTable::NftTable(std::unique_ptr<Link> link, std::string name, uint16_t queue)
    : name_(std::move(name)), queue_(queue), link_(std::move(link)) {}

NftTable::~NftTable() = default;  // closes the socket, and with it goes the table

absl::StatusOr<std::unique_ptr<NftTable>> NftTable::Make(const NetNamespace& ns, uint16_t queue) {
  static std::atomic<int> made = 0;
  absl::StatusOr<std::unique_ptr<Link>> link = Link::Open(ns);
  if (!link.ok()) return link.status();
  const std::string name = absl::StrCat("squall-", getpid(), "-", ++made);
  (*link)->Begin();
  TablePtr table(nftnl_table_alloc());
  nftnl_table_set_str(table.get(), NFTNL_TABLE_NAME, name.c_str());
  nftnl_table_set_u32(table.get(), NFTNL_TABLE_FAMILY, NFPROTO_INET);
  nftnl_table_set_u32(table.get(), NFTNL_TABLE_FLAGS, NFT_TABLE_F_OWNER);
  (*link)->Add(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL,
               [&](nlmsghdr* header) { nftnl_table_nlmsg_build_payload(header, table.get()); });
  struct {
    const char* name;
    uint32_t hook;
    int32_t priority;
  } const chains[] = {{kOutput, NF_INET_LOCAL_OUT, kOutputPriority}, {kInput, NF_INET_LOCAL_IN, kInputPriority}};
  for (const auto& each : chains) {
    ChainPtr chain(nftnl_chain_alloc());
    nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_TABLE, name.c_str());
    nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_NAME, each.name);
    nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_TYPE, "filter");
    nftnl_chain_set_u32(chain.get(), NFTNL_CHAIN_HOOKNUM, each.hook);
    nftnl_chain_set_s32(chain.get(), NFTNL_CHAIN_PRIO, each.priority);
    nftnl_chain_set_u32(chain.get(), NFTNL_CHAIN_POLICY, NF_ACCEPT);
    (*link)->Add(NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL,
                 [&](nlmsghdr* header) { nftnl_chain_nlmsg_build_payload(header, chain.get()); });
  }
  const int error = (*link)->Commit();
  if (error == EOPNOTSUPP || error == EINVAL) {
    return absl::UnimplementedError("this kernel has no nftables tables with an owner (Linux 5.12 or newer)");
  }
  if (error != 0) return Explain(error);
  return std::unique_ptr<NftTable>(new NftTable(*std::move(link), name, queue));
}

absl::Status NftTable::SetRules(const std::vector<NftRule>& rules) {
  const absl::Status native = SetRulesWith(rules, /*native=*/true);
  return absl::IsNotFound(native) ? SetRulesWith(rules, /*native=*/false) : native;
}

absl::Status NftTable::SetRulesWith(const std::vector<NftRule>& rules, bool native) {
  absl::MutexLock lock(&mutex_);
  if (link_ == nullptr) return absl::FailedPreconditionError("the nftables table is gone");
  link_->Begin();
  RulePtr all(nftnl_rule_alloc());
  nftnl_rule_set_str(all.get(), NFTNL_RULE_TABLE, name_.c_str());
  nftnl_rule_set_u32(all.get(), NFTNL_RULE_FAMILY, NFPROTO_INET);
  link_->Add(NFT_MSG_DELRULE, 0, [&](nlmsghdr* header) { nftnl_rule_nlmsg_build_payload(header, all.get()); });
  for (const NftRule& each : rules) {
    const RulePtr rule = Build(name_, each, queue_, native);
    if (!link_->Add(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND,
                    [&](nlmsghdr* header) { nftnl_rule_nlmsg_build_payload(header, rule.get()); })) {
      link_->Drop();
      return absl::ResourceExhaustedError(absl::StrCat(rules.size(), " nftables rules are too many for one edge"));
    }
  }
  const int error = link_->Commit();
  if (error == ENOENT && native) return absl::NotFoundError("no native queue expression");
  if (error == ENOENT) {
    return absl::UnimplementedError(
        "this kernel can queue packets neither by nftables (CONFIG_NFT_QUEUE) nor by its NFQUEUE target (CONFIG_NFT_COMPAT and "
        "CONFIG_NETFILTER_XT_TARGET_NFQUEUE), or cannot match sockets (CONFIG_NFT_SOCKET) or reject (CONFIG_NFT_REJECT)");
  }
  if (error != 0) return Explain(error);
  listed_.clear();
  for (const bool outgoing : {true, false}) {
    for (size_t i = 0; i < rules.size(); ++i) {
      if (rules[i].outgoing == outgoing) listed_.push_back(i);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int64_t>> NftTable::Matched() {
  absl::MutexLock lock(&mutex_);
  if (link_ == nullptr) return absl::FailedPreconditionError("the nftables table is gone");
  RulePtr which(nftnl_rule_alloc());
  nftnl_rule_set_str(which.get(), NFTNL_RULE_TABLE, name_.c_str());
  nftnl_rule_set_u32(which.get(), NFTNL_RULE_FAMILY, NFPROTO_INET);
  std::vector<int64_t> listed;
  const auto count = [](nftnl_expr* expression, void* data) {
    if (strcmp(nftnl_expr_get_str(expression, NFTNL_EXPR_NAME), "counter") == 0) {
      static_cast<std::vector<int64_t>*>(data)->push_back(
          static_cast<int64_t>(nftnl_expr_get_u64(expression, NFTNL_EXPR_CTR_PACKETS)));
    }
    return 0;
  };
  const int error = link_->Ask(
      NFT_MSG_GETRULE, NLM_F_DUMP, [&](nlmsghdr* header) { nftnl_rule_nlmsg_build_payload(header, which.get()); },
      [&](const nlmsghdr* header) {
        RulePtr rule(nftnl_rule_alloc());
        if (nftnl_rule_nlmsg_parse(header, rule.get()) == 0) nftnl_expr_foreach(rule.get(), count, &listed);
      });
  if (error != 0) return Explain(error);
  if (listed.size() != listed_.size()) return absl::InternalError("the nftables table lists other rules than were made");
  std::vector<int64_t> matched(listed.size());
  for (size_t i = 0; i < listed.size(); ++i) matched[listed_[i]] = listed[i];
  return matched;
}

absl::StatusOr<std::vector<std::string>> NftTable::Names(const NetNamespace& ns) {
  absl::StatusOr<std::unique_ptr<Link>> link = Link::Open(ns);
  if (!link.ok()) return link.status();
  std::vector<std::string> names;
  const int error = (*link)->Ask(NFT_MSG_GETTABLE, NLM_F_DUMP, [](nlmsghdr*) {}, [&](const nlmsghdr* header) {
    TablePtr table(nftnl_table_alloc());
    if (nftnl_table_nlmsg_parse(header, table.get()) != 0) return;
    std::string name = nftnl_table_get_str(table.get(), NFTNL_TABLE_NAME);
    if (name.rfind("squall-", 0) == 0) names.push_back(std::move(name));
  });
  return error == 0 ? absl::StatusOr<std::vector<std::string>>(names) : Explain(error);
}

absl::Status NftTable::Remove() {
  absl::MutexLock lock(&mutex_);
  if (link_ == nullptr) return absl::OkStatus();
  TablePtr table(nftnl_table_alloc());
  nftnl_table_set_str(table.get(), NFTNL_TABLE_NAME, name_.c_str());
  nftnl_table_set_u32(table.get(), NFTNL_TABLE_FAMILY, NFPROTO_INET);
  const auto fill = [&](nlmsghdr* header) { nftnl_table_nlmsg_build_payload(header, table.get()); };
  link_->Begin();
  link_->Add(NFT_MSG_DELTABLE, 0, fill);
  const int error = link_->Commit();
  const int left = link_->Ask(NFT_MSG_GETTABLE, 0, fill, [](const nlmsghdr*) {});
  if (left != ENOENT) {
    return absl::FailedPreconditionError(absl::StrCat("the nftables table inet ", name_, " is still there (",
                                                      strerror(error), "): nft delete table inet ", name_));
  }
  link_.reset();
  return absl::OkStatus();
}

}  // namespace squall
