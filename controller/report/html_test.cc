#include <tinyxml2.h>

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "controller/report/report.h"
#include "controller/report/sample.h"
#include "controller/report/svg.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace squall {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using tinyxml2::XMLElement;

constexpr int64_t kSecond = 1'000'000'000;

// The page is written so that it is well-formed XML too: what is not closed or not escaped does not parse.
class Page {
 public:
  explicit Page(const std::string& html) {
    EXPECT_EQ(document_.Parse(html.c_str()), tinyxml2::XML_SUCCESS) << document_.ErrorStr();
  }
  void Walk(const std::function<void(const XMLElement&)>& visit) const {
    Walk(document_.RootElement(), visit);
  }
  std::vector<const XMLElement*> All(const std::string& name) const {
    std::vector<const XMLElement*> found;
    Walk([&](const XMLElement& element) {
      if (name == element.Name()) found.push_back(&element);
    });
    return found;
  }

 private:
  static void Walk(const XMLElement* element, const std::function<void(const XMLElement&)>& visit) {
    for (; element != nullptr; element = element->NextSiblingElement()) {
      visit(*element);
      Walk(element->FirstChildElement(), visit);
    }
  }
  tinyxml2::XMLDocument document_;
};

std::string Attribute(const XMLElement& element, const char* name) {
  const char* value = element.Attribute(name);
  return value == nullptr ? "" : value;
}

struct Box {
  double left, right, top, bottom;
  std::string text;
};

// Where the text of one <svg> stands, by a generous estimate.
std::vector<Box> TextBoxes(const XMLElement& svg) {
  std::vector<Box> boxes;
  for (auto* text = svg.FirstChildElement("text"); text != nullptr; text = text->NextSiblingElement("text")) {
    const std::string words = text->GetText() == nullptr ? "" : text->GetText();
    const std::string anchor = Attribute(*text, "text-anchor");
    const double width = TextWidth(words, 12);
    const double left = text->DoubleAttribute("x") - (anchor == "end"      ? width
                                                      : anchor == "middle" ? width / 2
                                                                           : 0);
    boxes.push_back(
        {left, left + width, text->DoubleAttribute("y") - 9, text->DoubleAttribute("y") + 3, words});
  }
  return boxes;
}

void ExpectNoTextOverlaps(const std::string& html) {
  const Page page(html);
  for (const XMLElement* svg : page.All("svg")) {
    const std::vector<Box> boxes = TextBoxes(*svg);
    const std::vector<std::string> view = absl::StrSplit(Attribute(*svg, "viewBox"), ' ');
    for (const Box& box : boxes) {
      EXPECT_GE(box.left, 0) << box.text << " is cut off";
      EXPECT_LE(box.right, std::stod(view[2])) << box.text << " is cut off";
    }
    for (size_t i = 0; i < boxes.size(); ++i) {
      for (size_t j = i + 1; j < boxes.size(); ++j) {
        const Box &a = boxes[i], &b = boxes[j];
        const bool apart = a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
        EXPECT_TRUE(apart) << "\"" << a.text << "\" and \"" << b.text << "\"";
      }
    }
  }
}

std::string SampleHtml() {
  const SampleRun run = MakeSampleRun();
  return HtmlReport(run.result, run.timeline);
}

TEST(HtmlReport, IsOneFileThatLoadsNothing) {
  const std::string html = SampleHtml();
  for (const char* loads :
       {"<script", "<link", "<img", "<iframe", "@import", "src=", "href=", "url(http", "url(//"}) {
    EXPECT_THAT(html, Not(HasSubstr(loads)));
  }
}

TEST(HtmlReport, SaysInWordsWhatHappened) {
  const std::string html = SampleHtml();
  EXPECT_THAT(html, HasSubstr("<title>FAIL: recommend-slow-then-gone - squall</title>"));
  EXPECT_THAT(html, HasSubstr("1 of 3 assertions failed, 1 could not be judged"));
  EXPECT_THAT(
      html,
      HasSubstr(
          "squall injected slow (450&#160;ms to 550&#160;ms on every response over recommend) and gone"));
  EXPECT_THAT(
      html,
      HasSubstr("<b>back-in-time:</b> checkout was back in its band 16.6&#160;s after gone was injected"));
  EXPECT_THAT(html, HasSubstr("squall judge RUN"));
}

TEST(HtmlReport, ShowsEverythingOfAVerdict) {
  const std::string html = SampleHtml();
  for (const char* text :
       {"at most 10&#160;s", "-6.57&#160;s", "4bf92f3577b34da60000000000001b80", "<dt>flaps</dt><dd>0</dd>",
        "<dt>first broken at</dt><dd>31.03 s</dd>", "<b>To have it judged:</b> Raise <code>rate</code> above",
        "achieved p50 501.3&#160;ms, p99 549.8&#160;ms of 500&#160;ms asked", "pids 40123 40124",
        "exited as asked", "connects of orders redirected by cgroup BPF", "    rate: 200/s"}) {
    EXPECT_THAT(html, HasSubstr(text));
  }
}

TEST(HtmlReport, DrawsTheAssertedDeadlineThroughTheLatency) {
  EXPECT_THAT(SampleHtml(), HasSubstr(">deadline 300 ms</text>"));
}

TEST(HtmlReport, HasIdsThatAreUniqueAndFound) {
  const Page page(SampleHtml());
  std::set<std::string> ids;
  page.Walk([&](const XMLElement& element) {
    const std::string id = Attribute(element, "id");
    if (id.empty()) return;
    EXPECT_TRUE(ids.insert(id).second) << id;
  });
  for (const XMLElement* svg : page.All("svg")) {
    const std::string labels = Attribute(*svg, "aria-labelledby");
    if (Attribute(*svg, "aria-hidden") == "true") continue;
    EXPECT_FALSE(labels.empty());
    for (const absl::string_view label : absl::StrSplit(labels, ' '))
      EXPECT_TRUE(ids.count(std::string(label))) << label;
  }
}

TEST(HtmlReport, NamesEveryColumnOfItsTables) {
  const Page page(SampleHtml());
  EXPECT_EQ(page.All("table").size(), 3u);
  for (const XMLElement* head : page.All("th")) EXPECT_EQ(Attribute(*head, "scope"), "col");
}

TEST(HtmlReport, EscapesWhatOthersWrote) {
  SampleRun run = MakeSampleRun();
  const std::string evil = "</title></style><script>alert(1)</script>\"'&\x01\xFF";
  run.result.set_scenario(evil);
  run.result.set_description(evil);
  run.result.set_ending_reason(evil);
  run.result.add_notes(evil);
  run.result.add_not_healed(evil);
  Verdict& verdict = *run.result.mutable_verdicts(1);
  verdict.set_assertion(evil);
  verdict.set_reason(evil);
  verdict.set_measured(evil);
  verdict.add_examples(evil);
  run.result.mutable_verdicts(2)->set_advice(evil);
  run.result.mutable_faults(0)->set_what(evil);
  run.result.mutable_faults(0)->set_seen(evil);
  run.timeline.faults[0].name = evil;
  run.timeline.services[0].set_message(evil);
  run.timeline.services[0].set_service(evil);
  run.timeline.samples[evil] = run.timeline.samples["orders"];
  run.timeline.header.set_host(evil);
  run.timeline.header.mutable_scenario()->mutable_load(0)->set_name(evil);
  run.timeline.header.mutable_scenario()->mutable_edges(0)->set_to(0, evil);
  const std::string html = HtmlReport(run.result, run.timeline);
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("\x01")));
  const Page page(html);
  EXPECT_EQ(page.All("style").size(), 1u) << "no element was closed by text";
  EXPECT_EQ(page.All("body").size(), 1u);
}

TEST(HtmlReport, OverlapsNoText) {
  for (const double factor : {0.1, 0.5, 1.0, 3.0, 20.0, 300.0}) {
    SCOPED_TRACE(factor);
    const SampleRun run = Stretched(MakeSampleRun(), factor);
    ExpectNoTextOverlaps(HtmlReport(run.result, run.timeline));
  }
}

TEST(HtmlReport, OverlapsNoTextWithManyFaultsAndDeadlines) {
  SampleRun run = MakeSampleRun();
  run.timeline.faults.clear();
  for (int i = 0; i < 12; ++i) {
    FaultSpan span;
    span.name = absl::StrCat("a-fault-with-a-name-", i);
    span.injected_ns = (10 + i) * kSecond;
    span.healed_ns = (12 + i) * kSecond;
    run.timeline.faults.push_back(span);
    Assertion& assertion = *run.timeline.header.mutable_scenario()->add_assertions();
    assertion = run.timeline.header.scenario().assertions(0);
    assertion.mutable_timeout()->mutable_deadline()->set_nanos(300'000'000 + i * 1'000'000);
  }
  for (int i = 0; i < 3; ++i) run.result.mutable_verdicts(i)->set_first_broken_ns((20 + i) * kSecond);
  ExpectNoTextOverlaps(HtmlReport(run.result, run.timeline));
}

TEST(HtmlReport, StaysSmallHoweverLongTheRunIs) {
  const SampleRun run = Stretched(MakeSampleRun(), 2000);  // a day
  EXPECT_LT(HtmlReport(run.result, run.timeline).size(), 2'000'000u);
}

TEST(HtmlReport, IsWholeWithoutAnyData) {
  const std::string html = HtmlReport(RunResult(), Timeline());
  const Page page(html);
  EXPECT_THAT(html, HasSubstr("Nothing was injected."));
  EXPECT_THAT(html, Not(HasSubstr("nan")));
  EXPECT_THAT(html, Not(HasSubstr("inf")));
}

TEST(HtmlReport, IsTheSameEveryTime) { EXPECT_EQ(SampleHtml(), SampleHtml()); }

TEST(HtmlReport, WarnsFirstOfWhatMayStillBeThere) {
  SampleRun run = MakeSampleRun();
  run.result.set_exit_code(5);
  run.result.add_not_healed("tc qdisc del dev lo root");
  const std::string html = HtmlReport(run.result, run.timeline);
  EXPECT_LT(html.find("tc qdisc del dev lo root"), html.find("<h2>Assertions</h2>"));
  EXPECT_THAT(html, HasSubstr("NOT HEALED"));
}

TEST(HtmlReport, ListsWhatIsNotAsItWasOnTheHost) {
  SampleRun run = MakeSampleRun();
  (*run.result.add_digested_hosts()->mutable_compared())["cgroups"] = 12;
  HostChange& change = *run.result.add_host_changes();
  change.set_kind("cgroup limit");
  change.set_name("/sys/fs/cgroup/shop/<cpu.max>");
  change.set_before("max 100000");
  change.set_after("20000 100000");
  change.set_by_squall(true);
  change.set_command("echo 'max 100000' > cpu.max");
  const std::string html = HtmlReport(run.result, run.timeline);
  const Page page(html);
  EXPECT_THAT(html, HasSubstr("host NOT as before, 1 change of squall"));
  EXPECT_THAT(html, HasSubstr("/sys/fs/cgroup/shop/&lt;cpu.max&gt;"));
  EXPECT_THAT(html, HasSubstr("<b>squall</b>"));
}

}  // namespace
}  // namespace squall
