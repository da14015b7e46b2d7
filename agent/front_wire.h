#pragma once

#include <cstdint>
#include <cstring>
#include <string>

#include "absl/strings/string_view.h"

// What squall-agent and squall-front say to each other: one message is one packet of a SOCK_SEQPACKET socket.
namespace squall {

// The descriptors that squall-front starts with; the first listener is followed by the others.
enum FrontFd : int { kFrontControl = 3, kFrontCert, kFrontKey, kFrontCa, kFrontListeners };

enum class FrontSays : uint32_t {
  kReady,       // text: what it runs as
  kFailed,      // text: why it ends
  kHere,        // the answer to kAreYouThere
  kConnection,  // this peer, with this address and the name in its certificate (text), may talk to the agent
  kRefused,     // this address may not; text: why
};

struct FromFront {
  FrontSays what;
  uint32_t others;  // kRefused: how many more were since the last one that was told
  uint64_t connection;
  char peer[64];
  char text[448];
};

enum class AgentSays : uint32_t {
  kAreYouThere,
  kTake,  // with a descriptor: the front's end of the socket that is this connection, decrypted
};

struct ToFront {
  AgentSays what;
  uint32_t unused;
  uint64_t connection;
};

// As much of the text as fits.
template <size_t kSize>
void SetText(char (&to)[kSize], absl::string_view text) {
  const size_t size = text.size() < kSize ? text.size() : kSize - 1;
  memcpy(to, text.data(), size);
  memset(to + size, 0, kSize - size);
}

template <size_t kSize>
std::string GetText(const char (&from)[kSize]) {
  return std::string(from, strnlen(from, kSize));
}

// A name that can stand in a log: not empty, shorter than a message has room for, of one line, with no unseen characters.
inline bool IsPrintable(absl::string_view text) {
  for (const char c : text) {
    if (c < ' ' || c > '~') return false;
  }
  return !text.empty() && text.size() < 256;
}

}  // namespace squall
