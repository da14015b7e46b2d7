#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/net/header_coding.h"
#include "agent/net/http2_frames.h"
#include "agent/net/protocol.h"

namespace squall {

// HTTP/2 with prior knowledge (RFC 9113).
//
// Until a fault hits a request of the connection, every byte passes as it came, and the protocol only follows: it decodes the
// header blocks of both directions, counts open streams and the window of the connection towards the service. From the first
// request that is hit on, the connection is *changed*, until it ends:
//  - Header blocks towards the dependency are encoded anew, since the service's encoder counts on blocks that the dependency
//    never gets, or gets later. The first one empties the dependency's table, so that both tables are equal from there on.
//  - A request that waits is overtaken by others, and stream ids must rise: it gets an id of its own towards the dependency
//    when it goes, and ids are translated both ways. PRIORITY, which is advice about ids, is dropped.
//  - Our answers are encoded without the service's table and put between whole frames and blocks of the dependency. What DATA they
//    take of the connection's window is kept back from the service's next WINDOW_UPDATEs; the dependency, which does not know
//    of it, has to wait where it would overrun the window.
//  - DATA of requests that do not reach the dependency is given back to the service's windows at once, also after the answer:
//    clients do not all take it well when a stream is reset before they have sent everything.
//
// What cannot be followed (kMaxBlock and so on) passes on untouched if the connection is not changed, and breaks it otherwise.
class Http2 : public Protocol {
 public:
  static constexpr size_t kMaxBlock = 64 << 10;      // bytes of the frames of one header block
  static constexpr size_t kMaxFrame = 64 << 10;      // bytes of a frame that is looked into, DATA excepted
  static constexpr size_t kMaxStreams = 4096;        // open at a time
  static constexpr size_t kMaxClosed = 1024;         // closed streams whose translated id is still known
  static constexpr size_t kMaxOwnOutput = 1 << 20;   // of our own frames that wait for their turn
  static constexpr size_t kMaxUp = 4 << 20;          // on a changed connection, held back or not taken away yet

  // `begun`: the first bytes of the preface, which have been passed on already.
  Http2(ConversationParts& parts, absl::string_view begun);

  void FromService(absl::string_view bytes, int64_t now_ns) override;
  void FromDependency(absl::string_view bytes, int64_t now_ns) override;
  void ServiceEnded(int64_t now_ns) override;
  void DependencyEnded(int64_t now_ns) override {}
  void OnTime(int64_t now_ns) override;
  int64_t NextDueNs() const override { return due_.empty() || !Writable(up_) ? kNothingDue : due_.begin()->first; }
  void Forget(RequestFaults::Kind kind, int64_t now_ns) override;
  bool HoldsFor(RequestFaults::Kind kind) const override;
  size_t HeldToDependency() const override;
  size_t HeldToService() const override { return waiting_.size() - waiting_from_ + pending_.size(); }
  size_t OwnToService() const override { return pending_.size(); }
  bool OwesAnswer() const override;
  bool Idle() const override { return parts_.calls.size() == 0 && up_.head_size == 0 && !up_.in_block; }

 private:
  struct HeldFrame {
    uint8_t type = 0;
    uint8_t flags = 0;
    std::string payload;              // or, for header blocks:
    std::vector<HeaderField> fields;
    size_t Size() const;
  };
  struct Stream {
    enum State { kOpen, kHeld, kAnswered, kDrained };  // drained: answered, and the rest of the request is dropped
    State state = kOpen;
    uint64_t call = 0;
    uint32_t dependency_id = 0;  // 0: the dependency has not seen it
    bool grpc = false;
    bool head = false;
    bool request_ended = false;
    bool response_ended = false;
    int64_t window = 0;  // towards the service, beyond the initial one
    // Held.
    RequestFaults::Decision decision;
    int64_t since_ns = 0;
    int64_t due_ns = 0;
    std::vector<HeldFrame> held;
    // Answered.
    std::shared_ptr<const OwnAnswer> answer;
    size_t sent = 0;  // of its body
  };
  using Streams = std::map<uint32_t, Stream>;

  // One direction: the frame and the header block at hand.
  struct Input {
    char head[kFrameHeaderSize];
    size_t head_size = 0;  // 0: between frames
    bool begun = false;    // its header is whole and was looked at
    Frame frame;
    uint32_t left = 0;     // of its payload
    bool raw = false;      // passes as it comes, header included
    bool pass = false;     // its payload passes as it comes
    bool kept = false;     // its bytes so far are kept elsewhere or passed
    bool collect = false;  // its payload is needed whole
    std::string payload;
    // The block.
    bool in_block = false;
    bool block_raw = false;
    bool block_ends_stream = false;
    uint8_t block_type = 0;
    uint32_t block_stream = 0;
    int64_t block_begin_ns = 0;
    size_t block_size = 0;
    std::string block;
    std::string block_frames;  // as they came, while they are not passed

    absl::string_view Head() const { return {head, head_size}; }
  };
  enum class Begin { kGoOn, kWait, kMalformed };

  // Http2, both directions.
  size_t Feed(Input& in, absl::string_view bytes);
  Begin BeginFrame(Input& in);
  bool EndFrame(Input& in);
  bool TakeBlockFragment(Input& in);
  bool IsUp(const Input& in) const { return &in == &up_; }
  std::string& Out(const Input& in) { return IsUp(in) ? parts_.to_dependency : parts_.to_service; }
  // Frames of ours may be written in that direction now.
  static bool Writable(const Input& in);
  void GiveUp();
  static void Flush(Input& in, std::string& out);

  // From the service.
  Begin BeginUp();
  bool EndUp();
  bool EndUpBlock();
  bool TakeUpBlock();
  bool NewRequest(uint32_t id, std::vector<HeaderField> fields, bool decided);
  void ServiceSettings();
  void ServiceWindow(uint32_t increment);
  void ServiceReset(uint32_t id);
  void Change();
  void PassHalf();
  void RunDue();
  void Hold(uint32_t id, Stream& stream);
  void Unhold(uint32_t id, Stream& stream);
  void Release(uint32_t id, bool natural);
  void SendHeld(uint32_t id, Stream& stream);
  bool AllotId(uint32_t id, Stream& stream);
  void SendHeaders(Stream& stream, const std::vector<HeaderField>& fields, bool end_stream);
  void Refuse(uint32_t id);
  void ToDependency(absl::string_view frames);

  // From the dependency.
  Begin BeginDown();
  bool EndDown();
  bool EndDownBlock();
  void DependencySettings();
  void DependencyReset(uint32_t dependency_id);
  bool Goaway();
  void ResponseEnded(uint32_t id);
  uint32_t ServiceId(uint32_t dependency_id) const;  // 0: not known
  void GoOnDown();

  // Of our own.
  void StartAnswer(uint32_t id);
  void PumpAnswers();
  int64_t InitialWindow() const;  // that the service surely grants
  void FinishAnswer(uint32_t id);
  void ToService(absl::string_view frames);
  void FlushPending();
  void CloseStream(Streams::iterator stream);
  void GiveBack(uint32_t id, const Stream* stream, uint32_t spent);
  static uint32_t Spent(const Stream& stream);

  ConversationParts& parts_;
  int64_t now_ns_ = 0;
  size_t preface_seen_ = 0;
  Input up_;
  Input down_;
  std::string waiting_;  // of the dependency, from waiting_from_, while the window is too small
  size_t waiting_from_ = 0;
  Streams streams_;
  uint32_t last_id_ = 0;  // the service's newest stream
  HeaderDecoder up_decoder_;
  HeaderDecoder down_decoder_;
  TableSizes up_sizes_;    // of the decoder at the dependency
  TableSizes down_sizes_;  // of the one at the service
  std::optional<uint32_t> resize_;  // what the service's decoder wants to read at the start of the next block
  int64_t window_ = 65535;          // of the connection towards the service
  int64_t initial_window_ = 65535;  // of a stream, as the service and the dependency have agreed on it
  std::deque<std::optional<uint32_t>> new_windows_;  // of the service's SETTINGS that are not acknowledged, oldest first
  bool going_away_ = false;         // the dependency takes no new streams

  bool changed_ = false;
  std::unique_ptr<HeaderEncoder> encoder_;
  uint32_t last_dependency_id_ = 0;
  bool translated_ = false;       // ids differ from here on
  uint32_t identical_until_ = 0;  // up to here they do not
  std::map<uint32_t, uint32_t> service_ids_;  // by dependency's id, once translated
  std::deque<uint32_t> closed_;               // of those, the closed ones, oldest first
  std::map<uint32_t, uint64_t> unwritten_;    // the calls of closed streams whose answer may not have reached the service yet
  std::set<std::pair<int64_t, uint32_t>> due_;
  size_t held_bytes_ = 0;
  std::set<uint32_t> answering_;  // streams with a body of ours that the stream's window has room for
  size_t owed_ = 0;               // answers that are not whole yet
  int64_t debt_ = 0;              // DATA of ours that the service's WINDOW_UPDATEs are yet to be cut by
  // What waits until the dependency's frame and block are whole.
  struct Ending {
    size_t offset;
    uint64_t call;
    CallResult result;
  };
  bool down_begun_ = false;  // the dependency's first frame, SETTINGS, has passed: nothing may stand before it
  std::string pending_;
  std::vector<Ending> pending_endings_;
  std::string pending_up_;
};

}  // namespace squall
