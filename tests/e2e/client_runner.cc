#include "tests/e2e/client_runner.h"

#include <gtest/gtest.h>
#include <httplib.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace squall {

Ran Runner::Post(const std::string& path, const std::string& body, absl::Duration limit) const {
  httplib::Client client("127.0.0.1", port_);
  client.set_read_timeout(static_cast<time_t>(absl::ToInt64Seconds(limit)) + 30);
  const auto result = client.Post(path.c_str(), body, "text/plain");
  Ran ran;
  if (!result || result->status != 200) {
    ADD_FAILURE() << "the runner on port " << port_ << " does not answer " << path;
    return ran;
  }
  size_t out = 0;
  double took = 0;
  if (!absl::SimpleAtoi(result->get_header_value("out"), &out)) out = result->body.size();
  if (absl::SimpleAtod(result->get_header_value("took"), &took)) ran.took = absl::Seconds(took);
  ran.exit = result->get_header_value("exit");
  ran.out = result->body.substr(0, out);
  ran.err = result->body.substr(out);
  return ran;
}

Ran Runner::Run(const std::vector<std::string>& argv, absl::Duration limit) const {
  return Post(absl::StrCat("/run?limit=", absl::ToDoubleSeconds(limit)), absl::StrJoin(argv, "\n"), limit);
}

Runner::Session::Session(const Runner& runner, const std::vector<std::string>& argv)
    : runner_(runner), id_(runner.Post("/open", absl::StrJoin(argv, "\n"), absl::Seconds(5)).out) {}

Runner::Session::~Session() { runner_.Post(absl::StrCat("/close?id=", id_), "", absl::Seconds(5)); }

Ran Runner::Session::Say(const std::string& typed, size_t bytes, absl::Duration limit) {
  return runner_.Post(absl::StrCat("/say?id=", id_, "&limit=", absl::ToDoubleSeconds(limit), "&bytes=", bytes), typed, limit);
}

}  // namespace squall
