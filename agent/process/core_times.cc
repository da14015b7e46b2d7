#include "agent/process/core_times.h"

#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/taskstats.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent/process/proc.h"

namespace squall {
namespace {

std::optional<CoreTimes> FromProc(pid_t pid) {
  std::optional<CoreTimes> times;
  for (const pid_t tid : ThreadsOf(pid)) {
    const std::string text = Slurp(absl::StrCat("/proc/", pid, "/task/", tid, "/schedstat"));
    // Nanoseconds on a core, nanoseconds waiting for one, times on one.
    const std::vector<absl::string_view> fields = absl::StrSplit(text, ' ', absl::SkipEmpty());
    CoreTimes thread;
    if (fields.size() < 3 || !absl::SimpleAtoi(fields[0], &thread.ran_ns) ||
        !absl::SimpleAtoi(fields[1], &thread.waited_ns) || !absl::SimpleAtoi(fields[2], &thread.slices)) {
      continue;
    }
    if (!times) times.emplace();
    times->ran_ns += thread.ran_ns;
    times->waited_ns += thread.waited_ns;
    times->slices += thread.slices;
  }
  return times;
}

// A message to a family of generic netlink. `at` has room for one.
nlmsghdr* Question(char* at, uint16_t family, uint8_t command, uint32_t sequence) {
  nlmsghdr* const header = mnl_nlmsg_put_header(at);
  header->nlmsg_type = family;
  header->nlmsg_flags = NLM_F_REQUEST;
  header->nlmsg_seq = sequence;
  auto* const generic = static_cast<genlmsghdr*>(mnl_nlmsg_put_extra_header(header, sizeof(genlmsghdr)));
  generic->cmd = command;
  generic->version = 1;
  return header;
}

// Sends it and gives the answer to `take`, attribute by attribute. False when the kernel refused.
bool Exchange(int fd, const nlmsghdr* question, mnl_attr_cb_t take, void* into) {
  if (send(fd, question, question->nlmsg_len, 0) < 0) return false;
  alignas(nlmsghdr) char answer[8192];
  ssize_t size;
  while ((size = recv(fd, answer, sizeof(answer), 0)) < 0 && errno == EINTR) {
  }
  const auto* const header = reinterpret_cast<const nlmsghdr*>(answer);
  if (size <= 0 || !mnl_nlmsg_ok(header, static_cast<int>(size)) || header->nlmsg_type == NLMSG_ERROR ||
      header->nlmsg_seq != question->nlmsg_seq) {
    return false;
  }
  return mnl_attr_parse(header, sizeof(genlmsghdr), take, into) >= 0;
}

int TakeFamily(const nlattr* attribute, void* into) {
  if (mnl_attr_get_type(attribute) == CTRL_ATTR_FAMILY_ID) *static_cast<uint16_t*>(into) = mnl_attr_get_u16(attribute);
  return MNL_CB_OK;
}

int TakeTimes(const nlattr* attribute, void* into) {
  if (mnl_attr_get_type(attribute) == TASKSTATS_TYPE_AGGR_TGID) return mnl_attr_parse_nested(attribute, &TakeTimes, into);
  if (mnl_attr_get_type(attribute) != TASKSTATS_TYPE_STATS) return MNL_CB_OK;
  // Kernels have appended to it over time; what is asked for here was there from the first.
  taskstats stats = {};
  memcpy(&stats, mnl_attr_get_payload(attribute),
         std::min(sizeof(stats), static_cast<size_t>(mnl_attr_get_payload_len(attribute))));
  CoreTimes times;
  times.ran_ns = static_cast<int64_t>(stats.cpu_run_virtual_total);
  times.waited_ns = static_cast<int64_t>(stats.cpu_delay_total);
  times.slices = static_cast<int64_t>(stats.cpu_count);
  *static_cast<std::optional<CoreTimes>*>(into) = times;
  return MNL_CB_OK;
}

}  // namespace

CoreTimesReader::CoreTimesReader() {
  Fd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC));
  if (!fd) return;
  // The kernel answers at once; without this a lost answer would hold up the agent.
  const timeval patience = {0, 100'000};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  alignas(nlmsghdr) char text[256];
  nlmsghdr* const question = Question(text, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, ++sequence_);
  mnl_attr_put_strz(question, CTRL_ATTR_FAMILY_NAME, TASKSTATS_GENL_NAME);
  if (!Exchange(fd.get(), question, &TakeFamily, &family_) || family_ == 0) return;
  fd_ = std::move(fd);
  // Refused once, it is refused always.
  if (!Ask(getpid())) fd_ = Fd();
}

std::optional<CoreTimes> CoreTimesReader::Ask(pid_t pid) {
  alignas(nlmsghdr) char text[256];
  nlmsghdr* const question = Question(text, family_, TASKSTATS_CMD_GET, ++sequence_);
  mnl_attr_put_u32(question, TASKSTATS_CMD_ATTR_TGID, static_cast<uint32_t>(pid));
  std::optional<CoreTimes> times;
  if (!Exchange(fd_.get(), question, &TakeTimes, &times)) return std::nullopt;
  return times;
}

std::optional<CoreTimes> CoreTimesReader::Read(pid_t pid) { return fd_ ? Ask(pid) : FromProc(pid); }

}  // namespace squall
