"""Repository rules for what the system provides: libraries through pkg-config."""

def _system_library(ctx):
    copts = []
    linkopts = list(ctx.attr.linkopts)
    if ctx.attr.modules:
        result = ctx.execute(["pkg-config", "--cflags", "--libs"] + ctx.attr.modules)
        if result.return_code != 0:
            fail("pkg-config does not know %s: %sInstall what bazel/packages.txt lists." %
                 (ctx.attr.modules, result.stderr))
        seen = {}
        for flag in result.stdout.replace("\n", " ").split(" "):
            if not flag or flag.startswith("-D") or flag.startswith("-I"):
                # Headers are in the default search path on Debian; -I would hide warnings' origin.
                if flag.startswith("-D"):
                    copts.append(flag[2:])
            elif flag.startswith("-l") and flag in seen:
                continue
            else:
                linkopts.append(flag)
                seen[flag] = True
    ctx.file("BUILD", """
cc_library(
    name = "lib",
    defines = %r,
    linkopts = %r,
    visibility = ["//visibility:public"],
)
alias(name = "%s", actual = ":lib", visibility = ["//visibility:public"])
""" % (copts, linkopts, ctx.name))

system_library = repository_rule(
    implementation = _system_library,
    attrs = {
        "modules": attr.string_list(doc = "Names known to pkg-config."),
        "linkopts": attr.string_list(doc = "For libraries without a pkg-config file."),
    },
    environ = ["PKG_CONFIG_PATH"],
)

def _empty_coverage_tools(ctx):
    ctx.file("BUILD", "".join([
        'filegroup(name = "%s", srcs = [], visibility = ["//visibility:public"])\n' % name
        for name in ["coverage_report_generator", "lcov_merger", "coverage_output_generator"]
    ]))

empty_coverage_tools = repository_rule(implementation = _empty_coverage_tools)
