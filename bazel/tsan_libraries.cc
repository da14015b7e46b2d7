// Tells ThreadSanitizer what Debian's libraries, which are not built with it, synchronize. Linked into every program of --config=tsan: what is
// defined here is found before what libabsl_synchronization.so defines, and calls that.
#include <dlfcn.h>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);

// Tests fork from threads, and what libgrpc copies is ordered by its own atomics.
const char* __tsan_default_options() { return "ignore_noninstrumented_modules=1:die_after_fork=0"; }
// Templates of gRPC's callback server, which only tests use, are compiled here and ordered there. What stands below a handler of ours must
// not be named: a suppression hides all that any frame of either stack calls.
const char* __tsan_default_suppressions() {
  return "race:grpc::internal::CallbackWithSuccessTag::\nrace:ServerCallbackReaderWriterImpl::\n";
}
}

namespace {

template <typename Function>
Function* Next(const char* symbol) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, symbol));
}

void Acquire(const void* what) { __tsan_acquire(const_cast<void*>(what)); }
void Release(const void* what) { __tsan_release(const_cast<void*>(what)); }

}  // namespace

// The real function, once found. `symbol` without the namespace.
#define NEXT(symbol, ...) static auto* const next = Next<__VA_ARGS__>("_ZN4absl7debian3" symbol)
#define NEXT_CONST(symbol, ...) static auto* const next = Next<__VA_ARGS__>("_ZNK4absl7debian3" symbol)

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  NEXT("5Mutex4LockEv", void(Mutex*));
  next(this);
  Acquire(this);
}
void Mutex::Unlock() {
  NEXT("5Mutex6UnlockEv", void(Mutex*));
  Release(this);
  next(this);
}
bool Mutex::TryLock() {
  NEXT("5Mutex7TryLockEv", bool(Mutex*));
  const bool locked = next(this);
  if (locked) Acquire(this);
  return locked;
}
void Mutex::ReaderLock() {
  NEXT("5Mutex10ReaderLockEv", void(Mutex*));
  next(this);
  Acquire(this);
}
void Mutex::ReaderUnlock() {
  NEXT("5Mutex12ReaderUnlockEv", void(Mutex*));
  Release(this);
  next(this);
}
void Mutex::LockWhen(const Condition& condition) {
  NEXT("5Mutex8LockWhenERKNS0_9ConditionE", void(Mutex*, const Condition&));
  next(this, condition);
  Acquire(this);
}
void Mutex::Await(const Condition& condition) {
  NEXT("5Mutex5AwaitERKNS0_9ConditionE", void(Mutex*, const Condition&));
  Release(this);
  next(this, condition);
  Acquire(this);
}
bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  NEXT("5Mutex16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE", bool(Mutex*, const Condition&, Duration));
  Release(this);
  const bool met = next(this, condition, timeout);
  Acquire(this);
  return met;
}
bool Mutex::AwaitWithDeadline(const Condition& condition, Time deadline) {
  NEXT("5Mutex17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE", bool(Mutex*, const Condition&, Time));
  Release(this);
  const bool met = next(this, condition, deadline);
  Acquire(this);
  return met;
}
bool Mutex::LockWhenWithTimeout(const Condition& condition, Duration timeout) {
  NEXT("5Mutex19LockWhenWithTimeoutERKNS0_9ConditionENS0_8DurationE", bool(Mutex*, const Condition&, Duration));
  const bool met = next(this, condition, timeout);
  Acquire(this);
  return met;
}
bool Mutex::LockWhenWithDeadline(const Condition& condition, Time deadline) {
  NEXT("5Mutex20LockWhenWithDeadlineERKNS0_9ConditionENS0_4TimeE", bool(Mutex*, const Condition&, Time));
  const bool met = next(this, condition, deadline);
  Acquire(this);
  return met;
}

void CondVar::Wait(Mutex* mutex) {
  NEXT("7CondVar4WaitEPNS0_5MutexE", void(CondVar*, Mutex*));
  Release(mutex);
  next(this, mutex);
  Acquire(mutex);
}
bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  NEXT("7CondVar15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE", bool(CondVar*, Mutex*, Duration));
  Release(mutex);
  const bool expired = next(this, mutex, timeout);
  Acquire(mutex);
  return expired;
}
bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  NEXT("7CondVar16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE", bool(CondVar*, Mutex*, Time));
  Release(mutex);
  const bool expired = next(this, mutex, deadline);
  Acquire(mutex);
  return expired;
}

// Whoever unlocks evaluates what others wait for: after its release above, and before the lock is free.
bool Condition::Eval() const {
  NEXT_CONST("9Condition4EvalEv", bool(const Condition*));
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  const bool met = next(this);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  return met;
}

void Notification::Notify() {
  NEXT("12Notification6NotifyEv", void(Notification*));
  Release(this);
  next(this);
}
void Notification::WaitForNotification() const {
  NEXT_CONST("12Notification19WaitForNotificationEv", void(const Notification*));
  next(this);
  Acquire(this);
}
bool Notification::WaitForNotificationWithTimeout(Duration timeout) const {
  NEXT_CONST("12Notification30WaitForNotificationWithTimeoutENS0_8DurationE", bool(const Notification*, Duration));
  const bool notified = next(this, timeout);
  if (notified) Acquire(this);
  return notified;
}

ABSL_NAMESPACE_END
}  // namespace absl
