#include "controller/report/html_parts.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "controller/report/escape.h"
#include "controller/report/style_css.h"
#include "controller/report/words.h"

namespace squall {

std::string PageHead(absl::string_view title) {
  return absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
      "<meta name=\"color-scheme\" content=\"light dark\"/>\n<title>",
      Escape(title), "</title>\n<style>\n", absl::string_view(kReportStyle.data(), kReportStyle.size()),
      "</style>\n</head>\n<body>\n");
}

absl::string_view CssClass(Verdict::Result result) {
  switch (result) {
    case Verdict::PASS:
      return "pass";
    case Verdict::FAIL:
      return "fail";
    default:
      return "unsure";
  }
}

std::string Prose(absl::string_view text) {
  static constexpr absl::string_view kUnits[] = {"%",  "B",  "KiB", "MiB", "GiB", "ns",
                                                 "us", "ms", "s",   "min", "h"};
  std::string out;
  bool code = false;
  const std::string escaped = Escape(text);
  const absl::string_view all = escaped;
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i] == '`' && (code || all.find('`', i + 1) != absl::string_view::npos)) {
      absl::StrAppend(&out, code ? "</code>" : "<code>");
      code = !code;
      continue;
    }
    const bool after_figure = all[i] == ' ' && i > 0 && absl::ascii_isdigit(all[i - 1]);
    const absl::string_view rest = all.substr(i + 1);
    const bool before_unit =
        after_figure && std::any_of(std::begin(kUnits), std::end(kUnits), [&](absl::string_view unit) {
          return absl::StartsWith(rest, unit) &&
                 (rest.size() == unit.size() || !absl::ascii_isalnum(rest[unit.size()]));
        });
    absl::StrAppend(&out, before_unit ? absl::string_view("&#160;") : all.substr(i, 1));
  }
  return out;
}

std::string Badge(Verdict::Result result, absl::string_view word) {
  return absl::StrCat("<span class=\"badge ", CssClass(result), "\"><span aria-hidden=\"true\">",
                      ResultMark(result), "</span> ", Escape(word), "</span>");
}

std::string Entry(absl::string_view term, absl::string_view text) {
  if (text.empty()) return "";
  return absl::StrCat("<div><dt>", Escape(term), "</dt><dd>", Escape(text), "</dd></div>");
}

std::string Cell(absl::string_view heading, absl::string_view html, absl::string_view css_class) {
  return absl::StrCat("<td role=\"cell\" data-head=\"", Escape(heading), "\"",
                      css_class.empty() ? "" : absl::StrCat(" class=\"", css_class, "\""), ">",
                      html.empty() ? "<span class=\"none\">–</span>" : html, "</td>");
}

std::string Heads(const std::vector<absl::string_view>& heads) {
  std::string out = "<thead role=\"rowgroup\"><tr role=\"row\">";
  for (const absl::string_view head : heads) {
    absl::StrAppend(&out, "<th role=\"columnheader\" scope=\"col\">", Escape(head), "</th>");
  }
  return absl::StrCat(out, "</tr></thead>\n");
}

}  // namespace squall
