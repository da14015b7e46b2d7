#include "controller/certs.h"

#include <cstdio>
#include <memory>

#include "controller/commands/commands.h"

namespace squall {
namespace {

int Complain(const absl::Status& status) {
  fprintf(stderr, "squall: %s\n", std::string(status.message()).c_str());
  return kExitUsage;
}

std::string Day(absl::Time time) { return absl::FormatTime("%Y-%m-%d", time, absl::UTCTimeZone()); }

int Init(const std::string& folder) {
  const absl::StatusOr<MadeCertificate> ca = MakeCa(folder);
  if (!ca.ok()) return Complain(ca.status());
  printf("A CA of your own, valid until %s:\n"
         "  %s   copy it to every agent and every controller\n"
         "  %s   keep it here and nowhere else: who has it can be any agent and any controller\n"
         "Next, for each agent and each controller:\n"
         "  squall certs issue %s shop-1 --host=shop-1.example\n"
         "  squall certs issue %s ci --controller\n",
         Day(ca->until).c_str(), ca->cert.c_str(), ca->key.c_str(), folder.c_str(), folder.c_str());
  return kExitPass;
}

int Issue(const std::string& folder, const std::string& name, const std::vector<std::string>& hosts, bool controller) {
  const absl::StatusOr<MadeCertificate> made =
      IssueCertificate(folder, name, hosts, controller ? TlsRole::kController : TlsRole::kAgent);
  if (!made.ok()) return Complain(made.status());
  const char* const cert = made->cert.c_str();
  const char* const key = made->key.c_str();
  printf("A certificate for the %s %s, valid until %s:\n  %s\n  %s   its key: for its owner alone\n",
         controller ? "controller" : "agent", name.c_str(), Day(made->until).c_str(), cert, key);
  if (controller) {
    printf("Write in agents.yaml, beside the scenarios:\n  tls: {cert: %s, key: %s, ca: %s/ca.crt}\n", cert, key, folder.c_str());
  } else {
    printf("Copy both and %s/ca.crt to its host, to /etc/squall/ for example, and start there:\n"
           "  squall-agent --listen=0.0.0.0:7447 --cert=/etc/squall/%s.crt --key=/etc/squall/%s.key --ca=/etc/squall/ca.crt\n"
           "Then take the key away from here.\n",
           folder.c_str(), name.c_str(), name.c_str());
  }
  return kExitPass;
}

}  // namespace

void AddCerts(CLI::App& app, int& exit_code) {
  struct Options {
    std::string folder, name;
    std::vector<std::string> hosts;
    bool controller = false;
  };
  const auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "certs",
      "Make the certificates with which agents on other hosts and controllers know each other.\n\n"
      "For those without a CA of their own. Keys are EC P-256, a CA lives for ten years and what it issues for one; keys are\n"
      "readable by their owner alone, and no file is ever overwritten. An agent's certificate cannot be used to drive\n"
      "agents, and a controller's not to be one");
  command->require_subcommand(1);
  CLI::App* init = command->add_subcommand("init", "Make a CA: DIR/ca.crt and DIR/ca.key");
  init->add_option("DIR", options->folder, "The folder; it is made when it is not there")->required();
  init->callback([options, &exit_code] { exit_code = Init(options->folder); });
  CLI::App* issue = command->add_subcommand("issue", "Make the certificate of an agent or a controller: DIR/NAME.crt and DIR/NAME.key");
  issue->add_option("DIR", options->folder, "The folder of the CA")->required();
  issue->add_option("NAME", options->name, "The agent's name, as scenarios call it, or the controller's")->required();
  issue->add_option("--host", options->hosts, "A host name or address that the certificate carries besides; may be repeated")
      ->expected(1)
      ->take_all();
  issue->add_flag("--controller", options->controller, "For a controller instead of an agent");
  issue->callback([options, &exit_code] {
    exit_code = Issue(options->folder, options->name, options->hosts, options->controller);
  });
}

}  // namespace squall
