#include "agent/net/kernel_lists.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "agent/process/proc.h"

namespace squall {
namespace {

using MessageHandler = std::function<void(const nlmsghdr*)>;

struct CloseSocket {
  void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
};
struct FreeTable {
  void operator()(nftnl_table* table) const { nftnl_table_free(table); }
};

// Sends a request for a dump and hands over its messages. EINTR: the list changed meanwhile, and may be incomplete.
absl::Status Dump(int bus, const nlmsghdr* request, const MessageHandler& take) {
  const std::unique_ptr<mnl_socket, CloseSocket> socket(mnl_socket_open2(bus, SOCK_CLOEXEC));
  if (socket == nullptr || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
    return absl::ErrnoToStatus(errno, "cannot speak netlink");
  }
  const timeval patience = {1, 0};
  setsockopt(mnl_socket_get_fd(socket.get()), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  if (mnl_socket_sendto(socket.get(), request, request->nlmsg_len) < 0) return absl::ErrnoToStatus(errno, "cannot ask the kernel");
  std::vector<char> answer(64 << 10);
  const auto each = [](const nlmsghdr* header, void* data) {
    (*static_cast<const MessageHandler*>(data))(header);
    return MNL_CB_OK;
  };
  while (true) {
    const ssize_t size = mnl_socket_recvfrom(socket.get(), answer.data(), answer.size());
    if (size < 0) return absl::ErrnoToStatus(errno, "the kernel does not answer");
    const int more = mnl_cb_run(answer.data(), static_cast<size_t>(size), request->nlmsg_seq, mnl_socket_get_portid(socket.get()), each,
                                const_cast<MessageHandler*>(&take));
    if (more < 0) return absl::ErrnoToStatus(errno, "the kernel does not tell");
    if (more == MNL_CB_STOP) return absl::OkStatus();
  }
}

// `list` fills what it is given. A list that changes all the time is taken as it is.
template <typename T>
absl::StatusOr<std::vector<T>> Listed(const NetNamespace& ns, const std::function<absl::Status(std::vector<T>&)>& list) {
  constexpr int kTries = 5;
  std::vector<T> found;
  const absl::Status status = ns.Inside([&] {
    absl::Status last;
    for (int i = 0; i < kTries; ++i) {
      found.clear();
      last = list(found);
      if (!absl::IsUnavailable(last)) return last;  // EINTR is UNAVAILABLE
    }
    return last;
  });
  if (!status.ok()) return status;
  return found;
}

std::string FamilyName(uint8_t family) {
  switch (family) {
    case NFPROTO_INET:
      return "inet";
    case NFPROTO_IPV4:
      return "ip";
    case NFPROTO_IPV6:
      return "ip6";
    case NFPROTO_ARP:
      return "arp";
    case NFPROTO_BRIDGE:
      return "bridge";
    case NFPROTO_NETDEV:
      return "netdev";
    default:
      return absl::StrCat("family ", family);
  }
}

std::string ParentName(uint32_t parent) {
  if (parent == TC_H_ROOT) return "root";
  if (parent == TC_H_INGRESS) return "ingress";
  return absl::StrFormat("%x:%x", TC_H_MAJ(parent) >> 16, TC_H_MIN(parent));
}

// Every id that `next` knows. `open` gives a descriptor, -1 where it is gone meanwhile.
template <typename Next, typename Open, typename Take>
absl::Status ForEachId(Next next, Open open, Take take) {
  for (uint32_t id = 0; next(id, &id) == 0;) {
    const Fd fd(open(id));
    if (fd) take(id, fd.get());
  }
  return errno == ENOENT ? absl::OkStatus() : absl::ErrnoToStatus(errno, "cannot list what BPF there is");
}

}  // namespace

absl::StatusOr<std::vector<NftTableName>> ListNftTables(const NetNamespace& ns) {
  return Listed<NftTableName>(ns, [](std::vector<NftTableName>& tables) {
    char request[MNL_NLMSG_HDRLEN + 64] = {};
    const nlmsghdr* header = nftnl_nlmsg_build_hdr(request, NFT_MSG_GETTABLE, NFPROTO_UNSPEC, NLM_F_DUMP, 1);
    const absl::Status status = Dump(NETLINK_NETFILTER, header, [&](const nlmsghdr* message) {
      const std::unique_ptr<nftnl_table, FreeTable> table(nftnl_table_alloc());
      if (table == nullptr || nftnl_table_nlmsg_parse(message, table.get()) != 0) return;
      tables.push_back({FamilyName(static_cast<uint8_t>(nftnl_table_get_u32(table.get(), NFTNL_TABLE_FAMILY))),
                        nftnl_table_get_str(table.get(), NFTNL_TABLE_NAME)});
    });
    // A kernel without nftables has no tables.
    return absl::IsUnimplemented(status) || absl::IsInvalidArgument(status) ? absl::OkStatus() : status;
  });
}

absl::StatusOr<std::vector<Qdisc>> ListQdiscs(const NetNamespace& ns) {
  return Listed<Qdisc>(ns, [](std::vector<Qdisc>& qdiscs) {
    char request[MNL_NLMSG_HDRLEN + sizeof(tcmsg) + 64] = {};
    nlmsghdr* header = mnl_nlmsg_put_header(request);
    header->nlmsg_type = RTM_GETQDISC;
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    header->nlmsg_seq = 1;
    mnl_nlmsg_put_extra_header(header, sizeof(tcmsg));
    return Dump(NETLINK_ROUTE, header, [&](const nlmsghdr* message) {
      if (message->nlmsg_type != RTM_NEWQDISC) return;
      const auto* about = static_cast<const tcmsg*>(mnl_nlmsg_get_payload(message));
      Qdisc qdisc;
      char name[IF_NAMESIZE] = {};
      const auto index = static_cast<unsigned>(about->tcm_ifindex);
      qdisc.interface = if_indextoname(index, name) != nullptr ? name : absl::StrCat("interface ", index);
      qdisc.parent = ParentName(about->tcm_parent);
      qdisc.handle = about->tcm_handle;
      const auto take = [](const nlattr* attribute, void* kind) {
        if (mnl_attr_get_type(attribute) == TCA_KIND) *static_cast<std::string*>(kind) = mnl_attr_get_str(attribute);
        return MNL_CB_OK;
      };
      mnl_attr_parse(message, sizeof(tcmsg), take, &qdisc.kind);
      qdiscs.push_back(std::move(qdisc));
    });
  });
}

absl::StatusOr<std::vector<BpfObject>> ListBpf() {
  std::vector<BpfObject> objects;
  absl::Status status = ForEachId(bpf_prog_get_next_id, bpf_prog_get_fd_by_id, [&](uint32_t id, int fd) {
    bpf_prog_info info = {};
    uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return;
    const char* type = libbpf_bpf_prog_type_str(static_cast<bpf_prog_type>(info.type));
    objects.push_back({{false, id}, absl::StrCat(info.name, info.name[0] == '\0' ? "" : " ", "(", type == nullptr ? "?" : type, ")")});
  });
  if (!status.ok()) return status;
  status = ForEachId(bpf_link_get_next_id, bpf_link_get_fd_by_id, [&](uint32_t id, int fd) {
    bpf_link_info info = {};
    uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(fd, &info, &size) != 0) return;
    const char* type = libbpf_bpf_link_type_str(static_cast<bpf_link_type>(info.type));
    objects.push_back({{true, id}, absl::StrCat("of program ", info.prog_id, " (", type == nullptr ? "?" : type, ")")});
  });
  // Links came later than programs.
  if (!status.ok() && !absl::IsInvalidArgument(status)) return status;
  return objects;
}

std::set<BpfId> BpfHeldBy(pid_t pid) {
  std::set<BpfId> held;
  std::error_code error;
  const std::string folder = absl::StrCat("/proc/", pid, "/fd");
  for (auto entry = std::filesystem::directory_iterator(folder, error); entry != std::filesystem::directory_iterator();
       entry.increment(error)) {
    if (error) break;
    const std::string fd = entry->path().filename();
    char target[32] = {};
    if (readlink(absl::StrCat(folder, "/", fd).c_str(), target, sizeof(target) - 1) <= 0) continue;
    if (!absl::StartsWith(target, "anon_inode:bpf")) continue;
    const std::string about = Slurp(absl::StrCat("/proc/", pid, "/fdinfo/", fd));
    uint32_t program = 0, link = 0;
    for (absl::string_view line : absl::StrSplit(about, '\n')) {
      if (absl::ConsumePrefix(&line, "prog_id:")) (void)absl::SimpleAtoi(line, &program);
      if (absl::ConsumePrefix(&line, "link_id:")) (void)absl::SimpleAtoi(line, &link);
    }
    // A link names its program too.
    if (link != 0) held.insert({true, link});
    if (program != 0) held.insert({false, program});
  }
  return held;
}

}  // namespace squall
