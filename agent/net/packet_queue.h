#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "agent/net/address.h"
#include "agent/net/nft_table.h"
#include "agent/net/owned_flows.h"
#include "proto/timeline.pb.h"

namespace squall {

// What is done to packets, and to which.
struct PacketAction {
  std::vector<Address> to;  // where the edge leads; an address of zeroes (::) stands for any
  int protocol = 0;         // IPPROTO_TCP or IPPROTO_UDP
  bool on_request = false;   // packets to those addresses
  bool on_response = false;  // packets from them

  enum class What {
    kDelay,      // held back, in order within a flow; every packet
    kReorder,    // held back, later ones overtake
    kDuplicate,  // passed on, and a copy behind it
    kCorrupt,    // one bit of the payload turned over; packets with a payload only are counted
  };
  What what = What::kDelay;
  std::function<int64_t()> delay_ns;  // kDelay, kReorder: how long this packet is held. Called on the queue's thread
  int64_t requested_ns = 0;           // kDelay: what the evidence gives as asked for
  double share = 100;                 // kDelay: of the connections, in percent, in the order in which they are first seen
  double percent = 100;               // all but kDelay: as PacketDice
  double correlation = 0;
  bool right_checksum = false;        // kCorrupt: the receiver's kernel does not notice
  uint64_t seed = 0;
};

// Takes the packets of one target to and from the remote addresses of its faults out of the kernel, and puts them back late,
// twice or damaged, or passes them on at once: a netfilter queue, read by a thread of its own, in the target's network namespace.
//
// While no fault is set there are neither rules nor a queue. Several faults act on a packet in this order: it is damaged,
// then doubled (the copy has the damage), then held back by each delay and reordering, one after the other.
//
// When the agent dies, the queue's socket and that of the rules' table close: what was held is dropped (TCP sends it again), and
// from then on packets pass, for the rules have `bypass` and vanish. Nothing stays in the way when the reader is too slow
// either: beyond what the queue holds, packets pass untouched (NFQA_CFG_F_FAIL_OPEN).
//
// Packets come without segmentation offload: the kernel cuts large ones for the queue and completes their checksums. A copy
// goes out by a raw socket with NftTable::kMark, which the rules leave alone. One to the dependency takes the packet's own way;
// one to the service is sent to its address here, and so arrives over loopback with the dependency's address as its source.
// Datagrams larger than the way's MTU cannot be doubled like that: they pass once, and do not count as hit.
//
// What is held where it leaves counts against its socket's send buffer until it is passed on (for TCP: against what it puts
// below itself, tcp_limit_output_bytes), so that delays of requests limit how fast a service can send. Thread-safe.
class PacketQueue {
 public:
  struct Target {
    std::optional<CgroupMatch> cgroup;    // its sockets are those that were made there
    std::shared_ptr<OwnedFlows> flows;    // or those that its processes hold
  };

  // Why it would not work on this host; empty: it would. Found out in a network namespace made for that.
  static std::string WhyNot();

  // `ns` outlives this. Makes nothing yet.
  PacketQueue(const NetNamespace& ns, Target target);
  // As if every fault were cleared.
  ~PacketQueue();

  // Does `action` to packets from now on. An error, and nothing is changed. REQUIRES: no fault of this name is set.
  absl::Status Set(const std::string& fault, PacketAction action);
  // Lets `change` set other values in what the fault does, for packets from now on: its percent, what delay_ns draws, and what of it
  // was asked for. Called on the caller's thread while no packet is looked at. NOT_FOUND: it is not set.
  absl::Status Change(const std::string& fault, const std::function<void(PacketAction&)>& change);
  // The edge of this fault leads elsewhere from now on.
  absl::Status SetRemotes(const std::string& fault, std::vector<Address> to);
  // Stops it, and passes on at once what it alone holds back. When it was the last one, rules and queue are gone, and that was
  // looked at. Idempotent.
  absl::Status Clear(const std::string& fault);
  // What it did since Set. Stays after Clear.
  Evidence EvidenceOf(const std::string& fault);

 private:
  class Reader;
  std::unique_ptr<Reader> reader_;
};

}  // namespace squall
