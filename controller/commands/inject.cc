#include "controller/inject.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "controller/by_hand.h"
#include "controller/commands/commands.h"
#include "controller/commands/interrupts.h"
#include "controller/commands/scenario_files.h"
#include "controller/explain.h"
#include "controller/hand_text.h"
#include "controller/plan.h"
#include "controller/report/report.h"
#include "controller/schema.h"
#include "controller/terminal.h"
#include "controller/wording.h"

namespace squall {
namespace {

using google::protobuf::FieldDescriptor;

constexpr int kHelpWidth = 68;
constexpr int64_t kLineEveryNs = 5'000'000'000;
constexpr int64_t kJsonEveryNs = 1'000'000'000;

struct Options {
  HandRequest request;
  std::vector<std::string> vars;
  std::string agent;
  std::string agents;
  bool json = false;
  bool dry_run = false;
};

// Shows an injection while it goes on: a picture on a terminal, else a plain line now and then; or JSON.
class View {
 public:
  explicit View(bool json) : json_(json), live_(!json && IsTerminal(STDERR_FILENO)), color_(UsesColor(STDERR_FILENO)) {}
  ~View() { picture_.Erase(); }

  void Tick(const HandTick& tick) {
    if (live_) {
      picture_.Draw(DrawTick(tick, TerminalColumns(), color_));
    } else if (json_ && IsDue(kJsonEveryNs)) {
      PrintJson(tick);
    } else if (!json_ && !announced_) {
      // The first figures are those of nothing.
      announced_ = IsDue(kLineEveryNs);
      fprintf(stderr, "injected: %s\n", DescribeFault(tick.fault()).c_str());
    } else if (!json_ && IsDue(kLineEveryNs)) {
      fprintf(stderr, "%s\n", TickLine(tick).c_str());
    }
  }
  void Event(const std::string& line) {
    picture_.Erase();
    fprintf(stderr, "%s\n", line.c_str());
  }
  static void PrintJson(const HandTick& tick) {
    printf("%s\n", JsonText(tick, /*lines=*/false).c_str());
    fflush(stdout);
  }

 private:
  bool IsDue(int64_t every_ns) {
    if (BootNanos() < next_ns_) return false;
    next_ns_ = BootNanos() + every_ns;
    return true;
  }

  const bool json_, live_, color_;
  int64_t next_ns_ = 0;
  bool announced_ = false;
  Picture picture_;
};

// Reads the scenario file, where one is given. False: that cannot be, and it was said why.
bool ReadFile(Options& options) {
  const auto vars = ParseAssignments(options.vars);
  if (!vars) return false;
  options.request.vars = *vars;
  if (options.request.path.empty()) {
    if (!vars->empty()) fprintf(stderr, "squall: --var is for a file; write --scenario FILE as well\n");
    return vars->empty();
  }
  const absl::StatusOr<std::string> text = ReadYamlFile(options.request.path);
  if (!text.ok()) fprintf(stderr, "squall: %s\n", std::string(text.status().message()).c_str());
  if (text.ok() && text->empty()) fprintf(stderr, "squall: %s is empty\n", options.request.path.c_str());
  if (!text.ok() || text->empty()) return false;
  options.request.text = *text;
  return true;
}

int Inject(Options& options) {
  if (!ReadFile(options)) return kExitUsage;
  const std::string beside = options.request.path.empty() ? "scenario.yaml" : options.request.path;
  std::optional<LoadedAgents> listed = LoadAgentsFile(options.agents.empty() ? AgentsFileBeside(beside) : options.agents);
  if (!listed) return kExitUsage;
  const HandScenario hand = ReadByHand(options.request);
  for (const std::string& mistake : hand.mistakes) fprintf(stderr, "%s\n", mistake.c_str());
  if (!hand.mistakes.empty()) {
    fprintf(stderr, "For example: %s\n", HandExample(*options.request.kind).c_str());
    return kExitUsage;
  }
  const std::string plan = DescribeInjection(hand.scenario, MakePlan(hand.scenario), TerminalColumns() - 1);
  fprintf(options.dry_run && !options.json ? stdout : stderr, "%s\n", plan.c_str());
  if (options.dry_run) {
    if (options.json) printf("%s\n", JsonText(hand.scenario, /*lines=*/true).c_str());
    return kExitPass;
  }
  InjectOptions inject;
  inject.agent = options.agent;
  inject.listed = *std::move(listed);
  std::error_code error;
  const std::filesystem::path file = std::filesystem::absolute(options.request.path, error);
  inject.folder = options.request.path.empty() ? std::filesystem::current_path(error).string() : file.parent_path().string();
  inject.interrupts = &CatchInterrupts();
  Injection injection;
  {
    View view(options.json);
    inject.on_tick = [&](const HandTick& tick) { view.Tick(tick); };
    inject.on_event = [&](const std::string& line) { view.Event(line); };
    injection = InjectByHand(hand.scenario, inject);
  }
  if (options.json) {
    View::PrintJson(injection.last);
  } else {
    fputs(EndText(injection.last, IsTerminal(STDOUT_FILENO) ? TerminalColumns() - 1 : 0).c_str(), stdout);
  }
  return injection.exit_code;
}

// "A process that is already running (whole number, ...)", in lines that fit beside the flag.
std::string HelpOf(const HandFlag& flag) {
  std::string help = ExplainField(*flag.field);
  if (flag.of == HandFlag::kAttach) help = absl::StrCat("The service, attached to: ", help);
  if (flag.of == HandFlag::kEdge) help = absl::StrCat("The edge: ", help);
  std::vector<std::string> lines;
  for (const absl::string_view line : absl::StrSplit(help, '\n')) lines.push_back(Wrapped(line, 0, kHelpWidth));
  return absl::StrJoin(lines, "\n");
}

void AddKind(CLI::App& inject, const FieldDescriptor& kind, int& exit_code) {
  const auto options = std::make_shared<Options>();
  options->request.kind = &kind;
  CLI::App* command = inject.add_subcommand(YamlName(kind), Wrapped(ExplainMessage(*kind.message_type()), 0, kHelpWidth));
  for (const HandFlag& flag : HandFlags(kind)) {
    // Text as it stands, for the reader of scenarios to judge.
    command
        ->add_option_function<std::vector<std::string>>(
            absl::StrCat("--", flag.name),
            [options, name = flag.name](const std::vector<std::string>& given) { options->request.values[name] = given; },
            HelpOf(flag))
        ->type_name(flag.field->is_repeated() ? "VALUE,..." : "VALUE")
        ->delimiter(flag.field->is_repeated() ? ',' : '\0')
        ->expected(1)
        ->take_all();
  }
  command->add_option("--scenario", options->request.path,
                      "A scenario file: --service and --edge name what stands there, and the other\n"
                      "flags stand in for what it says of them. A service that the file would run is\n"
                      "attached to, so say which process it is")
      ->type_name("FILE");
  command->add_option("--var", options->vars, "NAME=VALUE for ${vars.NAME} of the file; may be repeated")
      ->expected(1)
      ->take_all();
  command->add_option("--agent", options->agent,
                      "The agent beside the service: one of agents.yaml, or unix:PATH. Left out: one of our own");
  command->add_option("--agents", options->agents,
                      "Where agents on other hosts are and the certificates for them. Left out: agents.yaml here, if there is one");
  command->add_flag("--dry-run", options->dry_run, "Print the plan, and touch nothing");
  command->add_flag("--json", options->json, "Print a JSON object each second, and one at the end");
  command->footer(absl::StrCat("Example: ", HandExample(kind)));
  command->callback([options, &exit_code] { exit_code = Inject(*options); });
}

}  // namespace

void AddInject(CLI::App& app, int& exit_code) {
  CLI::App* inject = app.add_subcommand(
      "inject", "Break one thing by hand and watch it: no load, no verdict, healed when --for is over or on Ctrl-C");
  std::string examples = "Each fault has its flags: squall inject FAULT --help. Examples:";
  for (const FieldDescriptor* kind : FaultKinds()) {
    AddKind(*inject, *kind, exit_code);
    absl::StrAppend(&examples, "\n  ", HandExample(*kind));
  }
  inject->require_subcommand(0, 1);
  inject->allow_extras();  // not of the subcommands, which are there already
  inject->parse_complete_callback([inject] {
    std::vector<std::string> kinds;
    for (const FieldDescriptor* kind : FaultKinds()) kinds.push_back(YamlName(*kind));
    const std::vector<std::string> others = inject->remaining();
    if (!others.empty() && NeedsALoad(others[0])) {
      throw CLI::ValidationError(absl::StrCat(others[0], " acts on the load of a run, and by hand there is none; write a scenario: squall explain ",
                                              others[0]));
    }
    if (!others.empty()) {
      throw CLI::ValidationError(absl::StrCat("unknown fault ", Quoted(others[0]), "; ", Suggestion(others[0], kinds)));
    }
    if (inject->get_subcommands().empty()) {
      throw CLI::ValidationError(absl::StrCat("which fault? write squall inject ", Alternatives(kinds)));
    }
  });
  inject->footer(absl::StrCat(examples,
                              "\n\nExit codes: 0 healed at its end, 3 nothing was injected or the harness failed, 5 healing "
                              "not confirmed,\n64 bad usage, 130 interrupted or ended by squall heal (healed first)."));
}

}  // namespace squall
