#include "controller/doctor_text.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "controller/report/escape.h"
#include "controller/wording.h"

namespace squall {
namespace {

constexpr int kReadable = 130;  // longer lines are hard to read, however wide the terminal is
constexpr int kLeastColumns = 50;
constexpr int kFacts = 10;
constexpr char kReset[] = "\033[0m";

struct Look {
  const char* mark;
  const char* word;
  const char* code;
};

Look LookOf(Diagnosis::Works works) {
  switch (works) {
    case Diagnosis::YES:
      return {"✓", "yes", "\033[32m"};
    case Diagnosis::PARTLY:
      return {"~", "partly", "\033[33m"};
    default:
      return {"✗", "no", "\033[31m"};
  }
}

class Page {
 public:
  Page(int columns, bool color) : width_(std::clamp(columns <= 0 ? 80 : columns, kLeastColumns, kReadable)), color_(color) {}

  // `text` from column `indent` on, behind `lead`, in as many lines as it takes.
  void Add(const std::string& lead, const std::string& text, int indent, const char* code = "") {
    const std::string gap(static_cast<size_t>(std::max(lead.empty() ? 0 : 1, indent - DisplayWidth(lead))), ' ');
    const bool painted = color_ && code[0] != '\0';
    absl::StrAppend(&out_, painted ? code : "", lead, painted ? kReset : "", gap, Wrapped(TerminalText(text), indent, width_), "\n");
  }
  void Blank() { out_ += "\n"; }
  std::string Take() { return std::move(out_); }

 private:
  const int width_;
  const bool color_;
  std::string out_;
};

}  // namespace

std::string DoctorText(const DiagnoseReply& reply, int columns, bool color) {
  Page page(columns, color);
  const HostFacts& host = reply.host();
  page.Add("host", absl::StrCat(host.host(), ", squall-agent ", host.agent_version()), kFacts);
  page.Add("user", host.user(), kFacts);
  page.Add("kernel", host.kernel(), kFacts);
  page.Add("cgroups", host.cgroups(), kFacts);
  page.Add("names", host.names(), kFacts);
  page.Blank();
  int name = 5, yes = 0, partly = 0;
  for (const Diagnosis& fault : reply.faults()) {
    name = std::max(name, DisplayWidth(fault.fault()));
    yes += fault.works() == Diagnosis::YES;
    partly += fault.works() == Diagnosis::PARTLY;
  }
  const int works = name + 4, text = works + 8;
  const auto padded = [](std::string cell, int width) {
    cell.append(static_cast<size_t>(std::max(1, width - DisplayWidth(cell))), ' ');
    return cell;
  };
  page.Add(padded("  FAULT", works) + "WORKS", "THROUGH", text);
  for (const Diagnosis& fault : reply.faults()) {
    const Look look = LookOf(fault.works());
    page.Add(padded(absl::StrCat(look.mark, " ", fault.fault()), works) + look.word, fault.through().empty() ? "-" : fault.through(), text,
             look.code);
    if (!fault.why_not().empty()) page.Add("", absl::StrCat("why not: ", fault.why_not()), text);
    if (!fault.remedy().empty()) page.Add("", absl::StrCat("→ ", fault.remedy()), text);
  }
  page.Blank();
  const int no = reply.faults_size() - yes - partly;
  page.Add("", absl::StrCat("Of ", reply.faults_size(), " kinds of fault, ", yes, yes == 1 ? " works" : " work",
                            partly == 0 ? "" : absl::StrCat(", ", partly, partly == 1 ? " works" : " work", " in part"),
                            no == 0 ? "" : absl::StrCat(", ", no, no == 1 ? " does not" : " do not"), "."),
           0);
  return page.Take();
}

bool AllWorks(const DiagnoseReply& reply) {
  return std::all_of(reply.faults().begin(), reply.faults().end(), [](const Diagnosis& fault) { return fault.works() == Diagnosis::YES; });
}

}  // namespace squall
