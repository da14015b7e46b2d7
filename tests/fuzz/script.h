#pragma once

#include <cstddef>
#include <cstdint>

namespace squall {

// What a fuzzer's input does to a Conversation, and what must hold whatever it is:
//  - Without a fault, what comes out is what went in, at once, and the same calls are told whether it comes in these pieces or in
//    single bytes.
//  - With faults that come and go: nothing crashes, no more is held than is allowed, and once the faults are over and both
//    sides have closed, nothing is held any more.
// Aborts when one of them does not.
//
// The input is a list of steps: a byte that says what to do, and where it is about bytes, their number (two bytes) and
// they themselves.
void RunScript(const uint8_t* data, size_t size, bool http2);

}  // namespace squall
