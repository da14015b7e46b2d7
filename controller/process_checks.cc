#include "controller/process_checks.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "base/durations.h"
#include "base/messages.h"
#include "base/text.h"
#include "controller/placement.h"
#include "controller/plan.h"
#include "controller/units.h"
#include "controller/wording.h"

namespace squall {
namespace {

// The load's requests go to this service, as far as the scenario tells.
bool Calls(const Load& load, const Service& service) {
  const std::string address = AddressOf(load);
  if (address.empty()) return false;
  if (address == service.ready().tcp() || address == AddressOfUrl(service.ready().http().url())) return true;
  if (!service.attach().has_listen() || service.on() != load.on()) return false;
  const std::string port = absl::StrCat(":", service.attach().listen());
  return address == absl::StrCat("127.0.0.1", port) || address == absl::StrCat("localhost", port) || address == absl::StrCat("[::1]", port);
}

void CheckKill(const Scenario& scenario, const Kill& kill, const std::string& path, Reading& reading) {
  static const auto& harmless = *new std::set<std::string>{"SIGCHLD", "SIGCONT", "SIGURG", "SIGWINCH"};
  static const auto& stopping = *new std::set<std::string>{"SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU"};
  if (harmless.count(kill.signal()) > 0 || stopping.count(kill.signal()) > 0) {
    reading.Report(path + ".signal", absl::StrCat(kill.signal(), " ends no process; write for example SIGKILL or SIGTERM",
                                                  stopping.count(kill.signal()) > 0 ? ", or a pause fault" : ""));
  }
  const Service* service = FindNamed(scenario.services(), kill.service());
  const bool attached = service != nullptr && service->has_attach();
  if (kill.has_restart_after() && attached) {
    reading.Report(path + ".restart_after", absl::StrCat("squall did not start ", Quoted(kill.service()),
                                                         " and cannot start it again; leave out restart_after, write supervisor_within "
                                                         "where somebody else does, or give the service run instead of attach"));
  }
  if (kill.has_grace() && kill.signal() == "SIGKILL") {
    reading.Report(path + ".grace", "SIGKILL leaves nothing to lose patience with; write for example signal: SIGTERM, or leave out grace");
  }
  if (kill.has_grace() && kill.has_restart_after() && ToDuration(kill.grace()) >= ToDuration(kill.restart_after())) {
    reading.Report(path + ".grace",
                   absl::StrCat("starting the service again after ", HumanDuration(ToDuration(kill.restart_after())),
                                " ends what still runs, before grace is over; write less than restart_after, or leave out grace"));
  }
  if (kill.has_restart_after() && kill.count() > 0) {
    reading.Report(path + ".count", "squall starts a service again as a whole, and with it what was not killed; leave out count, or "
                                    "write supervisor_within where its own supervisor or master replaces what is killed");
  }
  if (!kill.has_supervisor_within()) return;
  const std::string supervisor = path + ".supervisor_within";
  if (kill.has_restart_after()) {
    reading.Report(supervisor, "restart_after and supervisor_within exclude each other: both would start it again; leave out one of them");
  } else if (service != nullptr && !attached && kill.count() == 0) {
    reading.Report(supervisor, absl::StrCat("squall runs ", Quoted(kill.service()), ", so that nobody else brings it back; write "
                                            "restart_after, attach to it, or write count where it is a master that replaces its workers"));
  } else if (attached && service->attach().has_pid() && kill.count() == 0) {
    reading.Report(supervisor, absl::StrCat("what comes back has another pid than ", service->attach().pid(),
                                            ", which alone is ", Quoted(kill.service()), "; attach by listen, command or cgroup"));
  }
}

void CheckPause(const Fault& fault, const std::string& path, Reading& reading) {
  const Pause& pause = fault.pause();
  if (!pause.has_each()) {
    if (reading.Given(path + ".every")) {
      reading.Report(path + ".every", "every says how far stops are apart, and without each there is only one, for the whole fault; write for "
                                      "example each: 200ms, or leave out every");
    }
    return;
  }
  if (fault.has_for_() && ToDuration(pause.each()) >= ToDuration(fault.for_())) {
    reading.Report(path + ".each", absl::StrCat("one stop of ", HumanDuration(ToDuration(pause.each())), " is as long as the fault, which lasts ",
                                                HumanDuration(ToDuration(fault.for_())),
                                                "; write less, or leave out each to stop it once, for the whole fault"));
  }
}

void CheckCpu(const Cpu& cpu, const std::string& path, Reading& reading) {
  const std::string cores = path + ".cores";
  if (cpu.how_case() != Cpu::kQuota || !reading.Given(cores) || !reading.Sound(cores)) return;
  reading.Report(cores, "cores goes with load: a quota is a share of all that the service may use; leave out cores, or "
                        "write load instead of quota");
}

}  // namespace

void CheckProcessFault(const Scenario& scenario, const Fault& fault, const std::string& path, Reading& reading) {
  const std::string kind = absl::StrCat(path, ".", FaultKind(fault));
  if (fault.has_kill() && reading.Given(path + ".for")) {
    reading.Report(path + ".for", "a kill happens at an instant; leave out `for`, and write restart_after in kill where the "
                                  "service is to be started again");
  }
  if (fault.has_kill()) CheckKill(scenario, fault.kill(), kind, reading);
  if (fault.has_pause()) CheckPause(fault, kind, reading);
  if (fault.has_cpu()) CheckCpu(fault.cpu(), kind, reading);
}

void CheckLoadFault(const Scenario& scenario, const Fault& fault, const std::string& path, Reading& reading) {
  if (!fault.has_abandon() || !reading.Sound(path)) return;
  const Load* load = FindNamed(scenario.load(), fault.abandon().load());
  if (load == nullptr) return;
  const absl::Duration patience = ToDuration(fault.abandon().patience());
  const absl::Duration gives_up = ToDuration(load->give_up_after());
  if (patience < gives_up) return;
  reading.Report(path + ".patience", absl::StrCat("clients of ", load->name(), " give up after ", HumanDuration(gives_up),
                                                  " anyway, and would hang up after ", HumanDuration(patience), "; write less than ",
                                                  DurationText(gives_up), ", or a longer give_up_after in load ", load->name()));
}

std::string CannotJudgeTimeout(const Scenario& scenario, const Timeout& timeout, const Fault& fault) {
  const Load* load = FindNamed(scenario.load(), timeout.load());
  if (load == nullptr) return "";
  if (fault.has_pause()) {
    const Service* service = FindNamed(scenario.services(), fault.pause().service());
    if (service == nullptr || !Calls(*load, *service)) return "";
    return absl::StrCat(Quoted(fault.name()), " stops ", service->name(), ", which ", load->name(),
                        " calls: late answers would tell nothing of its deadline; pause what it calls, or give the timeout another `fault`");
  }
  if (fault.has_abandon() && fault.abandon().load() == timeout.load() && fault.abandon().share() >= 100 &&
      ToDuration(fault.abandon().patience()) <= ToDuration(timeout.deadline())) {
    return absl::StrCat("under ", Quoted(fault.name()), " every client of ", load->name(),
                        " hangs up before the deadline, so that no request shows it; write a smaller share, or give the timeout "
                        "another `fault`");
  }
  return "";
}

void CheckBreakersFault(const Scenario& scenario, const CircuitBreaker& breaker, const std::string& path, Reading& reading) {
  if (!reading.Sound(path)) return;
  for (const Edge& edge : scenario.edges()) {
    if (edge.name() != breaker.edge()) continue;
    for (const Fault& fault : scenario.faults()) {
      if (!breaker.fault().empty() && fault.name() != breaker.fault()) continue;
      if (!fault.has_pause() || fault.pause().service() != edge.from()) continue;
      reading.Report(path, absl::StrCat(Quoted(fault.name()), " stops ", edge.from(), ", which then calls nobody, whatever its breaker "
                                        "does; pause what it calls, or give the circuit_breaker another `fault`"));
      return;
    }
  }
}

}  // namespace squall
