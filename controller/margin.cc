#include "controller/margin.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/messages.h"
#include "base/text.h"
#include "controller/schema.h"
#include "controller/wording.h"

namespace squall {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

namespace {

// The message whose field is varied: the kind of the fault, or of the load, or the load itself.
template <typename Named>
Message* KindOf(Named& named) {
  const auto* kind = KindField(named);
  return kind == nullptr ? nullptr : named.GetReflection()->MutableMessage(&named, kind);
}

Message* MessageOf(Scenario& scenario) {
  const Margin& find = scenario.find();
  for (Load& load : *scenario.mutable_load()) {
    if (load.name() == find.load()) return &load;
  }
  for (Fault& fault : *scenario.mutable_faults()) {
    if (find.load().empty() && fault.name() == find.fault()) return KindOf(fault);
  }
  return nullptr;
}

bool IsQuantity(const FieldDescriptor& field) {
  if (field.is_repeated()) return false;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64:
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return true;
    default:
      return IsDuration(field);
  }
}

double NumberOf(const ScalarValue& value) {
  if (const auto* duration = std::get_if<absl::Duration>(&value)) return absl::ToDoubleNanoseconds(*duration);
  if (const auto* integer = std::get_if<int64_t>(&value)) return static_cast<double>(*integer);
  return std::get<double>(value);
}

ScalarValue ValueOf(const FieldDescriptor& field, double number) {
  if (IsDuration(field)) return ScalarValue(absl::Nanoseconds(std::round(number)));
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) return ScalarValue(number);
  return ScalarValue(static_cast<int64_t>(std::llround(number)));
}

// Of two positive numbers that are far apart the middle is where both are off by the same factor.
double Middle(double a, double b) { return a > 0 && b > 0 ? std::sqrt(a * b) : (a + b) / 2; }

}  // namespace

const Tried* MarginSearch::Find(double value) const {
  for (const Tried& each : tried_) {
    if (each.value == value) return &each;
  }
  return nullptr;
}

const Tried* MarginSearch::LastThatHeld() const {
  // What lies beyond a value that tripped once does not count, even where it held.
  const Tried* last = nullptr;
  for (const Tried& each : tried_) {
    if (!each.AlwaysHeld()) continue;
    const bool beyond = std::any_of(tried_.begin(), tried_.end(), [&](const Tried& other) {
      return other.tripped > 0 && Along(other.value) < Along(each.value);
    });
    if (!beyond && (last == nullptr || Along(each.value) > Along(last->value))) last = &each;
  }
  return last;
}

const Tried* MarginSearch::FirstThatTripped() const {
  const Tried* first = nullptr;
  for (const Tried& each : tried_) {
    if (!each.AlwaysTripped()) continue;
    const bool before = std::any_of(tried_.begin(), tried_.end(), [&](const Tried& other) {
      return other.held > 0 && Along(other.value) > Along(each.value);
    });
    if (!before && (first == nullptr || Along(each.value) < Along(first->value))) first = &each;
  }
  return first;
}

bool MarginSearch::CloseEnough(double a, double b) const { return std::abs(a - b) <= within_ * std::max(std::abs(a), std::abs(b)); }

std::string MarginSearch::Problem() const {
  const Tried* from = Find(from_);
  const Tried* to = Find(to_);
  if (from != nullptr && !from->AlwaysHeld()) return "it trips at the first value already; begin with one that holds";
  if (to != nullptr && !to->AlwaysTripped()) return "it does not always trip at the last value; end with one that trips";
  return "";
}

std::optional<double> MarginSearch::Next() const {
  if (!Problem().empty()) return std::nullopt;
  if (Find(from_) == nullptr) return from_;
  if (Find(to_) == nullptr) return to_;
  const double held = LastThatHeld()->value;
  // The nearest beyond it that tripped at least once.
  double tripped = to_;
  for (const Tried& each : tried_) {
    if (each.tripped > 0 && Along(each.value) > Along(held) && Along(each.value) < Along(tripped)) tripped = each.value;
  }
  if (!CloseEnough(held, tripped)) return Middle(held, tripped);
  // The nearest before the first that always trips that held at least once.
  const double always = FirstThatTripped()->value;
  double both = held;
  for (const Tried& each : tried_) {
    if (each.held > 0 && Along(each.value) < Along(always) && Along(each.value) > Along(both)) both = each.value;
  }
  if (!CloseEnough(both, always)) return Middle(both, always);
  return std::nullopt;
}

void MarginSearch::Tell(const Tried& tried) { tried_.push_back(tried); }

std::string Varied::Text(double value) const {
  if (IsDuration(*field)) return HumanDuration(absl::Nanoseconds(std::round(value)));
  switch (RulesOf(*field).unit()) {
    case FieldRules::PERCENT:
      return HumanPercent(value);
    case FieldRules::RATE:
      return HumanRate(value);
    case FieldRules::BYTES:
      return HumanBytes(std::llround(value));
    case FieldRules::BYTE_RATE:
      return absl::StrCat(HumanBytes(std::llround(value)), "/s");
    default:
      return absl::StrFormat("%g", whole ? std::round(value) : value);
  }
}

absl::StatusOr<Varied> FindVaried(const Scenario& scenario) {
  Scenario copy = scenario;
  const Margin& find = scenario.find();
  const Message* message = MessageOf(copy);
  if (message == nullptr) return absl::InvalidArgumentError("there is nothing to vary");
  Varied varied;
  varied.field = FindField(*message->GetDescriptor(), find.field());
  if (varied.field == nullptr || !IsQuantity(*varied.field)) {
    std::vector<std::string> keys;
    for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
      const FieldDescriptor& field = *message->GetDescriptor()->field(i);
      if (IsQuantity(field) && !RulesOf(field).internal()) keys.push_back(YamlName(field));
    }
    return absl::InvalidArgumentError(absl::StrCat(Quoted(find.field()), " is no quantity of it; ", Suggestion(find.field(), keys)));
  }
  varied.whole = varied.field->cpp_type() == FieldDescriptor::CPPTYPE_INT32 || varied.field->cpp_type() == FieldDescriptor::CPPTYPE_INT64;
  for (const auto& [text, into] : {std::pair(&find.from(), &varied.from), std::pair(&find.to(), &varied.to)}) {
    const absl::StatusOr<ScalarValue> value = ParseScalar(*varied.field, *text);
    if (!value.ok()) return absl::InvalidArgumentError(absl::StrCat(find.field(), ": ", value.status().message()));
    *into = NumberOf(*value);
  }
  if (varied.from == varied.to) return absl::InvalidArgumentError("from and to are the same; write the range to search in");
  return varied;
}

Scenario WithValue(const Scenario& scenario, const Varied& varied, double value) {
  Scenario out = scenario;
  StoreScalar(*varied.field, ValueOf(*varied.field, value), *MessageOf(out));
  out.clear_find();
  return out;
}

void CheckFind(const Scenario& scenario, Reading& reading) {
  if (!scenario.has_find() || !reading.Sound("find") || !reading.Sound("faults") || !reading.Sound("load")) return;
  const absl::StatusOr<Varied> varied = FindVaried(scenario);
  if (!varied.ok()) {
    const bool range = absl::StrContains(varied.status().message(), "from and to");
    reading.Report(range ? "find.to" : "find.field", std::string(varied.status().message()));
  }
  for (const Fault& fault : scenario.faults()) {
    if (fault.name() != scenario.find().fault() || !scenario.find().load().empty()) continue;
    if (fault.has_ramp()) reading.Report("find.fault", absl::StrCat(Quoted(fault.name()), " has a ramp, which sets its values; leave out one of them"));
    if (fault.repeat() > 1) reading.Report("find.fault", absl::StrCat(Quoted(fault.name()), " repeats; leave out `repeat`, and write `tries`"));
  }
}

}  // namespace squall
